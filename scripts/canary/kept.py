"""How far a canary is, and each decision with its figures: kept in a file here, and in the cluster for a release."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, Self

import attrs

from scripts.agent.errors import PlanError
from scripts.agent.traffic import Traffic
from scripts.cluster.release.plan_map import Held
from scripts.host.errors import TaskFailure
from scripts.versions.target import OvertakenError

SCHEMA = 1
# A ConfigMap has room for a mebibyte in all, and the plans of all models are in it too.
_MOST_DECISIONS, _LARGEST = 60, 2**18
# So often the ConfigMap is read anew where somebody else has changed something else in it meanwhile.
_TRIES = 5


@attrs.define(kw_only=True)
class Record:
    """How far a canary is.

    Attributes:
        model: The model's name.
        version: The version that is tried.
        stable: The version that callers got who named none when it began.
        server: What the target is called.
        begun: When it began, in UTC.
        looked: When it was looked at last, in UTC.
        bound: How many answers may change, and who says so.
        step: The number of the step from 0 on.
        calls: How many calls of the version were seen at this step.
        seconds: How long this step has been going on.
        judge: What the judge knows; None: nothing yet.
        watch: Where the counts of all servers stood; None: nothing yet.
        decisions: Each decision with its reason and its figures, the oldest first.
        verdict: ``"promoted"``, ``"aborted"``, ``"inconclusive"`` or ``"ended"``; None while it goes on.
    """

    model: str
    version: int
    stable: int
    server: str
    begun: str
    looked: str
    bound: str = ""
    step: int = 0
    calls: int = 0
    seconds: float = 0.0
    judge: Mapping[str, Any] | None = None
    watch: Mapping[str, Any] | None = None
    decisions: list[Mapping[str, Any]] = attrs.field(factory=list)
    verdict: str | None = None

    def decide(self, what: str, why: str, *, at: str, share: float, figures: Mapping[str, Any]) -> None:
        """Note a decision."""
        made = {"at": at, "decision": what, "step": self.step + 1, "share": share, "why": why, "figures": figures}
        self.decisions = [*self.decisions, made][-_MOST_DECISIONS:]

    def to_json(self) -> str:
        """Return all of it for scripts."""
        return json.dumps({"schema": SCHEMA, **attrs.asdict(self)})

    def told(self, verdict: str, why: str) -> str:
        """Return the decisions with their figures for scripts, and what came of them."""
        what = {"model": self.model, "version": self.version, "stable": self.stable, "server": self.server}
        ended = {"verdict": verdict, "why": why, "begun": self.begun, "ended": self.looked}
        return json.dumps({**what, **ended, "disagreement": self.bound, "decisions": list(self.decisions)}, indent=2)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `to_json` gave.

        Raises:
            ValueError: If it is none, or another release wrote it.
        """
        data = json.loads(text)
        if not isinstance(data, dict) or data.pop("schema", None) != SCHEMA:
            raise ValueError("another release wrote it")
        try:
            return cls(**data)
        except TypeError as error:
            raise ValueError(str(error)) from error


class Keeper(Protocol):
    """Keeps the record, and where the target has a place for it the traffic plan."""

    def read(self) -> tuple[Record | None, Traffic | None]:
        """Return what is kept.

        Raises:
            TaskFailure: If that cannot be found out.
        """

    def note(self, record: Record) -> None:
        """Keep the record after a look."""

    def write(self, record: Record | None, plan: Traffic) -> None:
        """Keep the record, and *plan* before the servers get it.

        Raises:
            OvertakenError: If somebody else has changed the plan since it was read.
            TaskFailure: If it cannot be kept.
        """


@attrs.frozen(kw_only=True)
class InFile:
    """Keeps the record in a file.

    Attributes:
        path: The file.
        line: Takes a line where something is worth knowing.
    """

    path: Path
    line: Callable[[str], None]

    def read(self) -> tuple[Record | None, Traffic | None]:
        """Return the record; the plan is the agent's to keep."""
        try:
            return Record.parse(self.path.read_text(encoding="utf-8")), None
        except FileNotFoundError:
            return None, None
        except (OSError, ValueError) as error:
            self.line(f"Note: {self.path} cannot be read, so nothing is known of an earlier canary. {error}")
            return None, None

    def note(self, record: Record) -> None:
        """Write the file, in one step; without it another run begins anew."""
        new = self.path.with_name(f".{self.path.name}.new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(record.to_json(), encoding="utf-8")
            new.replace(self.path)
        except OSError as error:
            raise TaskFailure(f"The log of the canary cannot be kept in {self.path}: {error.strerror}.") from error

    def write(self, record: Record | None, plan: Traffic) -> None:
        """Keep the record."""
        del plan
        if record is not None:
            self.note(record)


@attrs.define(kw_only=True)
class InRelease:
    """Keeps record and plan in the ConfigMap that the pods of a release read, and the record in a file as well.

    Attributes:
        file: The file.
        held: Reads the ConfigMap.
        model: The model's name.
    """

    file: InFile
    held: Callable[[], Held]
    model: str
    _last: Traffic | None = None

    def read(self) -> tuple[Record | None, Traffic | None]:
        """Return what the ConfigMap has."""
        found = self.held()
        self._last = plan = self._plan(found)
        text = found.data.get(self._name("canary"))
        try:
            return Record.parse(text) if text else None, plan
        except ValueError as error:
            self.file.line(f"Note: the ConfigMap {found.name} tells nothing of an earlier canary. {error}")
            return None, plan

    def note(self, record: Record) -> None:
        """Keep the record in the file; the cluster gets it with the next plan, and each decision comes with one."""
        self.file.note(record)

    def write(self, record: Record | None, plan: Traffic) -> None:
        """Keep both in the ConfigMap."""
        if record is not None:
            self.file.note(record)
        changes = {self._name("traffic"): plan.to_json()}
        if record is not None:
            text = record.to_json()
            small = len(text) <= _LARGEST
            # Without the counts of so many pods another run counts from where they stand then.
            changes[self._name("canary")] = text if small else attrs.evolve(record, watch=None).to_json()
        for _ in range(_TRIES):
            found = self.held()
            there = self._plan(found)
            if there != self._last and there != plan:
                raise OvertakenError(f"Somebody else has changed the traffic plan of {self.model} in the cluster.")
            if found.write(changes):
                self._last = plan
                return
        raise TaskFailure(f"The ConfigMap {found.name} is being changed all the time, so no plan could be written.")

    def _plan(self, found: Held) -> Traffic | None:
        text = found.data.get(self._name("traffic"))
        try:
            return Traffic.parse(text, model=self.model) if text else None
        except PlanError as error:
            raise TaskFailure(f"The ConfigMap {found.name} holds no traffic plan of {self.model}: {error}") from error

    def _name(self, kind: str) -> str:
        return f"{kind}.{self.model}.json"
