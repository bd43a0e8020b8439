"""The table of all versions: what the store has, and what servers serve."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import attrs

from scripts.agent.folder import Folder
from scripts.agent.plan import ModelPlan, Plan
from scripts.agent.store import Store
from scripts.server.endpoint import Answer, Endpoint
from scripts.versions.table import as_json, look
from tests.doubles.disk_agent import World, two_versions
from tests.unit.versions.test_roll import InProcess, promoted


class Counting:
    """A server whose counters are known."""

    def __init__(self, counts: Mapping[int, tuple[int, int]]) -> None:
        self.counts = counts

    def get(self, path: str) -> Answer:
        """Return the counters."""
        assert path == "/v2/models/cars/stats"
        stats: list[dict[str, Any]] = [
            {"version": str(number), "inference_stats": {"success": {"count": good}, "fail": {"count": bad}}}
            for number, (good, bad) in self.counts.items()
        ]
        return Answer(status=200, body={"model_stats": stats})


def test_every_version_is_listed_once(world: World) -> None:
    """Published, packaged, served and counted."""
    world.publish(3)
    world.publish(4)
    target = InProcess(one=world)
    target.roll().to(promoted(target, 3))
    store = Store(Folder(world.root / "store"))
    server = (target.state(), cast(Endpoint, Counting({2: (7, 0), 3: (5, 1)})))
    found = {one.version: one for one in look(store, [server], model="cars")}
    assert {n: (one.in_store, one.in_image, one.planned, one.served) for n, one in found.items()} == {
        1: (False, True, None, 0),
        2: (False, True, "serve", 1),
        3: (True, False, "serve", 1),
        4: (True, False, None, 0),
    }
    assert [number for number, one in found.items() if one.stable] == [3]
    assert (found[3].requests, found[3].failures, found[3].source) == (5, 1, "store")
    assert found[3].published is not None
    assert found[3].row[-1] == "callers who name none get it"
    assert json.loads(as_json(list(found.values())))[2]["version"] == 3
    assert look(store, [server], model="bikes") == []


def test_only_servers_of_one_plan_are_counted_together(world: World) -> None:
    """In an umbrella the pods of another chart are no servers of this model that fail to serve it."""
    target = InProcess(one=world)
    target.roll().to(promoted(target, 2))
    state, triton = target.state(), cast(Endpoint, Counting({}))
    other = attrs.evolve(state, plan=Plan(models={"bikes": ModelPlan(serve=(1,))}, generation=9), models={})
    for servers, shown in (([state, other], "1 of 1"), ([state, state, other], "2 of 2")):
        found = {one.version: one for one in look(None, [(each, triton) for each in servers])}
        assert found[2].row[5] == shown


def test_without_a_server_the_store_is_listed(world: World) -> None:
    """What is not known of a version is no claim."""
    world.publish(3)
    (only,) = look(Store(Folder(world.root / "store")), [])
    assert (only.in_store, only.in_image, only.served, only.row[3]) == (True, None, 0, "?")


def test_what_callers_saw_adds_up_over_servers(tmp_path: Path) -> None:
    """The percentiles are those of all calls together; a bad request is its caller's own fault."""
    target = InProcess(one=two_versions(tmp_path / "1"), two=two_versions(tmp_path / "2"))
    for name, calls, latency in (("one", 90, {"-112": 90}), ("two", 12, {"-64": 10})):
        failures = {"late": 1, "invalid": 1} if name == "two" else {}
        shadow = {"images": 0, "same": 0, "sure": 0, "sure_same": 0, "failures": {}, "latency": {}}
        told = {"calls": calls, "images": calls, "passed_over": 0, "failures": failures, "failed_s_ago": []}
        report = {"schema": 1, "model": "cars", "dropped": 0}
        body = json.dumps({**report, "versions": {"2": {**told, "latency": latency, "shadow": shadow}}}).encode()
        target.apis[name].outcomes.take("cars", body, stable=2)
    servers = [(ask(), cast(Endpoint, Counting({}))) for _, ask in target.servers()]
    one, two = look(None, servers)
    assert two.row[-2] == "7.98 / 63.9 / 63.9 ms, 1 of 102 failed"
    assert (one.callers, one.row[-2]) == (None, "")
    assert json.loads(as_json([two]))[0]["callers"]["failures"] == {"invalid": 1, "late": 1}
