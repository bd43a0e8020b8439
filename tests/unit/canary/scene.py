"""Agents without processes, whose versions behave as they are told, and callers who follow the traffic plan."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import attrs
import numpy as np

from scripts.agent.outcomes import BUCKETS_PER_OCTAVE, Outcomes
from scripts.agent.plan import Plan
from scripts.agent.server import TRAFFIC_PATH
from scripts.agent.traffic import Traffic, to_text
from scripts.agent.traffics import Traffics
from scripts.canary.compared import Compared
from scripts.canary.kept import InFile, Keeper
from scripts.canary.limits import Limits
from scripts.canary.order import Wish
from scripts.canary.routes import Routes
from scripts.canary.run import Canary, Result
from scripts.canary.servers import Server
from scripts.canary.settings import Settings, Step
from scripts.canary.view import View
from scripts.host.clock import Clock
from scripts.host.errors import TaskFailure
from scripts.server.endpoint import Answer
from scripts.server.seen import State
from scripts.versions.target import OneServer
from tests.doubles.disk_agent import World
from tests.unit.versions.test_roll import InProcess

MODEL, STABLE, TRIED = "cars", 2, 3
BEGUN = datetime(2030, 1, 31, 12, tzinfo=UTC)
SETTINGS = Settings(
    steps=(Step(share=0.1, calls=60, seconds=15), Step(share=0.5, calls=300, seconds=30)),
    every=3.0,
    expires=60.0,
    shadow=0.2,
    limits=Limits(calibration=300, most_disagreement=0.02, least_sure=50),
)


@attrs.define
class Behaviour:
    """How a version answers.

    Attributes:
        fails: The share of its calls that fails.
        kind: In which way.
        seconds: How long it takes in the middle.
        flips: In which share of the shadowed images it finds another class than who answered.
    """

    fails: float = 0.0
    kind: str = "failed"
    seconds: float = 0.01
    flips: float = 0.0


class Served(InProcess):
    """Servers of the model ``cars``, called so many times a second.

    Attributes:
        rate: Calls in a second.
        behaves: How each version answers.
        got: How many calls each version got.
        counted: What each server itself counted of the candidate: images, requests, failed.
        posted: What was posted to agents, in order.
        events: What happens when so much time has passed.
    """

    def __init__(self, rate: float = 100.0, **worlds: World) -> None:
        self.rate = rate
        self.behaves = {1: Behaviour(), STABLE: Behaviour(), TRIED: Behaviour()}
        self.got: Counter[int] = Counter()
        self.counted = {name: [0, 0, 0] for name in worlds}
        self.posted: list[str] = []
        self.events: list[tuple[float, Callable[[], object]]] = []
        self._random = np.random.default_rng(1)
        super().__init__(**worlds)
        for name, api in self.apis.items():
            api.traffics.wall = self.wall
            api.traffics.clock = lambda: self.now
            api.traffics.open()
            self.restart_agent(name)

    def wall(self) -> datetime:
        """Return the time."""
        return BEGUN + timedelta(seconds=self.now)

    def restart_agent(self, name: str) -> None:
        """Let an agent count from nothing."""
        self.apis[name].outcomes = Outcomes(clock=lambda: self.now, since=to_text(self.wall()))

    def replace(self, name: str, successor: str) -> None:
        """Let a pod end, and another one come that knows nothing but the release's serving plan."""
        api = self.apis.pop(name)
        kept = api.traffics.kept.with_name(successor)
        api.traffics = Traffics(kept=kept, say=print, wall=self.wall, clock=lambda: self.now)
        api.traffics.open()
        self.apis[successor] = api
        self.counted[successor] = [0, 0, 0]
        self.restart_agent(successor)

    def at(self, seconds: float, event: Callable[[], object]) -> None:
        """Let something happen after so many seconds."""
        self.events.append((seconds, event))

    def sleep(self, seconds: float) -> None:
        """Let time pass, in which calls are made."""
        super().sleep(seconds)
        if hasattr(self, "events"):
            due = [event for when, event in self.events if when <= self.now]
            self.events = [one for one in self.events if one[0] > self.now]
            for event in due:
                event()
        if self.rate and seconds:
            self._call(round(self.rate * seconds))

    def plan(self) -> Traffic:
        """Return the latest traffic plan."""
        return max((api.traffics.of(MODEL) for api in self.apis.values()), key=lambda plan: plan.generation)

    def post(self, routes: Mapping[int, float], candidate: int | None = None, *, seconds: float = 600) -> None:
        """Set a traffic plan by hand."""
        plan = Traffic(
            model=MODEL,
            routes=routes,
            candidate=candidate,
            expires=self.wall() + timedelta(seconds=seconds) if routes else None,
            generation=self.plan().generation + 1,
        )
        for api in self.apis.values():
            status, body = api.post(f"{TRAFFIC_PATH}{MODEL}", plan.to_json().encode())
            assert status == 200, body

    def follow(self, plan: Plan, *, after: int) -> Plan:
        """Give a serving plan to all that answer."""
        self.posted.append(f"candidate {plan.models[MODEL].candidate}")
        return super().follow(plan, after=after)

    def members(self) -> Sequence[Server]:
        """Return the servers as a canary asks them."""
        return [self._member(name) for name in self.apis]

    def _member(self, name: str) -> Server:
        def check() -> None:
            if name in self.away:
                raise TaskFailure(f"No answer from {name}.")

        def get(path: str) -> Answer:
            check()
            assert path == f"{TRAFFIC_PATH}{MODEL}"
            status, body = self.apis[name].traffic(MODEL)
            return Answer(status=int(status), body=body)

        def send(path: str, body: bytes) -> Answer:
            check()
            status, answer = self.apis[name].post(path, body)
            routes = {int(version): weight for version, weight in json.loads(body)["routes"].items()}
            self.posted.append(f"{name} {routes}")
            return Answer(status=int(status), body=answer)

        def triton(path: str) -> Answer:
            check()
            assert path == f"/v2/models/{MODEL}.candidate/stats"
            images, requests, failed = self.counted[name]
            stats = {"success": {"count": requests - failed}, "fail": {"count": failed}}
            entry = {"version": str(TRIED), "inference_count": images, "inference_stats": stats}
            return Answer(status=200, body={"model_stats": [entry]})

        return Server(name=name, state=lambda: self.state_of(name), get=get, send=send, triton=triton)

    def _call(self, calls: int) -> None:
        """Make calls, and tell of them."""
        plan, name = self.plan(), next(iter(self.apis))
        routes = {STABLE: 1.0} if plan.is_over(self.wall()) else dict(plan.routes)
        shares = np.array(list(routes.values()))
        for version, count in zip(routes, self._random.multinomial(calls, shares / shares.sum()), strict=True):
            self._tell(name, version, int(count), plan if len(routes) > 1 else Traffic(model=MODEL))

    def _tell(self, name: str, version: int, calls: int, plan: Traffic) -> None:
        one = self.behaves[version]
        self.got[version] += calls
        failed = int(self._random.binomial(calls, one.fails))
        took = one.seconds * np.exp(0.3 * self._random.standard_normal(calls - failed))
        places = Counter(np.floor(BUCKETS_PER_OCTAVE * np.log2(took)).astype(int).tolist())
        told = {str(version): report(calls, failed, one.kind, places)}
        if version == STABLE and plan.shadow is not None:
            tried = self.behaves[TRIED]
            images = int(self._random.binomial(calls, plan.shadow[1]))
            flips = int(self._random.binomial(images, tried.flips))
            same = {"images": images, "same": images - flips, "sure": images, "sure_same": images - flips}
            told[str(TRIED)] = report(0, 0, "", Counter(), shadow=same)
            self._count(name, images, 0)
        if version == TRIED:
            self._count(name, calls - failed, failed)
        body = {"schema": 1, "model": MODEL, "dropped": 0, "versions": told}
        status, answer = self.apis[name].take_outcomes(MODEL, json.dumps(body).encode())
        assert status == 200, answer

    def _count(self, name: str, answered: int, failed: int) -> None:
        counted = self.counted[name]
        self.counted[name] = [counted[0] + answered, counted[1] + answered + failed, counted[2] + failed]


def report(
    calls: int, failed: int, kind: str, latency: Mapping[int, int], *, shadow: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """Return what a client tells of a version."""
    counts = {"images": 0, "same": 0, "sure": 0, "sure_same": 0, **(shadow or {})}
    return {
        "calls": calls,
        "images": calls - failed,
        "passed_over": 0,
        "failures": {kind: failed} if failed else {},
        "failed_s_ago": list(range(min(failed, 3))),
        "latency": {str(place): count for place, count in latency.items()},
        "shadow": {**counts, "failures": {}, "latency": {}},
    }


@attrs.define(kw_only=True)
class Scene:
    """A canary of version 3 on servers that serve 1 and 2.

    Attributes:
        served: The servers.
        folder: Keeps how far it is.
        said: What it said.
        shown: What a live view showed.
    """

    served: Served
    folder: Path
    said: list[str] = attrs.field(factory=list)
    shown: list[View] = attrs.field(factory=list)

    @property
    def clock(self) -> Clock:
        """The servers' clock."""
        return Clock(now=lambda: self.served.now, sleep=self.served.sleep)

    @property
    def keeper(self) -> Keeper:
        """The keeper of a laptop."""
        return InFile(path=self.folder / "state" / "cars.json", line=self.said.append)

    def canary(
        self, version: int = TRIED, *, limit_s: float = 900.0, compared: Compared | None = None, **changes: Any
    ) -> Canary:
        """Return a canary that has not begun."""
        return Canary(
            target=cast(OneServer, self.served),
            servers=self.served.members,
            wish=Wish(
                model=MODEL,
                version=version,
                digest=None,
                settings=attrs.evolve(SETTINGS, **changes),
                keep=1,
                limit_s=limit_s,
                roll_s=60.0,
                compared=compared,
            ),
            keeper=self.keeper,
            line=self.said.append,
            show=self.shown.append,
            clock=self.clock,
            wall=self.served.wall,
        )

    def run(self, **changes: Any) -> Result:
        """Run a canary."""
        return self.canary(**changes).run()

    def routes(self) -> Routes:
        """Return the traffic plan as promote and rollback see it."""
        return Routes(
            servers=self.served.members, model=MODEL, keeper=self.keeper, expires_s=60.0, line=self.said.append,
            clock=self.clock,
        )  # fmt: skip

    def state(self) -> State:
        """Return what the first server says."""
        return self.served.state()


def decisions(result: Result) -> list[str]:
    """Return what a canary decided, in order."""
    return [one["decision"] for one in result.record.decisions]
