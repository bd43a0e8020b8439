"""What is told of calls that follow a traffic plan: as their callers saw them, and nothing of whom they were for."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.agent import outcomes as summed
from tests.doubles.fake_triton import FakeTriton, Refused, image
from tests.doubles.scripted import ScriptedTransport, session
from triton_sdk import ConfigurationError, Prediction, RetryPolicy, TrafficPlan, TritonError
from triton_sdk._flow import outcomes, routing
from triton_sdk._flow.failures import Failure
from triton_sdk._flow.outcomes import MOST, Outcomes, bucket
from triton_sdk._flow.steps import Flow
from triton_sdk._wire.drive import run
from triton_sdk._wire.following import Followed

LOST = Failure("UNAVAILABLE", "Socket closed")
KEY = "user-8471"


class Caller:
    """A client whose plan tells a list, and which is told by nobody when.

    Attributes:
        told: What was told, by version.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.told = path, dict[str, Any]()
        self.transport = ScriptedTransport(server=FakeTriton(candidate=3))
        self.session = session(self.transport, retry=RetryPolicy(max_attempts=1))
        self.plan = TrafficPlan(path, model="clf")
        self.plan._followed = Followed(
            path.read_bytes, tell=self._take, model="clf", name="here", clock=self.transport.clock
        )
        self.background: list[Flow[object]] = []
        self.follow({"2": 1})
        for version in (2, None):
            self._run(version)

    def _take(self, body: bytes) -> None:
        self.text = body
        self.told = json.loads(body)["versions"]

    def follow(self, routes: dict[str, float], **changes: Any) -> None:
        """Change the plan."""
        end = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
        plan = {"schema": 1, "model": "clf", "generation": 1, "routes": routes, "candidate": 3, "expires": end}
        self.path.write_text(json.dumps({**plan, **changes}), encoding="utf-8")
        self.plan._followed.look()

    def _run(self, version: Any, *, images: int = 1, timeout: float = 30, key: str | None = KEY) -> list[Prediction]:
        flow = routing.predict(
            self.session,
            [image(1)] * images,
            version=version,
            key=key,
            top=2,
            deadline=self.session.clock() + timeout,
        )
        return run(flow, self.transport, sleep=self.transport.clock.sleep, spawn=self._spawn)

    def _spawn(self, flow: Flow[object]) -> bool:
        self.background.append(flow)
        return True

    def predict(self, **settings: Any) -> list[Prediction]:
        """Classify by the plan."""
        return self._run(self.plan, **settings)

    def fails(self, **settings: Any) -> TritonError:
        """Classify in vain."""
        with pytest.raises(TritonError) as caught:
            self.predict(**settings)
        return caught.value

    def tell(self) -> dict[str, Any]:
        """Tell what has become of the calls, and return that."""
        while self.background:
            run(self.background.pop(0), self.transport, spawn=self._spawn)
        self.told = {}
        self.plan._followed.report()
        return self.told


@pytest.fixture
def caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Caller:
    """Return a client that sends all calls to version 2."""
    monkeypatch.setattr(Followed, "_start", lambda followed: followed._known.set())
    return Caller(tmp_path / "plan.json")


def refuse(code: str, details: str = "", *, model: str = "clf.candidate") -> Callable[[str, Any], None]:
    """Return a twist of a server, by which a model answers with a status."""

    def twist(method: str, message: Any) -> None:
        if method == "ModelInfer" and message.model_name == model:
            raise Refused(code, details)

    return twist


def test_answers_are_counted_by_version(caller: Caller) -> None:
    """Calls, images, and how long they took from sending on; each is told once."""
    caller.transport.script = [(0.25, None)]
    caller.predict(images=3)
    caller.follow({"3": 1})
    caller.predict()
    told = caller.tell()
    assert (told["2"]["calls"], told["2"]["images"]) == (1, 3)
    assert told["2"]["latency"] == {str(bucket(0.25)): 1}
    assert (told["3"]["calls"], told["3"]["failures"]) == (1, {})
    assert caller.tell() == {}


def test_nothing_of_a_key_or_an_image_is_told(caller: Caller) -> None:
    """Numbers of versions, words for failures, and counts."""
    caller.predict()
    caller.tell()
    assert KEY not in caller.text.decode()
    assert "cat" not in caller.text.decode()


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (LOST, "unreachable"),
        (Failure("DEADLINE_EXCEEDED", "too slow"), "late"),
        (Failure("UNAVAILABLE", "Exceeds maximum queue size"), "refused"),
        (Failure("INTERNAL", "boom"), "failed"),
        (Failure("INVALID_ARGUMENT", "unexpected shape"), "invalid"),
        (Failure("UNAUTHENTICATED", "no token"), "denied"),
    ],
)
def test_a_failure_is_of_a_kind(caller: Caller, failure: Failure, kind: str) -> None:
    """Also what no server counts: refused, too late, unreachable; the agent knows each kind."""
    caller.transport.fail(*[failure] * 5)
    caller.fails()
    told = caller.tell()["2"]
    assert (told["calls"], told["failures"], told["latency"]) == (1, {kind: 1}, {})
    assert {kind for _, kind in outcomes._KINDS} == set(summed.KINDS)


def test_when_something_failed_is_told(caller: Caller) -> None:
    """How long before the report, the first in each second: a batch that fails fails many calls."""
    for _ in range(3):
        caller.transport.fail(Failure("INTERNAL", "boom"))
        caller.fails()
    caller.transport.clock.now += 1.5
    caller.transport.fail(Failure("INTERNAL", "boom"))
    caller.fails()
    told = caller.tell()["2"]
    assert (told["calls"], told["failed_s_ago"]) == (4, [0.0, 1.5])


def test_when_a_caller_was_at_fault_is_not_told(caller: Caller) -> None:
    """It is counted, and is no incident."""
    caller.transport.fail(Failure("INVALID_ARGUMENT", "no"))
    caller.fails()
    told = caller.tell()["2"]
    assert (told["failures"], told["failed_s_ago"]) == ({"invalid": 1}, [])


def test_what_was_never_sent_is_no_failure(caller: Caller) -> None:
    """A picture that is none, and a call whose time was up before."""
    with pytest.raises(TritonError):
        run(
            routing.predict(caller.session, [b"none"], version=caller.plan, key=None, top=1, deadline=1e9),
            caller.transport,
        )
    caller.fails(timeout=0)
    assert caller.tell() == {}


def test_a_candidate_that_is_gone_is_told(caller: Caller) -> None:
    """The call is an answer of the stable version, and no failure of anybody."""
    caller.follow({"3": 1})
    caller.transport.server.candidate = None
    assert [caller.predict()[0].model_version for _ in range(3)] == [2, 2, 2]
    told = caller.tell()
    assert (told["3"]["calls"], told["3"]["passed_over"]) == (0, 3)
    assert (told["2"]["calls"], told["2"]["failures"]) == (3, {})


def test_a_failure_of_the_stable_version_is_its_own(caller: Caller) -> None:
    """Where no version was named, the agent knows which one that is."""
    caller.follow({})
    caller.transport.fail(LOST)
    caller.fails()
    assert caller.tell()["stable"]["failures"] == {"unreachable": 1}


def test_a_shadow_tells_whether_it_agrees(caller: Caller) -> None:
    """For each image; the candidate, a model of its own, is asked first with the images and then with the tensor."""
    caller.follow({"2": 1}, shadow={"version": 3, "fraction": 1})
    for _ in range(2):
        assert caller.predict(images=2)[0].model_version == 2
        told = caller.tell()
        shadow = told["3"]["shadow"]
        assert (shadow["images"], shadow["same"], shadow["sure"], shadow["failures"]) == (2, 0, 0, {})
        assert sum(shadow["latency"].values()) == 2
        assert (told["2"]["calls"], told["3"]["calls"]) == (1, 0)
    asked = [message.model_name for method, message in caller.transport.server.asked if method == "ModelInfer"]
    assert asked.count("clf.candidate") == 3  # two inferences, and once the labels
    assert caller.session.contract is not None
    assert caller.session.contract.model == "clf"


def test_a_shadow_that_agrees_is_sure(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the caller's answer was sure as well, that is counted apart."""
    monkeypatch.setattr("triton_sdk._flow.route.SURE", 0.5)
    caller.transport.server.versions = (1, 2, 7)
    for version, same in ((1, 0), (7, 1)):  # the fake's best class is a number of the version, of five
        caller.follow({"2": 1}, candidate=None, shadow={"version": version, "fraction": 1})
        caller.predict()
        shadow = caller.tell()[str(version)]["shadow"]
        assert [shadow[name] for name in ("images", "same", "sure", "sure_same")] == [1, same, 1, same]


def test_a_shadow_that_fails_fails_nobody(caller: Caller) -> None:
    """The caller has an answer; that the shadow has none is told."""
    caller.follow({"2": 1}, shadow={"version": 3, "fraction": 1})
    caller.transport.server.twist = refuse("INTERNAL", "boom")
    assert caller.predict()[0].model_version == 2
    assert caller.tell()["3"]["shadow"]["failures"] == {"failed": 1}


def test_a_shadow_has_a_share_of_the_keys(caller: Caller) -> None:
    """None at 0; and nothing is mirrored where nobody would know what was found."""
    caller.follow({"2": 1}, shadow={"version": 3, "fraction": 0})
    caller.predict()
    caller.plan._followed.outcomes = None
    caller.follow({"2": 1}, shadow={"version": 3, "fraction": 1})
    caller.predict()
    assert caller.background == []


def test_what_cannot_be_told_is_dropped(caller: Caller) -> None:
    """It would come too late, or twice."""

    def away(_body: bytes) -> None:
        raise ConnectionRefusedError("nobody there")

    caller.plan._followed._tell = away
    caller.predict()
    caller.plan._followed.report()
    caller.plan._followed._tell = caller._take
    assert caller.tell() == {}


def test_memory_has_a_bound() -> None:
    """What comes on top is dropped, and told to be."""
    noted = Outcomes("clf", lambda: 0.0, lambda: None)
    for _ in range(MOST + 5):
        noted.answered(2, 1, 0.1)
    told = noted.take()
    assert told is not None
    assert (told["versions"]["2"]["calls"], told["dropped"]) == (MOST, 5)
    assert noted.take() is None


@given(st.floats(1e-9, 1e6))
def test_a_bucket_holds_its_latency(seconds: float) -> None:
    """Between its bounds, which are 4.4 % apart, so that its middle is right to 2.2 %; clients and agents agree."""
    place = bucket(seconds)
    assert outcomes.BUCKETS_PER_OCTAVE == summed.BUCKETS_PER_OCTAVE
    if 2e-5 < seconds < 5e4:
        assert 2 ** (place / 16) <= seconds * (1 + 1e-9)
        assert seconds <= 2 ** ((place + 1) / 16) * (1 + 1e-9)
        assert summed.middle_s(place) == pytest.approx(seconds, rel=0.023)
    summed.Outcomes().take("clf", report(latency={str(place): 1}), stable=None)


def report(**changes: Any) -> bytes:
    """Return what a client tells of version 2."""
    noted = Outcomes("clf", lambda: 0.0, lambda: None)
    noted.answered(2, 1, 0.1)
    told = noted.take()
    assert told is not None
    told["versions"]["2"].update(changes)
    return json.dumps(told).encode()


@pytest.mark.parametrize("given", [7, None, "agent", "localhost:8003", "ftp://x"])
def test_a_place_to_tell_that_is_none_is_refused(given: Any) -> None:
    """At once."""
    with pytest.raises(ConfigurationError, match=r"report is|http://HOST:8003"):
        TrafficPlan("plan.json", model="clf", report=given)


@pytest.mark.parametrize(
    ("source", "given", "tells"),
    [
        ("http://h:8003", True, True),
        ("http://h:8003", False, False),
        ("plan.json", True, False),
        ("plan.json", "http://h:8003", True),
    ],
)
def test_who_is_told(source: str, given: bool | str, tells: bool) -> None:
    """The agent that gives the plan, or that is named; nobody where that is not wanted."""
    assert (TrafficPlan(source, model="clf", report=given)._followed.outcomes is not None) == tells
