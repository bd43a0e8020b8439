"""What is new is counted once, whatever happens to agents, pods and counters."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from scripts.agent.outcomes import Tally
from scripts.agent.plan import Plan
from scripts.canary.watch import Counted, News, Watch
from scripts.server.seen import State, Told

BEGUN = datetime(2030, 1, 31, 12, tzinfo=UTC)
BEFORE, LATER, LAST = "2030-01-31T11:00:00Z", "2030-01-31T12:10:00Z", "2030-01-31T12:20:00Z"


def state(since: str, **calls: int) -> State:
    """Return what an agent says: ``v2=100`` calls of version 2, of which a tenth failed."""
    tallies = {
        name.removeprefix("v"): Tally.from_dict(
            {
                "calls": count, "images": count - count // 10, "passed_over": 0, "incidents": count // 100,
                "failures": {"failed": count // 10}, "latency": {"buckets": {"-96": count - count // 10}},
                "shadow": {"images": count, "same": count, "sure": 0, "sure_same": 0, "failures": {}, "latency": {
                    "buckets": {}}},
            }
        )
        for name, count in calls.items()
    }  # fmt: skip
    outcomes = {"cars": Told(since=since, dropped=0, versions=tallies)} if calls else {}
    return State(
        plan=Plan(), before=Plan(), followed=None, settled=True, problem=None, restart_needed=None, models={},
        outcomes=outcomes,
    )  # fmt: skip


@pytest.fixture
def watch() -> Watch:
    """Return a watch for version 3 beside version 2."""
    return Watch(model="cars", stable=2, candidate=3, begun=BEGUN)


def counts(news: News) -> tuple[int, int, int]:
    """Return calls of the stable version, of the candidate, and of all."""
    return news.stable.calls, news.candidate.calls, news.calls


def test_the_first_look_counts_nothing(watch: Watch) -> None:
    """It was before; the next ones count what came since, of all servers."""
    assert counts(watch.look({"a": state(BEFORE, v2=100, v3=50)}, {})) == (0, 0, 0)
    assert watch.before().buckets == {-96: 90}
    news = watch.look({"a": state(BEFORE, v1=7, v2=150, v3=70)}, {})
    assert counts(news) == (50, 20, 77)
    assert (news.stable.failed, news.stable.latency.buckets, news.stable.images) == (5, {-96: 45}, 45)
    assert news.candidate.shadow == {"images": 20, "same": 20}
    assert counts(watch.look({"a": state(BEFORE, v1=7, v2=150, v3=70)}, {})) == (0, 0, 0)


def test_an_agent_that_starts_anew_counts_from_nothing(watch: Watch) -> None:
    """What it had counted is not lost, and not counted again."""
    watch.look({"a": state(BEFORE, v2=100)}, {})
    watch.look({"a": state(BEFORE, v2=110)}, {})
    news = watch.look({"a": state(LATER, v2=5, v3=3)}, {})
    assert counts(news) == (5, 3, 8)
    assert news.notes == ("The agent of a has started anew; what it counts is counted from there on",)
    assert counts(watch.look({"a": state(LATER, v2=6, v3=4)}, {})) == (1, 1, 2)


def test_an_agent_that_knew_nothing_yet_is_counted_from_its_first_report(watch: Watch) -> None:
    """Nor does an agent count as another one because it was told of the model for the first time."""
    watch.look({"a": state(BEFORE)}, {})
    news = watch.look({"a": state(BEFORE, v2=30)}, {})
    assert (counts(news), news.notes) == ((30, 0, 30), ())


def test_a_pod_that_comes_counts_from_its_start_and_an_older_one_from_now(watch: Watch) -> None:
    """An older one was only not to be reached before."""
    watch.look({"a": state(BEFORE, v2=100)}, {})
    both = {"a": state(BEFORE, v2=100), "new": state(LATER, v2=9, v3=1), "old": state(BEFORE, v2=1000)}
    assert counts(watch.look(both, {})) == (9, 1, 10)
    both["old"] = state(BEFORE, v2=1001)
    assert counts(watch.look(both, {})) == (1, 0, 1)


def test_a_pod_that_is_away_loses_nothing(watch: Watch) -> None:
    """Its counts grow meanwhile, and are seen when it is back."""
    watch.look({"a": state(BEFORE, v2=100)}, {})
    assert counts(watch.look({}, {})) == (0, 0, 0)
    assert counts(watch.look({"a": state(BEFORE, v2=140)}, {})) == (40, 0, 40)


def test_calls_that_nobody_answered_are_the_stable_versions(watch: Watch) -> None:
    """They named no version, while none was served."""
    watch.look({"a": state(BEFORE, v2=1)}, {})
    assert counts(watch.look({"a": state(BEFORE, v2=1, stable=4)}, {})) == (4, 0, 4)


def test_it_goes_on_as_json(watch: Watch) -> None:
    """Another run counts what came since, once."""
    watch.look({"a": state(BEFORE, v2=100, v3=10)}, {})
    text = json.dumps(watch.to_dict())
    again = Watch.from_dict(json.loads(text), model="cars", stable=2, candidate=3)
    assert counts(again.look({"a": state(BEFORE, v2=130, v3=15)}, {})) == (30, 5, 35)
    assert again.begun == BEGUN


def test_what_servers_counted_meanwhile_is_known_to_another_run(watch: Watch) -> None:
    """Or what clients told meanwhile would seem to be too much."""
    watch.look({"a": state(BEFORE, v2=1, v3=10)}, counted(10))
    again = Watch.from_dict(json.loads(json.dumps(watch.to_dict())), model="cars", stable=2, candidate=3)
    again.look({"a": state(BEFORE, v2=1, v3=5010)}, counted(10010))
    assert again.contradictions() == []


def test_what_a_new_pod_counted_belongs_to_what_its_clients_told(watch: Watch) -> None:
    """Both from its start."""
    watch.look({"a": state(BEFORE, v2=1)}, counted(0))
    watch.look({"a": state(BEFORE, v2=1), "b": state(LATER, v3=1000)}, {"b": Counted(images=2000, requests=2000)})
    assert watch.contradictions() == []


def counted(images: int, failed: int = 0) -> dict[str, Counted]:
    """Return what a server counted."""
    return {"a": Counted(images=images, requests=images + failed, failed=failed)}


def test_what_clients_tell_is_held_against_what_servers_counted(watch: Watch) -> None:
    """Clients that tell of many more calls than there were do not pass."""
    watch.look({"a": state(BEFORE, v2=1, v3=100)}, counted(500))
    watch.look({"a": state(BEFORE, v2=1, v3=200)}, counted(690))  # 90 images, and 100 shadowed ones
    assert watch.contradictions() == []
    watch.look({"a": state(BEFORE, v2=1, v3=1200)}, counted(700))
    assert (
        "clients tell of 2,090 images that version 3 answered, and the servers counted 200"
        in (watch.contradictions()[0])
    )


def test_counters_that_begin_anew_are_noticed(watch: Watch) -> None:
    """From there on both are held against each other."""
    watch.look({"a": state(BEFORE, v2=1, v3=100)}, counted(500))
    watch.look({"a": state(BEFORE, v2=1, v3=600)}, counted(1500))
    news = watch.look({"a": state(BEFORE, v2=1, v3=600)}, counted(3))
    assert news.notes == (
        "The counters of a have begun anew: its Triton was restarted, or has loaded the candidate again",
    )
    assert watch.contradictions() == []


def test_golden_images_are_no_calls_of_clients(watch: Watch) -> None:
    """What the servers asked it before is left out."""
    watch.look({"a": state(BEFORE, v2=1)}, counted(0))
    watch.look({"a": state(BEFORE, v2=1)}, counted(500))
    watch.compare_anew()
    assert watch.contradictions() == []
    watch.look({"a": state(BEFORE, v2=1, v3=1000)}, counted(510))
    assert "the servers counted 10:" in watch.contradictions()[0]


def test_failures_that_retries_hide_are_noticed(watch: Watch) -> None:
    """The servers failed many requests, and callers saw none of it."""
    watch.look({"a": state(BEFORE, v2=1, v3=1)}, counted(0))
    watch.look({"a": state(BEFORE, v2=1, v3=9)}, counted(200, failed=50))
    assert "the servers failed 50 of 250 requests of version 3, and clients tell of 0" in watch.contradictions()[0]


def test_clients_that_tell_nothing_are_noticed(watch: Watch) -> None:
    """Nobody can judge what nobody tells."""
    watch.look({"a": state(BEFORE, v2=1)}, counted(0))
    watch.look({"a": state(BEFORE, v2=1)}, counted(50))
    assert watch.contradictions() == []  # a server that loads it asks it some images itself
    watch.look({"a": state(BEFORE, v2=1)}, counted(150))
    assert "no client tells what became of them" in watch.contradictions()[0]


def test_tritons_statistics_are_read() -> None:
    """Those of the candidate's own number; a server without it has counted nothing."""
    stats: dict[str, Any] = {"success": {"count": 5}, "fail": {"count": 2}}
    body = {"model_stats": [{"version": "3", "inference_count": 40, "inference_stats": stats}]}
    assert Counted.of(body, 3) == Counted(images=40, requests=7, failed=2)
    assert Counted.of(body, 4) == Counted()
    assert Counted.of({"error": "there is no such model"}, 3) == Counted()
