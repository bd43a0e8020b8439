"""Versions come and go under traffic on a real Triton, and no call fails for it."""

import os
import statistics
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from scripts.host.errors import TaskFailure
from scripts.versions import change
from scripts.versions.publish import publish
from tests.live.versions.scene import MODEL, Served, packaged
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(300)


def test_twenty_promotions_and_rollbacks_fail_no_call(served: Served) -> None:
    """Eight callers who name no version are answered all the time, by what is promoted."""
    with served.called() as callers:
        for _ in range(20):
            served.promote(3)
            served.rollback(to=2)
        answers = callers.answers()
    assert callers.failures == []
    assert {version for _, version in answers} == {2, 3}
    assert served.versions() == {2}


def test_a_version_answers_nobody_before_it_is_promoted(served: Served, tmp_path: Path) -> None:
    """Packaged, published, fetched, loaded as a candidate: callers who name no version meet it with its promotion."""
    number = 5
    with served.called() as callers:
        pid = served.server.pid
        publish(
            packaged(tmp_path / "new", 1, 2, 3, 4, 5), served.scene.store, model=MODEL, version=number, progress=print
        )
        served.post(1, 2, candidate=number)
        wait_until(lambda: (one := served.state().models[MODEL].candidate) and one[1].phase == "serving", within_s=60)
        before = callers.answers()
        promoted = time.monotonic()
        outcome = served.promote(number)
        done = time.monotonic()
        after: list[int] = []

        def answered() -> bool:
            after.extend(version for begun, version in callers.answers() if begun > done)
            return len(after) >= 20

        wait_until(answered, within_s=20)
    assert callers.failures == []
    assert {version for _, version in before} == {2}
    assert set(after) == {number}
    assert promoted + outcome.switched_s <= done
    assert served.server.pid == pid


@pytest.mark.timing
def test_a_rollback_to_what_is_served_takes_a_second_at_most(served: Served) -> None:
    """In the median of seven, from the order until callers who name no version get the older one."""
    took = []
    with served.called() as callers:
        for _ in range(7):
            served.promote(3)
            took.append(served.rollback(to=2).seconds)
    assert callers.failures == []
    assert statistics.median(took) <= 1.0, took


def write(folder: Path, *, name: str, content: bytes) -> None:
    """Write a file of a version."""
    (folder / name).write_bytes(content)


def other_numbers(folder: Path) -> None:
    """Let a version promise other scores than it gives."""
    with np.load(folder / "golden.npz") as golden:
        arrays = dict(golden)
    arrays["output"] = arrays["output"][:, ::-1]
    np.savez(folder / "golden.npz", **arrays)


@pytest.mark.parametrize(
    ("number", "why"),
    [(21, "its numbers are wrong"), (22, "does not load"), (23, "is damaged"), (24, "holds version 24")],
)
def test_what_is_bad_is_put_back(served: Served, number: int, why: str) -> None:
    """Wrong numbers, no model, a damaged object, a half-published version: one message, and no call fails."""
    scene = served.scene
    if number == 21:
        scene.publish_spoilt(number, other_numbers)
    elif number == 22:
        scene.publish_spoilt(number, partial(write, name="model.onnx", content=b"no model"))
    elif number == 23:
        scene.publish_spoilt(number, partial(write, name="model.onnx", content=b"another"))
        stored = scene.store.find(MODEL, number)
        assert stored is not None
        name = stored.files["model.onnx"].sha256
        (scene.root / "store" / "blobs" / name[:2] / name).write_bytes(b"damaged")
    else:
        scene.publish_spoilt(number, partial(write, name="more", content=b"more"))
        (scene.root / "store" / "models" / MODEL / str(number) / "manifest.json").unlink()
    told = pytest.raises(TaskFailure, match=rf"(?s)cannot serve version {number}.*{why}.*Everything is put back")
    with served.called() as callers, told:
        served.promote(number)
    assert callers.failures == []
    assert {version for _, version in callers.answers()} == {2}
    assert served.versions() == {1, 2}
    assert {path.name for path in scene.folders.served.iterdir()} == {MODEL}


def test_a_store_that_is_away_stops_nothing(served: Served) -> None:
    """A rollback needs no store, and a promotion is put back."""
    served.promote(3)
    store = served.scene.root / "store"
    store.rename(store.with_name("away"))
    try:
        with served.called() as callers:
            with pytest.raises(TaskFailure, match="is not there"):
                served.promote(4)
            served.rollback(to=2)
        assert callers.failures == []
        assert served.versions() == {2}
    finally:
        store.with_name("away").rename(store)


def test_a_store_that_stalls_holds_up_nothing(served: Served) -> None:
    """While a version is fetched from a store that hangs, another plan is followed at once."""
    served.scene.publish_spoilt(31, partial(write, name="more", content=b"stalls"))
    stored = served.scene.store.find(MODEL, 31)
    assert stored is not None
    name = stored.files["more"].sha256
    blob = served.scene.root / "store" / "blobs" / name[:2] / name
    blob.unlink()
    os.mkfifo(blob)
    with served.called() as callers:
        served.post(2, 31)
        wait_until(lambda: served.phase(31) == "fetching", within_s=20)
        served.rollback(to=2)
        assert served.state().problem is None
        assert served.state().models[MODEL].stable == 2
    assert callers.failures == []
    assert served.versions() == {2}
    descriptor = os.open(blob, os.O_WRONLY | os.O_NONBLOCK)
    os.close(descriptor)


def test_of_two_promotions_at_once_one_is_told(served: Served) -> None:
    """The other one is served."""
    was = served.state()
    served.promote(3)
    with pytest.raises(TaskFailure, match="Somebody else has changed the plan"):
        served.roll(was, change.promoted(was, MODEL, 4, keep=1, digest=None))
    assert served.versions() == {2, 3}
