"""What clients tell is summed up, in bounded memory, and nonsense changes nothing."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from scripts.agent import metrics
from scripts.agent.errors import PlanError
from scripts.agent.health import Health
from scripts.agent.outcomes import KINDS, MOST_VERSIONS, Latency, Outcomes, Tally, middle_s
from scripts.agent.plans import Plans
from scripts.agent.traffics import Traffics
from tests.doubles.disk_agent import World


def version(**changes: Any) -> dict[str, Any]:
    """Return what a client tells of a version."""
    shadow = {"images": 0, "same": 0, "sure": 0, "sure_same": 0, "failures": {}, "latency": {}}
    told = {"calls": 3, "images": 5, "passed_over": 1, "failures": {"failed": 1}, "failed_s_ago": [0, 1]}
    return {**told, "latency": {"-64": 2}, "shadow": shadow, **changes}


def report(dropped: Any = 0, **versions: Any) -> bytes:
    """Return a report with versions ``v2=...``."""
    named = {name.removeprefix("v"): told for name, told in versions.items()}
    return json.dumps({"schema": 1, "model": "cars", "dropped": dropped, "versions": named}).encode()


class Clock:
    """A clock that is set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def test_reports_add_up() -> None:
    """Of several clients and of several moments; percentiles come from the sum."""
    outcomes = Outcomes(clock=Clock(), since="then")
    for _ in range(10):
        outcomes.take("cars", report(v2=version(), v3=version(latency={"0": 1}), dropped=2), stable=2)
    told = outcomes.to_dict()["cars"]
    assert (told["since"], told["dropped"]) == ("then", 20)
    two = told["versions"]["2"]
    assert (two["calls"], two["images"], two["passed_over"], two["failures"]) == (30, 50, 10, {"failed": 10})
    assert two["latency"]["buckets"] == {"-64": 20}
    assert two["latency"]["p99_ms"] == pytest.approx(1e3 * 2**-4, rel=0.03)
    assert set(told["versions"]) == {"2", "3"}


def test_what_agents_summed_up_adds_up() -> None:
    """What an agent tells is read as it was, and that of two agents is as if one had been told all of it."""
    shadow = {"images": 4, "same": 3, "sure": 2, "sure_same": 1, "failures": {"late": 1}, "latency": {"3": 4}}
    one, other, both = Outcomes(), Outcomes(), Outcomes()
    for outcomes, changes in ((one, {"shadow": shadow}), (other, {"calls": 7})):
        for told in (outcomes, both):
            told.take("cars", report(v2=version(failed_s_ago=[], **changes)), stable=2)
    found = Tally.from_dict(one.to_dict()["cars"]["versions"]["2"])
    assert found.to_dict() == one.tallies["cars"]["2"].to_dict()
    found.add(other.tallies["cars"]["2"])
    assert found.to_dict() == both.tallies["cars"]["2"].to_dict()


def test_calls_that_named_no_version_are_the_stable_ones() -> None:
    """Those that failed; where nothing is stable, they stand for themselves."""
    outcomes = Outcomes()
    outcomes.take("cars", report(v2=version(), stable=version()), stable=2)
    assert outcomes.to_dict()["cars"]["versions"]["2"]["calls"] == 6
    outcomes.take("cars", report(stable=version()), stable=None)
    assert outcomes.to_dict()["cars"]["versions"]["stable"]["calls"] == 3


def test_an_incident_is_a_second_in_which_something_failed() -> None:
    """Ten clients tell of one batch; half a second later it is another moment only if the second is another one."""
    clock = Clock()
    outcomes = Outcomes(clock=clock)
    for _ in range(10):
        outcomes.take("cars", report(v2=version()), stable=2)
    assert outcomes.tallies["cars"]["2"].incidents == 2
    clock.now += 1
    outcomes.take("cars", report(v2=version()), stable=2)
    assert outcomes.tallies["cars"]["2"].incidents == 3
    clock.now += 1000
    outcomes.take("cars", report(v2=version()), stable=2)
    assert outcomes.tallies["cars"]["2"].incidents == 5


def test_clients_tell_of_one_moment_at_different_times() -> None:
    """What failed in one moment is one incident, however long each client waited with its report."""
    clock = Clock()
    outcomes = Outcomes(clock=clock)
    failed = clock.now + 0.4
    for waited in (0.1, 0.5, 0.7, 1.3, 2.0):
        clock.now = failed + waited
        outcomes.take("cars", report(v2=version(failed_s_ago=[waited])), stable=2)
    assert outcomes.tallies["cars"]["2"].incidents == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        report().replace(b"cars", b"bikes"),
        report(v2=7),
        report(v2={}),
        report(v2=version(), dropped=-1),
        report(v2=version(), dropped=None),
        report(stabler=version()),
        report(v02=version()),
        report(v2=version(calls=-1)),
        report(v2=version(calls=10**9)),
        report(v2=version(calls=True)),
        report(v2=version(calls="3")),
        report(v2=version(failures={"of my own": 1})),
        report(v2=version(failures=["failed"])),
        report(v2=version(failed_s_ago=[0] * 1000)),
        report(v2=version(failed_s_ago=[-1])),
        report(v2=version(failed_s_ago=[float("nan")])),
        report(v2=version(failed_s_ago=["1"])),
        report(v2=version(latency={"9999": 1})),
        report(v2=version(latency={"x": 1})),
        report(v2=version(latency={"0": 1.5})),
        report(v2=version(), v3=version(shadow={"images": 1})),
        report(**{f"v{n}": version() for n in range(1, MOST_VERSIONS + 2)}),
    ],
    ids=lambda body: repr(body)[:60],
)
def test_what_is_no_report_changes_nothing(body: bytes) -> None:
    """All of a report is taken, or nothing of it."""
    outcomes = Outcomes()
    with pytest.raises(PlanError):
        outcomes.take("cars", body, stable=2)
    assert outcomes.to_dict().get("cars", {"versions": {}})["versions"] == {}


@given(st.lists(st.integers(-256, 256), min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_of_the_bucket_that_has_it(places: list[int], share: float) -> None:
    """At least that share of all lies in it or below, and less than that below it."""
    latency = Latency()
    latency.buckets.update(places)
    found = latency.quantile(share)
    assert found is not None
    below = sum(2 ** ((place + 1) / 16) <= found for place in places)
    up_to = sum(2 ** (place / 16) <= found for place in places)
    assert below < share * len(places) <= up_to


def test_no_calls_have_no_quantile() -> None:
    """It is nothing, and not zero."""
    assert Latency().quantile(0.5) is None


def test_the_metrics_tell_it(world: World, tmp_path: Any) -> None:
    """By version, with a histogram that Prometheus adds up over pods."""
    outcomes = Outcomes()
    outcomes.take("cars", report(v2=version(latency={"-64": 2, "-20": 1, "80": 1})), stable=2)
    plans, traffics = Plans(kept=tmp_path / "plan.json"), Traffics(kept=tmp_path / "traffic", say=print)
    page = metrics.text(world.follower, plans, traffics, outcomes, Health(follower=world.follower))
    samples = {
        (sample.name.removeprefix("triton_agent_client_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.labels.get("version") == "2"
    }
    assert samples["calls_total", "cars", "2"] == 3
    assert samples["failures_total", "cars", "2", "failed"] == 1
    buckets = {name[3]: value for name, value in samples.items() if name[0] == "latency_seconds_bucket"}
    assert (buckets["0.0625"], buckets["0.0883883"], buckets["0.5"], buckets["32"], buckets["+Inf"]) == (0, 2, 3, 3, 4)
    assert samples["latency_seconds_count", "cars", "2"] == 4
    assert samples["latency_seconds_sum", "cars", "2"] == pytest.approx(
        sum(count * middle_s(place) for place, count in {-64: 2, -20: 1, 80: 1}.items()), rel=1e-12
    )
    assert set(KINDS) >= {"failed"}
