"""The traffic plan on every server: set, renewed before it is over, given to servers that come, and taken back."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from scripts.agent.server import TRAFFIC_PATH
from scripts.agent.traffic import Traffic, to_text
from scripts.canary.kept import Keeper, Record
from scripts.canary.servers import Server, each
from scripts.host.clock import Clock
from scripts.host.errors import TaskFailure
from scripts.server.endpoint import Answer
from scripts.server.seen import State
from scripts.versions.target import OvertakenError

# A plan is renewed when a quarter of its time is over.
_RENEWED_AFTER = 0.25
# How an agent answers who has no key, or one that it does not take; and where it follows another plan.
_CLOSED, _OTHER = (401, 403), 409
# An agent that does not answer is asked again for so long: it may be starting anew.
_PATIENCE_S, _PAUSE_S = 15.0, 1.0


@attrs.define(kw_only=True)
class Routes:
    """The traffic plan of one model.

    Attributes:
        servers: Gives the servers that are there now.
        model: The model's name.
        keeper: Keeps the plan where the target has a place for it.
        expires_s: How far ahead a plan ends.
        line: Takes a line where something is worth knowing.
        clock: What is waited on.
        plan: The plan that was found or set last; None: nobody has looked yet.
        is_live: Whether that sends calls somewhere: it was in force when it was found, or has routes as it was set.
    """

    servers: Callable[[], Sequence[Server]]
    model: str
    keeper: Keeper
    expires_s: float
    line: Callable[[str], None]
    clock: Clock = attrs.field(factory=Clock)
    plan: Traffic | None = None
    is_live: bool = False
    _set_at: float | None = None
    _is_kept: bool = False
    _said: set[str] = attrs.field(factory=set)

    @property
    def is_set(self) -> bool:
        """Whether this run has set a plan."""
        return self._set_at is not None

    @property
    def path(self) -> str:
        """Where agents have it."""
        return f"{TRAFFIC_PATH}{self.model}"

    def find(self, kept: Traffic | None) -> tuple[Traffic, bool, datetime]:
        """Return the latest plan, whether it is in force, and the time there.

        Args:
            kept: The plan that the keeper has.

        Raises:
            TaskFailure: If no server can be asked.
        """
        found, failures = self._asked(self.servers())
        if not found:
            raise next(iter(failures.values()), TaskFailure(f"No server of {self.model} runs."))
        latest = max(found.values(), key=lambda body: int(body["generation"]))
        plan = Traffic.parse(json.dumps(latest), model=self.model)
        now = datetime.fromisoformat(latest["now"])
        self.plan = kept if kept is not None and kept.generation > plan.generation else plan
        self.is_live = not self.plan.is_over(now)
        return self.plan, self.is_live, now

    def set(self, like: Traffic, record: Record | None) -> list[str]:
        """Give every server a plan with what *like* says; return the names of those that did not take it.

        Raises:
            OvertakenError: If somebody else has changed the plan.
            TaskFailure: If no server takes it for long.
        """
        begun = self.clock.now()
        while True:
            try:
                return self._once(like, record)
            except OvertakenError:
                raise
            except TaskFailure:
                if self.clock.now() - begun >= _PATIENCE_S:
                    raise
                self.clock.sleep(_PAUSE_S)

    def renew(self, states: Mapping[str, State], record: Record) -> None:
        """Renew the plan if that is due, and give it to servers that have an older one or none.

        Args:
            states: What the agents say that could be asked.
            record: How far the canary is.

        Raises:
            OvertakenError: If somebody else has changed the plan.
        """
        plan = self.plan
        assert plan is not None, "a plan was set"
        assert self._set_at is not None, "by this run"
        generations = {
            name: state.traffic[self.model].generation if self.model in state.traffic else 0
            for name, state in states.items()
        }
        if any(generation > plan.generation for generation in generations.values()):
            raise self._overtaken()
        if self.clock.now() - self._set_at >= _RENEWED_AFTER * self.expires_s:
            try:
                self._once(plan, record)
            except OvertakenError:
                raise
            except TaskFailure as error:  # it may be possible at the next look; if it never is, the plan ends
                self._say(f"Note: the traffic plan is not renewed. {error}")
            return
        behind = {name for name, generation in generations.items() if generation < plan.generation}
        if behind:
            self._post(plan, [server for server in self.servers() if server.name in behind], generations)

    def end(self, record: Record | None) -> list[str]:
        """Let every call go to the stable version again; return the names of the servers that did not take that.

        Raises:
            OvertakenError: If somebody else has changed the plan.
            TaskFailure: If no server takes it.
        """
        begun = self.clock.now()
        while left := self.set(Traffic(model=self.model), record):
            if self.clock.now() - begun >= _PATIENCE_S:
                return left
            self.clock.sleep(_PAUSE_S)
        return []

    def keep(self, record: Record) -> None:
        """Keep the record beside the plan as it is.

        Raises:
            OvertakenError: If somebody else has changed the plan.
        """
        assert self.plan is not None, "a plan was set"
        self._keep(record, self.plan)

    def _keep(self, record: Record | None, plan: Traffic) -> None:
        try:
            self.keeper.write(record, plan)
            self._is_kept = True
        except OvertakenError:
            raise
        except TaskFailure as error:  # the servers matter more, once it has been possible
            if not self._is_kept:
                raise
            self._say(f"Note: {error}")

    def _once(self, like: Traffic, record: Record | None) -> list[str]:
        """Give every server a plan with what *like* says, as the next one; return the names of those without it.

        Raises:
            OvertakenError: If somebody else has changed the plan.
            TaskFailure: If no server takes it.
        """
        before = self.plan
        assert before is not None, "it was looked for before"
        servers = self.servers()
        found, failures = self._asked(servers)
        if any(int(body["generation"]) > before.generation for body in found.values()):
            raise self._overtaken()
        now = next((datetime.fromisoformat(body["now"]) for body in found.values()), datetime.now(UTC))
        expires = now + timedelta(seconds=self.expires_s) if like.routes else None
        plan = dataclasses.replace(like, expires=expires, generation=before.generation + 1)
        self._keep(record, plan)
        # Even if no server answers: where it is kept, one may have read it already.
        self.plan, self._set_at, self.is_live = plan, self.clock.now(), True
        there = [server for server in servers if server.name in found]
        refused = self._post(plan, there, {name: int(body["generation"]) for name, body in found.items()})
        if len(refused) == len(there):
            why = next(iter((refused or {name: str(error) for name, error in failures.items()}).values()), "none runs")
            raise TaskFailure(f"No server takes the traffic plan: {why}")
        self.is_live = bool(plan.routes)
        return [*refused, *failures]

    def _asked(self, servers: Sequence[Server]) -> tuple[Mapping[str, Mapping[str, Any]], Mapping[str, TaskFailure]]:
        """Return what each server says of the plan."""

        def ask(server: Server) -> Mapping[str, Any]:
            answer = server.get(self.path)
            if answer.status != 200:
                raise TaskFailure(f"The agent of {server.name} answers {answer}.")
            return answer.body

        return each(servers, ask)

    def _post(self, plan: Traffic, servers: Sequence[Server], after: Mapping[str, int]) -> Mapping[str, str]:
        """Post *plan* to servers that follow the generations *after*; return why some did not take it, by their names.

        Raises:
            OvertakenError: If one follows another plan.
        """

        def post(server: Server) -> Answer:
            return server.send(self.path, json.dumps({**plan.to_dict(), "after": after[server.name]}).encode())

        answers, failures = each(servers, post)
        refused = {name: str(error) for name, error in failures.items()}
        for name, answer in answers.items():
            if answer.status == _OTHER:
                raise self._overtaken()
            if answer.status in _CLOSED:
                self._say(
                    f"Note: pod {name} takes no plan from here ({answer}). Kubernetes brings it to the pods in a "
                    "minute or two"
                )
            elif answer.status != 200:
                refused[name] = str(answer)
                self._say(f"Note: {name} does not take the traffic plan: {answer}")
        return refused

    def _overtaken(self) -> OvertakenError:
        return OvertakenError(
            f"Somebody else has changed the traffic plan of {self.model}: `invoke promote`, `invoke rollback` or "
            "another canary. This one ends here and leaves everything as they have it."
        )

    def _say(self, text: str) -> None:
        """Say something once."""
        if text not in self._said:
            self._said.add(text)
            self.line(text)


def told(plan: Traffic) -> str:
    """Return in words whom the calls go to by *plan*."""
    total = sum(plan.routes.values())
    shares = [f"{100 * weight / total:g}% to version {version}" for version, weight in plan.routes.items() if weight]
    if plan.shadow is not None:
        shares.append(f"{100 * plan.shadow[1]:g}% asked of version {plan.shadow[0]} as well")
    end = f", until {to_text(plan.expires)}" if plan.expires else ""
    return f"{', '.join(shares) or 'all to the stable version'}{end}"
