"""A canary judges itself on a real Triton, by what four processes see that follow its plan. Shown with -rP."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles import tiny
from tests.doubles.brittle_models import brittle, picky, sluggish
from tests.live.versions.canaries import (
    Callers,
    callers_of,
    canary,
    judged,
    kept,
    offer,
    promote,
    promoted,
    requests_of,
)
from tests.live.versions.scene import MODEL, Scene, Served
from tests.waiting import wait_until
from triton_sdk.errors import LocalServerError
from triton_sdk.local import LocalTriton, Runtime

# What a canary finds depends on how many calls a machine makes within its seconds.
pytestmark = [pytest.mark.timeout(300), pytest.mark.timing]

GOOD, BRITTLE, PICKY, SLUGGISH = 41, 42, 43, 44


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, runtime: Runtime) -> Iterator[Served]:
    """Serve versions 1 and 2; one that is as good as 2, two that fail for some images and a slow one are published."""
    scene = Scene.made(tmp_path_factory.mktemp("canary"), runtime)
    offer(scene, GOOD, tiny.classifier(seed=2))
    offer(scene, BRITTLE, brittle(tiny.classifier(seed=2), pixels="pixels"))
    offer(scene, PICKY, picky(tiny.classifier(seed=2), pixels="pixels"))
    offer(scene, SLUGGISH, sluggish(tiny.classifier(seed=2), pixels="pixels"))
    with scene.started() as served:
        yield served


@pytest.fixture(scope="module")
def callers(running: Served) -> Iterator[Callers]:
    """Start the processes that call."""
    with callers_of(running) as found:
        yield found


def test_without_traffic_nobody_can_tell(served: Served, tmp_path: Path) -> None:
    """Before anybody calls: it says so beforehand, holds, says what is missing, and takes the version back."""
    with canary(served, GOOD, tmp_path, "--for=8s") as process:
        done = judged(process)
    assert (done.status, done.found["verdict"], done.decisions) == (3, "inconclusive", ["begin", "inconclusive"])
    assert "No client tells of any call" in done.said
    assert "0 of 40 calls of version 41" in done.found["why"]
    assert "the servers had" not in done.found["why"]
    assert served.state().models[MODEL].candidate is None


def test_a_good_version_is_promoted(served: Served, callers: Callers, tmp_path: Path) -> None:
    """Step by step; no call fails, and then everybody gets it."""
    with callers.calling():
        with canary(served, GOOD, tmp_path) as process:
            done = judged(process)
        assert done.status == 0, done.said
        ended = time.monotonic()
        wait_until(lambda: callers.all_get(GOOD, since=ended), within_s=30)
    assert done.decisions == ["begin", "pass", "begin", "pass", "promote"]
    assert callers.failures(beside=0) == []
    assert served.versions() == {2, GOOD}
    assert not served.target.agent.get(f"/v1/traffic/{MODEL}").body["in_force"]


@pytest.mark.parametrize(
    ("version", "fatal"), [(BRITTLE, 1.0), (BRITTLE, 0.05), (PICKY, 1.0)], ids=["all fail", "5% fail", "refuses"]
)
def test_a_version_that_fails_is_aborted(
    served: Served, callers: Callers, tmp_path: Path, version: int, fatal: float
) -> None:
    """Nobody but its own callers notices, who saw no failure that is not its own; then all get what they got before."""
    with callers.calling(fatal=fatal), requests_of(served, version) as requests:
        # Five of a hundred are found in some hundred calls.
        with canary(served, version, tmp_path, calls=1000) as process:
            done = judged(process)
        assert done.status == 1, done.said
        ended = time.monotonic()
        wait_until(lambda: callers.all_get(2, since=ended), within_s=30)
    assert done.decisions[-1] == "aborted"
    assert f"Version {version} is taken away." in done.said
    assert callers.failures(beside=version) == []
    failures = [came for *_, came in callers.failures(beside=0)]
    assert all(f"{MODEL}.candidate" in str(came) for came in failures), failures
    answered = sum(came == version for *_, came in callers.seen)
    assert 0 < len(failures) <= requests() - answered
    assert served.versions() == {1, 2}
    assert served.state().models[MODEL].candidate is None


def test_a_judge_that_is_killed_ends_its_canary_and_the_next_goes_on(
    served: Served, callers: Callers, tmp_path: Path
) -> None:
    """The plan is over by itself; another run takes the version up where it was."""
    with callers.calling():
        with canary(served, GOOD, tmp_path, expires=10) as process:
            wait_until(lambda: any(came == GOOD for *_, came in callers.read()), within_s=60)
            # Before its first look it knows nothing that another run could go on with.
            wait_until(lambda: kept(tmp_path), within_s=60)
            process.kill()
        killed = time.monotonic()
        record = kept(tmp_path)
        wait_until(lambda: callers.all_get(2, since=killed + 1), within_s=30)
        with canary(served, GOOD, tmp_path) as process:
            done = judged(process)
        assert done.status == 0, done.said
    assert record is not None
    before = [one["decision"] for one in record.decisions]
    assert done.decisions[: len(before) + 1] == [*before, "go on"]
    assert callers.failures(beside=0) == []
    assert served.versions() == {2, GOOD}


def test_sigterm_takes_the_canary_back(served: Served, callers: Callers, tmp_path: Path) -> None:
    """As Ctrl-C does; all of it is told."""
    with callers.calling():
        with canary(served, GOOD, tmp_path) as process:
            wait_until(lambda: any(came == GOOD for *_, came in callers.read()), within_s=60)
            process.terminate()
            done = judged(process)
        ended = time.monotonic()
        wait_until(lambda: callers.all_get(2, since=ended), within_s=30)
    assert done.status == 130
    assert "Stopped. All calls go to version 2 again. Version 41 is taken away." in done.said
    assert callers.failures(beside=0) == []
    assert served.state().models[MODEL].candidate is None


def test_a_canary_is_taken_back_where_nobody_reads_along(served: Served, callers: Callers, tmp_path: Path) -> None:
    """`invoke canary 2>&1 | tee log`, and Ctrl-C: tee ends first, and what the canary says then reaches nobody."""
    with callers.calling():
        with canary(served, GOOD, tmp_path) as process:
            wait_until(lambda: any(came == GOOD for *_, came in callers.read()), within_s=60)
            assert process.stderr is not None
            process.stderr.close()
            process.terminate()
            status = process.wait(60)
        ended = time.monotonic()
        assert not served.target.agent.get(f"/v1/traffic/{MODEL}").body["in_force"]
        wait_until(lambda: callers.all_get(2, since=ended), within_s=30)
    assert status == 130
    assert served.state().models[MODEL].candidate is None


def test_a_promotion_ends_the_canary_first(served: Served, callers: Callers, tmp_path: Path) -> None:
    """And says so; the task of the canary ends, and leaves everything as it is."""
    with callers.calling(), canary(served, GOOD, tmp_path) as process:
        wait_until(lambda: any(came == GOOD for *_, came in callers.read()), within_s=60)
        said = promoted(served, 3, tmp_path)
        done = judged(process)
        ended = time.monotonic()
        wait_until(lambda: callers.all_get(3, since=ended), within_s=30)
    assert "The canary of version 41 of cars is ended first: all calls go to the stable version again." in said
    assert (done.status, "Somebody else has changed the traffic plan of cars" in done.said) == (1, True)
    assert callers.failures(beside=0) == []
    assert served.versions() == {2, 3}
    assert served.state().models[MODEL].candidate is None


def test_a_promotion_whose_results_nobody_reads_is_done(served: Served, callers: Callers, tmp_path: Path) -> None:
    """`invoke promote | true` beside a canary: once the canary was ended, and then nothing was promoted."""
    reader, writer = os.pipe()
    os.close(reader)
    with callers.calling(), canary(served, GOOD, tmp_path) as process:
        wait_until(lambda: any(came == GOOD for *_, came in callers.read()), within_s=60)
        done = promote(served, 3, tmp_path, writer)
        os.close(writer)
        judged(process)
    assert (done.returncode, "Error" in done.stderr) == (1, False)
    assert served.versions() == {2, 3}


def test_a_version_that_answers_otherwise_is_aborted(served: Served, callers: Callers, tmp_path: Path) -> None:
    """Where callers got an answer that was a sure one; the shadows tell, without any caller's harm."""
    with callers.calling(), canary(served, 3, tmp_path, shadow=0.5, disagreement=0.02) as process:
        done = judged(process)
    assert done.status == 1, done.said
    assert "another best class" in done.found["why"]
    assert callers.failures(beside=0) == []
    assert served.versions() == {1, 2}


def test_a_slow_version_is_aborted(served: Served, callers: Callers, tmp_path: Path) -> None:
    """It takes so much longer that a busy machine, which makes both versions wait, cannot hide it."""
    with callers.calling(), canary(served, SLUGGISH, tmp_path, calls=3000, slower=1.15) as process:
        done = judged(process)
    assert done.status == 1, done.said
    assert "slow" in done.found["why"]
    assert callers.failures(beside=0) == []
    assert served.versions() == {1, 2}


def test_a_triton_that_is_started_anew_changes_no_verdict(runtime: Runtime, tmp_path: Path) -> None:
    """It fails the calls of both versions meanwhile, and its own counters begin anew; both is seen for what it is."""
    scene = Scene.made(tmp_path, runtime)
    offer(scene, GOOD, tiny.classifier(seed=2))
    with (
        scene.started() as served,
        callers_of(served) as callers,
        callers.calling(),
        canary(served, GOOD, tmp_path, calls=1000) as process,
    ):
        # The counters of a few calls would be passed again before anybody looks.
        wait_until(lambda: sum(came == GOOD for *_, came in callers.read()) >= 300, within_s=90)
        with killed_and_started(served):
            done = judged(process)
            assert done.status == 0, done.said
            ended = time.monotonic()
            wait_until(lambda: callers.all_get(GOOD, since=ended), within_s=60)
    assert any(isinstance(came, str) for *_, came in callers.seen)
    assert "The counters of" in done.said


@contextlib.contextmanager
def killed_and_started(served: Served) -> Iterator[None]:
    """Kill the server, and let another one take its place until the block ends."""
    server = served.server
    http, grpc, metrics = (
        int(url.rpartition(":")[2].partition("/")[0]) for url in (server.http_url, server.grpc_url, server.metrics_url)
    )
    os.kill(server.pid, signal.SIGKILL)
    with pytest.raises(LocalServerError):
        server.wait()
    again = LocalTriton(
        served.scene.folders.served,
        runtime=served.scene.runtime,
        http_port=http,
        grpc_port=grpc,
        metrics_port=metrics,
        args=("--model-control-mode=explicit",),
    )
    with again:
        yield
