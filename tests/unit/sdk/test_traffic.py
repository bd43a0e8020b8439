"""A traffic plan that is followed: what is read and when, and whom calls then ask. On a clock that is set by hand."""

import copy
import json
import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.doubles.fake_triton import FakeTriton, Refused, image
from tests.doubles.scripted import ScriptedTransport, session
from triton_sdk import (
    ConfigurationError,
    InferenceFailedError,
    Prediction,
    Split,
    TrafficPlan,
)
from triton_sdk._flow import routing
from triton_sdk._flow.traffic import LARGEST, Traffic, parse
from triton_sdk._wire.drive import run
from triton_sdk._wire.following import OLDER_S, Followed
from triton_sdk.config import ClientConfig
from triton_sdk.telemetry import CallReport, on_call
from triton_sdk.versions import Key

NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)


def text(*, minutes: float = 5, **changes: Any) -> bytes:
    """Return the text of a plan with a candidate, which ends in so many minutes."""
    end = (NOW + timedelta(minutes=minutes)).isoformat()
    plan = {"schema": 1, "model": "clf", "generation": 3, "routes": {"2": 90, "3": 10}, "candidate": 3, "expires": end}
    return json.dumps({**plan, **changes}).encode()


FIELDS = ("model", "generation", "routes", "candidate", "shadow", "expires", "now")
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["2030-01-31T12:00:00Z", "0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["2", "version", "fraction"]), inner),
    max_leaves=5,
)


def spoilt(changes: dict[str, Any]) -> bytes:
    """Return the text of a plan with *changes*."""
    return text(**changes)


class Source:
    """A source of plans, and the clocks of who reads it."""

    def __init__(self) -> None:
        self.text: bytes | Exception = text()
        self.clock, self.wall = 50.0, NOW.timestamp()
        self.followed = Followed(self.read, model="clf", name="here", clock=lambda: self.clock, wall=lambda: self.wall)

    def read(self) -> bytes:
        """Return the text, or fail."""
        if isinstance(self.text, Exception):
            raise self.text
        return self.text

    def shares(self) -> dict[int, float]:
        """Read the plan, and return the routes that hold now."""
        self.followed.look()
        return dict(self.followed.traffic().shares)


@pytest.fixture
def source() -> Source:
    """Return a source with a plan."""
    return Source()


class TestFollowed:
    def test_nothing_is_followed_before_it_is_known(self, source: Source) -> None:
        """All calls go to the stable version."""
        assert source.followed.traffic() == Traffic()

    @pytest.mark.parametrize(
        "bad",
        [
            b"",
            text()[:40],
            text(model="other"),
            text(schema=2),
            text(routes={"2": -1}),
            text(expires="tomorrow"),
            text(expires=None),
            b" " * (LARGEST + 1),
            b"[" * 60_000,
            ConnectionRefusedError("nobody there"),
            FileNotFoundError("gone"),
            ValueError("it answers 503 Service Unavailable"),
        ],
        ids=lambda bad: repr(bad)[:40],
    )
    def test_a_source_that_is_away_or_damaged_changes_nothing(
        self, source: Source, bad: bytes | Exception, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is told once, and the plan that was read goes on until it ends."""
        assert source.shares() == {2: 90, 3: 10}
        source.text = bad
        assert source.shares() == source.shares() == {2: 90, 3: 10}
        assert len(caplog.records) == 1
        source.clock += 299
        assert source.shares() == {2: 90, 3: 10}
        source.clock += 1
        assert source.shares() == {}

    @given(st.integers(0, len(text()) - 1))
    def test_no_part_of_a_plan_is_a_plan(self, length: int) -> None:
        """Whatever a reader gets of a file that is being written."""
        with pytest.raises(ValueError, match=r"\w"):
            parse(text()[:length], model="clf", now=0)

    @given(st.binary(max_size=99) | st.dictionaries(st.sampled_from(FIELDS), JSON).map(spoilt))
    def test_no_text_breaks_the_reader(self, found: bytes) -> None:
        """It is followed, or a ValueError says why not, whatever stands in it."""
        try:
            read = parse(found, model="clf", now=NOW.timestamp())
        except ValueError:
            return
        assert all(weight > 0 for _, weight in read.shares)
        assert read.left_s is not None or not (read.shares or read.shadow)

    @pytest.mark.parametrize("skew", [-3600, -60, 60, 3600])
    def test_an_agent_gives_its_own_time(self, source: Source, skew: float) -> None:
        """The clock of the client does not matter, for the answer says what time it is."""
        source.text, source.wall = text(now=NOW.isoformat()), source.wall + skew
        source.shares()
        source.clock += 299
        assert dict(source.followed.traffic().shares) == {2: 90, 3: 10}
        source.clock += 2
        assert source.followed.traffic().shares == ()

    @pytest.mark.parametrize("skew", [-60, 60])
    def test_a_file_ends_by_the_clock_of_its_reader(self, source: Source, skew: float) -> None:
        """A clock that is a minute ahead ends it a minute early, one behind a minute late; nothing else changes."""
        source.wall += skew
        source.shares()
        source.clock += 299 - skew
        assert dict(source.followed.traffic().shares) == {2: 90, 3: 10}
        source.clock += 2
        assert source.followed.traffic().shares == ()

    def test_a_plan_that_is_over_is_not_followed(self, source: Source) -> None:
        """And one that is given more time is."""
        source.text = text(minutes=-1)
        assert source.shares() == {}
        source.text = text(minutes=1, generation=4)
        assert source.shares() == {2: 90, 3: 10}

    def test_an_older_plan_is_that_of_a_pod_that_comes_later(self, source: Source) -> None:
        """It is passed over until nothing newer was seen for a minute: then the source has gone back to it."""
        source.text = text(generation=4, routes={}, expires=None)
        assert source.shares() == {}
        source.text = text(generation=3)
        source.clock += OLDER_S - 1
        assert source.shares() == {}
        source.clock += 1
        assert source.shares() == {2: 90, 3: 10}

    def test_a_forked_child_reads_for_itself(self, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
        """The parent's thread is not in it; what the parent knew holds until the child knows more."""
        started: list[int] = []
        monkeypatch.setattr(Followed, "_start", lambda followed: started.append(followed._pid))
        source.shares()
        for pid in (source.followed._pid, source.followed._pid, 7, 7):
            monkeypatch.setattr("triton_sdk._wire.following.os.getpid", lambda pid=pid: pid)
            source.followed.begin()
        assert len(started) == 2
        assert started[1] == 7
        assert dict(source.followed.traffic().shares) == {2: 90, 3: 10}

    def test_routes_without_weight_get_no_calls(self, source: Source) -> None:
        """So a candidate is taken out of the traffic, and stays where it can be looked at."""
        source.text = text(routes={"2": 90, "3": 0})
        assert source.shares() == {2: 90}


@attrs.define
class Caller:
    """A client that follows the plan of a file.

    Attributes:
        transport: To a server in memory, with versions 1 and 2 and the candidate 3.
        plan: The plan.
    """

    path: Path
    transport: ScriptedTransport
    plan: TrafficPlan

    def write(self, **changes: Any) -> None:
        """Change the plan, and read it."""
        end = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
        self.path.write_bytes(text(**{"expires": end, **changes}))
        self.plan._followed.look()

    def predict(self, *, key: Key | None = None, **settings: Any) -> Prediction:
        """Classify an image."""
        shared = settings.pop("session", None) or self.session
        flow = routing.predict(
            shared, [image(1)], version=self.plan, key=key, top=2, deadline=shared.clock() + 30, **settings
        )
        return run(flow, self.transport, sleep=self.transport.clock.sleep)[0]

    session: Any = None

    @property
    def asked(self) -> list[tuple[str, str]]:
        """The model and version of each inference that was asked for, but those for labels."""
        return [
            (message.model_name, message.model_version)
            for method, message in self.transport.server.asked
            if method == "ModelInfer" and "classification" not in message.outputs[0].parameters
        ]


@pytest.fixture
def caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Caller:
    """Return a client whose plan sends a tenth to the candidate; no thread reads it."""
    monkeypatch.setattr(Followed, "_start", lambda followed: followed._known.set())
    transport = ScriptedTransport(server=FakeTriton(candidate=3))
    made = Caller(tmp_path / "plan.json", transport, TrafficPlan(tmp_path / "plan.json", model="clf"))
    made.session = session(transport)
    made.write()
    return made


class TestCalls:
    def test_a_key_gets_its_version(self, caller: Caller) -> None:
        """The same as of a split with the same weights; the candidate is asked as a model of its own."""
        split = Split({2: 90, 3: 10})
        keys = range(60)
        chosen = [split.choose(key) for key in keys]
        assert [caller.plan.choose(key) for key in keys] == chosen
        found = [caller.predict(key=key) for key in keys]
        assert [one.model_version for one in found] == chosen
        assert {one.model for one in found} == {"clf"}
        assert caller.asked == [("clf", "2") if one == 2 else ("clf.candidate", "3") for one in chosen]
        assert set(chosen) == {2, 3}
        assert {one.label for one in found if one.model_version == 3} == {"fish, red"}

    def test_a_key_stays_when_its_version_is_promoted(self, caller: Caller) -> None:
        """The routes are by version, whatever model serves it."""
        before = [caller.plan.choose(key) for key in range(60)]
        caller.write(candidate=None)
        assert [caller.plan.choose(key) for key in range(60)] == before

    def test_without_a_key_it_is_drawn(self, caller: Caller) -> None:
        """By the weights."""
        caller.session.uniform = iter([0.0, 0.89, 0.91]).__next__
        assert [caller.predict().model_version for _ in range(3)] == [2, 2, 3]

    def test_the_stable_version_answers_where_there_is_no_plan(self, caller: Caller) -> None:
        """It is that of callers who name none."""
        caller.write(routes={}, candidate=None, expires=None, generation=4)
        assert caller.plan.choose("anybody") is None
        assert caller.predict(key="anybody").model_version == 2
        assert caller.asked == [("clf", "")]

    def test_the_stable_version_answers_after_the_end(self, caller: Caller) -> None:
        """A canary whose judge died ends by itself."""
        caller.write(routes={"3": 1}, expires=datetime.now(UTC).isoformat())
        assert caller.predict().model_version == 2

    @pytest.mark.parametrize("candidate", [None, 4])
    def test_a_candidate_that_is_gone_gives_way(self, caller: Caller, candidate: int | None) -> None:
        """It was promoted or given up while this client did not know yet; for a second it is not asked again."""
        caller.write(routes={"3": 1})
        assert caller.predict().model_version == 3
        caller.transport.server.candidate = candidate
        caller.transport.server.asked.clear()
        assert [caller.predict().model_version for _ in range(3)] == [2, 2, 2]
        assert caller.asked == [("clf.candidate", "3"), ("clf", ""), ("clf", ""), ("clf", "")]
        caller.transport.server.candidate = 3
        caller.transport.clock.now += 1
        assert caller.predict().model_version == 3

    def test_a_version_that_is_gone_gives_way(self, caller: Caller) -> None:
        """Nobody fails for a version that was promoted away."""
        caller.write(routes={"2": 1}, candidate=None)
        caller.transport.server.versions = (4,)
        assert caller.predict().model_version == 4

    def test_what_the_candidate_fails_at_is_told(self, caller: Caller) -> None:
        """It is not asked again elsewhere: who compares versions must see it."""
        caller.write(routes={"3": 1})
        caller.predict()

        def twist(method: str, message: Any) -> None:
            if method == "ModelInfer" and message.model_name == "clf.candidate":
                raise Refused("INTERNAL", "boom")

        caller.transport.server.twist = twist
        caller.transport.server.asked.clear()
        with pytest.raises(InferenceFailedError, match=r"clf\.candidate.*version 3.*boom"):
            caller.predict()
        assert caller.asked == [("clf.candidate", "3")]

    def test_where_nothing_is_served_the_error_tells_of_both(self, caller: Caller) -> None:
        """The stable version's error, with a note about the candidate."""
        caller.transport.server.candidate, caller.transport.server.versions = None, ()
        caller.write(routes={"3": 1})
        with pytest.raises(Exception, match="model 'clf'") as caught:
            caller.predict()
        assert any("Version 3 was asked before" in note for note in caught.value.__notes__)

    def test_hooks_see_one_model(self, caller: Caller) -> None:
        """A canary changes no names in anybody's metrics."""
        reports: list[CallReport] = []
        caller.session.hooks = [on_call(reports.append)]
        caller.write(routes={"3": 1})
        caller.predict()
        assert (reports[0].call.model, reports[0].call.version, reports[0].model_version) == ("clf", 3, 3)

    def test_a_plan_of_another_model_is_refused(self, caller: Caller) -> None:
        """Its numbers mean nothing there."""
        with pytest.raises(ConfigurationError, match="plan is for model 'clf', and the client asks 'cars'"):
            caller.predict(session=session(caller.transport, model="cars"))


class TestSettings:
    @pytest.mark.parametrize(
        "source",
        [
            "",
            None,
            7,
            b"plan.json",
            "localhost:8003",
            "triton-infer.triton:8003",
            "ftp://host/plan",
            "http://",
            "http://:8003",
            "http://host:port",
            "http://host:0",
            "http://host:8003/?model=x",
            "http://user:secret@host:8003",
        ],
    )
    def test_a_source_that_is_none_is_refused(self, source: Any) -> None:
        """At once, and without repeating a password."""
        for make in (
            lambda: TrafficPlan(source, model="clf"),
            lambda: ClientConfig(url="h:1", traffic="" if source is None else source),
        ):
            with pytest.raises(ConfigurationError, match="http://HOST:8003 of the agent") as caught:
                make()
            assert "secret" not in str(caught.value)

    @pytest.mark.parametrize(
        "source",
        ["http://localhost:8003", "https://host/prefix", "http://[::1]:8003/", "plan.json", "/etc/triton/traffic.json"],
    )
    def test_a_source_is_kept(self, source: str) -> None:
        """An address or a path; a copy, and what pickle makes of it, is one of the same source."""
        plan = TrafficPlan(source, model="clf")
        assert plan.source == source.rstrip("/")
        for made in (plan, copy.copy(plan), pickle.loads(pickle.dumps(plan))):
            assert repr(made) == f"TrafficPlan({source.rstrip('/')!r}, model='clf')"

    def test_the_environment_names_a_source(self, tmp_path: Path) -> None:
        """TRITON_TRAFFIC is followed by calls that name no version, and told by name where it cannot be used."""
        environ = {"TRITON_GRPC_URL": "localhost:8001", "TRITON_MODEL": "clf"}
        with pytest.raises(ConfigurationError, match="TRITON_TRAFFIC: it is 'localhost:8003'; http://HOST:8003"):
            ClientConfig.from_env({**environ, "TRITON_TRAFFIC": "localhost:8003"})
        config = ClientConfig.from_env({**environ, "TRITON_TRAFFIC": str(tmp_path / "plan.json")})
        assert config.traffic == str(tmp_path / "plan.json")
