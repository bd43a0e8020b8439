"""What a canary says at its end, and with which status."""

import contextlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import attrs
import pytest
from invoke import Context

from scripts.agent.plan import Plan
from scripts.canary import places
from scripts.canary.job import Ended, Job
from scripts.canary.kept import Record
from scripts.canary.order import Order
from scripts.canary.run import Result
from scripts.canary.stepping import Verdict
from scripts.cluster import serving
from scripts.cluster.kubectl import Kubectl
from scripts.cluster.target import Target
from scripts.host.errors import TaskFailure
from scripts.tasks import canary
from scripts.versions import publish
from scripts.versions.release import Release
from tests.doubles.disk_agent import two_versions
from tests.doubles.kubernetes import WHERE, Cluster
from tests.unit.canary.test_manifests import DEPLOYMENT, ORDER, WISH
from tests.unit.versions.test_roll import InProcess

TIME = "2030-01-31T12:00:00Z"


def ended(verdict: Verdict) -> tuple[int, str]:
    """Return the status of a canary that ended so, and what it says."""
    record = Record(model="cars", version=3, stable=2, server="here", begun=TIME, looked=TIME)
    result = Result(verdict=verdict, why="For this reason.", record=record)
    return result.status, result.said


def test_a_promotion_is_said() -> None:
    """And the task ends well."""
    said: list[str] = []
    canary.end(*ended("promoted"), say=said.append)
    assert said == ["For this reason."]


def test_an_abort_is_a_failure() -> None:
    """With its reason."""
    with pytest.raises(TaskFailure, match=r"^The canary is aborted\. For this reason\.$"):
        canary.end(*ended("aborted"), say=print)


def test_that_nobody_can_tell_is_neither() -> None:
    """It has a status of its own."""
    said: list[str] = []
    with pytest.raises(SystemExit) as exited:
        canary.end(*ended("inconclusive"), say=said.append)
    assert (exited.value.code, said) == (3, ["The canary ends without a promotion. For this reason."])


def test_the_order_names_what_the_release_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The judge may touch nothing else; if the version cannot be tried, no Job is made."""
    ordered: list[Order] = []
    monkeypatch.setattr(Job, "find", lambda *_: False)
    monkeypatch.setattr(Job, "start", lambda *told: ordered.append(told[-1]))
    monkeypatch.setattr(Job, "follow", lambda _, again: Ended(status=0, said=again, begun=TIME))
    meta = {"name": "triton-infer-plan", "resourceVersion": "1"}
    cluster = Cluster(answers={"kubectl get configmaps": {"items": [{"metadata": meta, "data": {"plan.json": "{}"}}]}})
    served = InProcess(one=two_versions(tmp_path))
    target = SimpleNamespace(
        deployment=lambda: DEPLOYMENT,
        kubectl=Kubectl(cluster, where=WHERE, namespace="triton"),
        target=Target(),
        state=served.state,
        revision=7,
        name="release triton-infer",
        agents=SimpleNamespace(close=lambda: None),
    )
    _, done = canary.in_the_cluster(cast(Release, target), WISH, " --for 1h")
    assert done.said == "invoke canary --job --model cars --version 3 --for 1h"
    assert ordered == [ORDER]
    with pytest.raises(TaskFailure, match="Version 2 of cars is served already"):
        canary.in_the_cluster(cast(Release, target), attrs.evolve(WISH, version=2), "")
    assert len(ordered) == 1


def test_the_command_that_follows_again_has_the_options_that_were_given() -> None:
    """If the canary has ended and was told, the same command begins another one in the same way."""
    usual = {"config": "", "for_": "2h", "keep": "1", "timeout": "600", "compared": "", "json": False}
    given = {"config": "my canary.toml", "for_": "1h", "keep": "0", "timeout": "60", "compared": "a.json", "json": True}
    assert canary.options(**cast(Any, usual)) == ""
    said = " --config 'my canary.toml' --for 1h --keep 0 --timeout 60 --compared a.json --json"
    assert canary.options(**cast(Any, given)) == said


@pytest.mark.parametrize(("looked", "shown"), [("2030-01-31T12:30:00Z", True), ("2030-01-31T11:00:00Z", False)])
def test_the_record_of_a_job_is_shown_and_its_end_is_noted_at_last(
    looked: str, shown: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What an earlier canary has left is not shown; who is interrupted before the file is written is told again."""
    done: list[str] = []
    record = Record(model="cars", version=3, stable=2, server="here", begun=TIME, looked=looked, verdict="promoted")
    following = SimpleNamespace(told=lambda: done.append("noted"))
    target = SimpleNamespace(kubectl=None, target=Target())
    monkeypatch.setattr(canary, "served", lambda *_: contextlib.nullcontext(target))
    monkeypatch.setattr(
        canary, "in_the_cluster", lambda *_: (following, Ended(status=0, said="It is good.", begun=TIME))
    )
    monkeypatch.setattr(canary, "into_file", lambda *_, **__: done.append("written"))
    monkeypatch.setattr(publish, "digest_in_store", lambda *_, **__: None)
    monkeypatch.setattr(places, "keeper", lambda *_, **__: SimpleNamespace(read=lambda: (record, None)))
    monkeypatch.setattr(serving, "planned", lambda *_: {"plan": Plan()})
    canary.canary(Context(), model="cars", version="3", job=True, json=True)
    assert done == ["written", "noted"]
    printed = capsys.readouterr().out
    assert (json.loads(printed)["verdict"] == "promoted") if shown else printed == ""


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ({}, "Which model. For example: invoke canary --model resnet50"),
        ({"model": "cars"}, "Which version. For example: invoke canary --model cars --version 2"),
        ({"model": "cars", "version": "x"}, "--version takes a whole number"),
        ({"model": "cars", "version": "3", "for_": "1 hour"}, "--for takes a time, for example 90s, 30m or 2h"),
        ({"model": "cars", "version": "3", "job": True, "url": "localhost"}, "--job starts a Job in the cluster"),
        ({"model": "cars", "version": "3", "config": "/none.toml"}, "--config /none.toml: there is no such file"),
        ({"model": "cars", "version": "3", "compared": "/none.json"}, "--compared /none.json cannot be read: No such"),
    ],
)
def test_what_is_missing_is_asked_before_any_server(
    flags: dict[str, Any], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One message, with an example."""
    with pytest.raises(SystemExit):
        canary.canary(Context(), **flags)
    assert why.replace(".", "") in capsys.readouterr().err.replace(".", "").replace("?", "")
