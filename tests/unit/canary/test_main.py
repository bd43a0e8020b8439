"""The judge in its pod: what it leaves as status and last words, and what becomes of its rights."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.agent.plan import ModelPlan, Plan
from scripts.canary import __main__
from scripts.canary.kept import Record
from scripts.canary.manifests import job
from scripts.canary.run import Canary, Result
from scripts.host.errors import TaskFailure
from scripts.versions.roll import Outcome
from tests.doubles.kubernetes_api import ApiServer
from tests.unit.canary.test_manifests import DEPLOYMENT, ORDER

TIME = "2030-01-31T12:00:00Z"
RECORD = Record(model="cars", version=3, stable=2, server="here", begun=TIME, looked=TIME)
PROMOTED = (Plan(models={"cars": ModelPlan(serve=(2, 3))}), Outcome(switched_s=1.5, seconds=2.0, rows=[]))


@pytest.fixture
def server() -> ApiServer:
    """Return a cluster with the judge's Job and Role."""
    made = ApiServer()
    made.put("roles", {"metadata": {"name": ORDER.job}})
    made.put("jobs", {"metadata": {"name": ORDER.job}})
    return made


@pytest.fixture
def judged(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[Canary], Result]], tuple[int, str, list[str]]]:
    """Give a function that runs the judge, and returns status, last words and lines."""

    def run(what: Callable[[Canary], Result]) -> tuple[int, str, list[str]]:
        said: list[str] = []
        monkeypatch.setattr(Canary, "run", what)
        words = tmp_path / "last-words"
        key = {"TRITON_ADMIN_KEY": "planted-key"}
        status = __main__.main(ORDER, server.api(), key, line=said.append, last_words=words, file=tmp_path / "f")
        return status, words.read_text(), said

    return run


def test_a_promotion_is_told_with_when(
    judged: Callable[[Callable[[Canary], Result]], tuple[int, str, list[str]]], server: ApiServer
) -> None:
    """And the judge gives its rights back; it was made by its order."""

    def run(canary: Canary) -> Result:
        assert (canary.wish.model, canary.wish.version, canary.target.name) == ("cars", 3, "release triton-infer")
        return Result(verdict="promoted", why="It is good.", record=RECORD, promoted=PROMOTED)

    status, words, said = judged(run)
    assert (status, words) == (0, "It is good.")
    assert said[0] == "Callers who name no version of cars get version 3 since 1.50 s after the order;"
    assert "roles/" + ORDER.job not in server.objects


def test_an_abort_and_a_failure_have_a_status_of_their_own(
    judged: Callable[[Callable[[Canary], Result]], tuple[int, str, list[str]]], server: ApiServer
) -> None:
    """A text that is too long for Kubernetes is cut, and shown as a whole."""

    def fail(_: Canary) -> Result:
        raise TaskFailure("x" * 5000)

    assert judged(lambda _: Result(verdict="aborted", why="It fails.", record=RECORD))[:2] == (
        1, "The canary is aborted. It fails.",
    )  # fmt: skip
    server.put("roles", {"metadata": {"name": ORDER.job}})
    assert judged(lambda _: Result(verdict="inconclusive", why="", record=RECORD))[0] == 3
    status, words, said = judged(fail)
    assert (status, len(words), len(said[-1])) == (1, 4096, 5000)
    assert "roles/" + ORDER.job not in server.objects


def test_an_error_in_the_judge_is_no_verdict(
    judged: Callable[[Callable[[Canary], Result]], tuple[int, str, list[str]]], server: ApiServer
) -> None:
    """The Job starts another pod, which needs the rights; where it failed is in the log."""

    def fail(_: Canary) -> Result:
        raise ZeroDivisionError("planted")

    status, words, said = judged(fail)
    verdicts = job(DEPLOYMENT, ORDER)["spec"]["podFailurePolicy"]["rules"][1]["onExitCodes"]["values"]
    assert (status, words) == (70, "The judge itself has failed: ZeroDivisionError('planted')")
    assert status not in verdicts
    assert "Traceback" in said[0]
    assert "roles/" + ORDER.job in server.objects


@pytest.mark.parametrize("how", ["gone", "going"])
def test_the_judge_of_a_job_that_is_removed_does_not_begin(
    judged: Callable[[Callable[[Canary], Result]], tuple[int, str, list[str]]], server: ApiServer, how: str
) -> None:
    """Linux keeps signals from the first process of a container that has not asked for them yet."""
    if how == "gone":
        del server.objects["jobs/" + ORDER.job]
    else:
        server.objects["jobs/" + ORDER.job]["metadata"]["deletionTimestamp"] = TIME

    def run(_: Canary) -> Result:
        raise AssertionError("it does not begin")

    assert judged(run)[:2] == (130, "The Job was removed before its judge began.")
    assert "roles/" + ORDER.job not in server.objects


@pytest.mark.parametrize("removed", [True, False])
def test_a_stopped_judge_keeps_its_rights_for_another_pod_of_its_job(
    judged: Callable[[Callable[[Canary], Result]], tuple[int, str, list[str]]], server: ApiServer, removed: bool
) -> None:
    """Its node is drained, so another pod begins again; or somebody removes the Job, and nobody does."""

    def run(_: Canary) -> Result:
        if removed:
            del server.objects["jobs/" + ORDER.job]
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("Stopped. All calls go to version 2 again.") from None
        raise AssertionError("SIGTERM stops it")

    status, words, _ = judged(run)
    assert (status, words) == (130, "Stopped. All calls go to version 2 again.")
    assert ("roles/" + ORDER.job in server.objects) is not removed


def test_where_no_kubelet_reads_them_there_are_no_last_words(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image started by hand, say: the log has them, and the status stays."""
    said: list[str] = []
    monkeypatch.setattr(Canary, "run", lambda _: Result(verdict="inconclusive", why="Who knows.", record=RECORD))
    nowhere = tmp_path / "none" / "last-words"
    assert __main__.main(ORDER, server.api(), {}, line=said.append, last_words=nowhere, file=tmp_path / "f") == 3
    assert said == ["The canary ends without a promotion. Who knows."]
