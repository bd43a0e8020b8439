"""The traffic plans of all models: where they are kept, and what is refused."""

import threading
import time
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from scripts.agent.errors import AgentError, PlanError
from scripts.agent.kept import Kept
from scripts.agent.plan import is_model_name
from scripts.agent.traffic import LONGEST, Traffic, to_text

# The folder in the agent's work folder in which they are kept, one file a model.
TRAFFIC = "traffic"
# What a release's folder calls the plan of a model.
_NAMED = "traffic.{}.json"


@dataclass(kw_only=True)
class Traffics:
    """The traffic plans of the models that are served.

    Attributes:
        kept: The folder in which they are kept over restarts.
        release: The folder with those of the release, which a ConfigMap gives; None: plans are posted only.
        say: Called with a line for each thing that is wrong.
        clock: Gives the monotonic time, in seconds.
        wall: Gives the time.
    """

    kept: Path
    release: Path | None = None
    say: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], datetime] = lambda: datetime.now(UTC)
    _plans: dict[str, Kept[Traffic]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self) -> None:
        """Take up the plans that an earlier run had, and those of the release.

        Raises:
            AgentError: If there is no place to keep them.
        """
        try:
            self.kept.mkdir(parents=True, exist_ok=True)
            names = {path.stem for path in self.kept.glob("*.json")}
        except OSError as error:
            raise AgentError(f"{self.kept}: {error.strerror}.") from error
        for name in sorted(filter(is_model_name, names)):
            self._of(name)
        self.look()

    def look(self) -> None:
        """Take the plans of the release, as `Kept.look` does."""
        if self.release is not None:
            prefix, suffix = _NAMED.split("{}")
            for path in sorted(self.release.glob(_NAMED.format("*"))):
                if is_model_name(name := path.name.removeprefix(prefix).removesuffix(suffix)):
                    self._of(name)
        for plan in list(self._plans.values()):
            before = plan.fault
            plan.look()
            if plan.fault and plan.fault != before:
                self.say(plan.fault)

    def of(self, model: str) -> Traffic:
        """Return the plan of *model*; one without routes where it has none."""
        plan = self._plans.get(model)
        return plan.current if plan else Traffic(model=model)

    def all(self) -> dict[str, Traffic]:
        """Return each plan that there is, by the model's name."""
        return {name: plan.current for name, plan in sorted(self._plans.items()) if plan.current.generation}

    def post(self, plan: Traffic, *, served: Set[int], candidate: int | None, after: int | None) -> None:
        """Follow *plan* from now on.

        Args:
            plan: The plan.
            served: The versions that are served of its model.
            candidate: The version that is served as its candidate; None: none is.
            after: The generation that must be followed until now; None: any lower one.

        Raises:
            OutdatedPlanError: If another one than *after* is followed, or one that is not older than *plan*.
            PlanError: If it is over already, ends too late, or names a version that is not served.
            AgentError: If it cannot be kept.
        """
        if plan.asked:
            self._check(plan, served, candidate)
        self._of(plan.model).post(plan, after=after)

    def _check(self, plan: Traffic, served: Set[int], candidate: int | None) -> None:
        now = self.wall()
        if plan.expires is None or not now < plan.expires <= now + LONGEST:
            end = plan.expires and to_text(plan.expires)
            raise PlanError(
                f"The traffic plan ends at {end}. Here it is {to_text(now)}, and a plan may end within the next "
                f"{LONGEST.days} days."
            )
        own = set() if candidate is None else {candidate}
        for version in sorted(plan.asked):
            if version not in (own if version == plan.candidate else served):
                kind = "candidate" if version == plan.candidate else "version"
                raise PlanError(
                    f"The traffic plan sends calls to {kind} {version} of {plan.model}, which is not served. Versions "
                    f"that are: {_named(served)}; as the candidate: {_named(own)}."
                )

    def _of(self, model: str) -> Kept[Traffic]:
        """Return where the plan of *model* is kept."""
        with self._lock:
            if model not in self._plans:
                made = Kept(
                    kept=self.kept / f"{model}.json",
                    parse=partial(Traffic.parse, model=model),
                    current=Traffic(model=model),
                    file=self.release and self.release / _NAMED.format(model),
                    clock=self.clock,
                )
                try:
                    made.open()
                except AgentError as error:  # without it the stable version answers, and what serves goes on
                    self.say(str(error))
                self._plans[model] = made
            return self._plans[model]


def _named(versions: Set[int]) -> str:
    return ", ".join(map(str, sorted(versions))) or "none"
