"""Packaging that is killed: no half version is ever seen, and the next run succeeds."""

import multiprocessing
import random
import signal
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path

import onnx
import pytest

from scripts.packaging.package import Source, Wishes, package
from scripts.repository import manifest
from scripts.repository.lint import model
from scripts.repository.versions import packaged
from tests.doubles import small_classifiers

KILLS = 50
MODEL = "tiny"

FILES = {"model.onnx", "model.gpu.onnx", "model.weights", "golden.npz", "manifest.json"}


def run(onnx_file: Path, repository: Path) -> None:
    """Package one version, with a resize of its own, so that config.pbtxt is rewritten as well."""
    resize = 18 + len(packaged(repository))
    wishes = Wishes(resize=resize)
    package(Source.onnx(onnx_file), model=MODEL, repository=repository, wishes=wishes, progress=lambda _: None)


@pytest.fixture(scope="module")
def children() -> ForkServerContext:
    """Give processes that start in milliseconds, from one that has imported everything and run nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def seconds_of_a_run(children: ForkServerContext, onnx_file: Path, repository: Path) -> float:
    """Package one version in a process of its own, and return how long that took."""
    child = children.Process(target=run, args=(onnx_file, repository))
    started = time.monotonic()
    child.start()
    child.join(30)
    assert child.exitcode == 0
    return time.monotonic() - started


def check_all_is_whole(repository: Path) -> int:
    """Check every file that can be seen, and return the number of versions."""
    if not repository.exists():
        return 0
    assert {path.name for path in repository.iterdir()} <= {MODEL}
    if (repository / MODEL).exists():
        assert [str(finding) for finding in model.lint(repository)] == []
    for found in packaged(repository):
        assert {path.name for path in found.path.iterdir()} == FILES
        assert found.manifest is not None
        for name, digest in found.manifest.sha256.items():
            assert manifest.sha256(found.path / name) == digest
    return len(packaged(repository))


@pytest.mark.timeout(400)
def test_a_kill_at_any_moment_leaves_no_half_version(children: ForkServerContext, tmp_path: Path) -> None:
    """After each of 50 kills at random moments, all that is seen is whole, and the next run succeeds and tidies up."""
    onnx_file, repository = tmp_path / "tiny.onnx", tmp_path / "models"
    onnx.save_model(small_classifiers.classifier(), onnx_file)
    seconds_of_a_run(children, onnx_file, repository)  # the first also starts the server of processes
    usual = seconds_of_a_run(children, onnx_file, repository)
    seed = random.randrange(2**32)
    moments, killed, rounds = random.Random(seed), 0, 0
    while killed < KILLS:
        rounds += 1
        assert rounds <= 4 * KILLS, f"seed {seed}: only {killed} of {rounds} processes were still there to be killed"
        place = tmp_path / str(rounds)
        place.mkdir()
        repository = place / "models"
        if rounds % 2:
            seconds_of_a_run(children, onnx_file, repository)  # half of them add to a model that is there
        before = check_all_is_whole(repository)
        child = children.Process(target=run, args=(onnx_file, repository))
        child.start()
        time.sleep(moments.uniform(0, usual))
        child.kill()
        child.join(30)
        killed += child.exitcode == -signal.SIGKILL
        after = check_all_is_whole(repository)
        assert after - before in (0, 1), f"seed {seed}, round {rounds}"
        usual = seconds_of_a_run(children, onnx_file, repository)
        assert check_all_is_whole(repository) == after + 1
        assert [path.name for path in place.iterdir()] == ["models"], f"seed {seed}, round {rounds}: leftovers stay"


@pytest.mark.parametrize("others", [0, 1], ids=["a new model", "a new version"])
def test_what_appears_is_whole_at_once(children: ForkServerContext, tmp_path: Path, others: int) -> None:
    """A process that is killed the moment its version can be seen has published all of it."""
    onnx_file = tmp_path / "tiny.onnx"
    onnx.save_model(small_classifiers.classifier(), onnx_file)
    for attempt in range(5):
        repository = tmp_path / str(attempt) / "models"
        repository.parent.mkdir()
        for _ in range(others):
            seconds_of_a_run(children, onnx_file, repository)
        target = repository / MODEL / str(others + 1) if others else repository / MODEL
        child = children.Process(target=run, args=(onnx_file, repository))
        child.start()
        while not target.exists() and child.is_alive():
            pass
        child.kill()
        child.join(30)
        assert check_all_is_whole(repository) == others + 1
