"""Splits, fallbacks and shadows over real gRPC, with both clients."""

import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.both_clients import KINDS, Predict, predicting
from tests.doubles.fake_triton import FakeTriton, Refused, image
from tests.wire.server import Served, serve
from triton_sdk import (
    Fallback,
    InferenceFailedError,
    ModelNotFoundError,
    ResNetClient,
    ServerUnavailableError,
    Shadow,
    ShadowReport,
    Split,
)


@pytest.fixture
def served() -> Iterator[Served]:
    """Serve a classifier in two versions."""
    with serve(FakeTriton()) as served:
        yield served


@pytest.fixture(params=KINDS)
def predict(request: pytest.FixtureRequest, served: Served) -> Iterator[Predict]:
    """Return `predict` of each client, to which both versions are known."""
    with predicting(request.param, served.url, model="clf") as predict:
        for version in (1, 2):
            predict(image(0), version=version)
        served.triton.asked.clear()
        yield predict


class Held:
    """Holds every inference with one version on the server until it is let go."""

    def __init__(self, served: Served, version: int) -> None:
        self._version, self._open = str(version), threading.Event()
        self.arrived = threading.Semaphore(0)
        served.triton.twist = self._twist

    def __enter__(self) -> "Held":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.set()

    def _twist(self, method: str, message: Any) -> None:
        if method == "ModelInfer" and message.model_version == self._version:
            self.arrived.release()
            assert self._open.wait(30)


def test_a_key_gets_its_version(predict: Predict, served: Served) -> None:
    """The server is asked for the version that `choose` names, and the prediction has it."""
    split = Split({1: 50, 2: 50})
    chosen = [split.choose(key) for key in range(30)]
    assert [predict(image(1), version=split, key=key).model_version for key in range(30)] == chosen
    assert [version for version, _ in served.triton.batches()] == [str(version) for version in chosen]
    assert set(chosen) == {1, 2}


def test_without_a_key_both_versions_get_calls(predict: Predict) -> None:
    """Of 200 calls to two equal versions, each gets between 50 and 150: beyond 7 standard deviations lies a bug."""
    answers = [predict(image(1), version=Split({1: 1, 2: 1})).model_version for _ in range(200)]
    assert 50 < answers.count(1) < 150


@pytest.mark.parametrize(
    ("code", "details"),
    [
        ("NOT_FOUND", "Request for unknown model: 'clf' version 2 is not found"),
        ("UNAVAILABLE", "Request for unknown model: 'clf' version 2 is not at ready state"),
        ("INTERNAL", "ValueError: boom"),
    ],
)
def test_a_version_that_cannot_answer_gives_way(predict: Predict, served: Served, code: str, details: str) -> None:
    """Missing, not ready or broken: version 1 answers."""

    def twist(method: str, message: Any) -> None:
        if method == "ModelInfer" and message.model_version == "2":
            raise Refused(code, details)

    served.triton.twist = twist
    assert predict(image(1), version=Fallback(2, 1)).model_version == 1


def test_all_errors_are_told(predict: Predict) -> None:
    """The last one is raised, and its note has the one before."""
    with pytest.raises(ModelNotFoundError, match="8") as caught:
        predict(image(1), version=Fallback(7, 8))
    assert any("Version 7 was asked before" in note for note in caught.value.__notes__)


def test_a_held_candidate_holds_nobody(predict: Predict, served: Served) -> None:
    """Ten calls end while the candidate answers none; then all ten are compared."""
    reports: queue.SimpleQueue[ShadowReport] = queue.SimpleQueue()
    shadow = Shadow(1, 2, 1.0, reports.put, timeout=30)
    with Held(served, 2) as held:
        predictions = [predict(image(value), version=shadow, timeout=30) for value in range(10)]
        assert held.arrived.acquire(timeout=30)
        assert reports.empty()
    found = [reports.get(timeout=30) for _ in range(10)]
    assert {report.primary for report in found} == set(predictions)
    assert {prediction.model_version for prediction in predictions} == {1}
    for report in found:
        assert report.error is None
        assert report.candidate is not None
        assert report.candidate.model_version == 2
        assert report.candidate.index == (report.primary.index + 1) % 5
        assert report.largest_difference == pytest.approx(0.5)


def test_a_broken_candidate_is_only_reported(predict: Predict, served: Served) -> None:
    """The calls are answered; each report has the error."""
    reports: queue.SimpleQueue[ShadowReport] = queue.SimpleQueue()

    def twist(method: str, message: Any) -> None:
        if method == "ModelInfer" and message.model_version == "2":
            raise Refused("INTERNAL", "ValueError: boom")

    served.triton.twist = twist
    for _ in range(5):
        assert predict(image(1), version=Shadow(1, 2, 1.0, reports.put)).model_version == 1
    assert [type(reports.get(timeout=30).error) for _ in range(5)] == [InferenceFailedError] * 5


def test_a_report_function_that_blocks_holds_nobody(predict: Predict) -> None:
    """It has threads of its own: calls are decoded and answered while it does not return."""
    begun, go_on = threading.Semaphore(0), threading.Event()

    def report(_report: ShadowReport) -> None:
        begun.release()
        assert go_on.wait(30)

    try:
        predict(image(1), version=Shadow(1, 2, 1.0, report))
        assert begun.acquire(timeout=30)
        for _ in range(20):
            assert predict(image(1), version=Shadow(1, 2, 1.0, report), timeout=30).model_version == 1
    finally:
        go_on.set()


def test_what_is_too_much_is_dropped(served: Served) -> None:
    """While the candidate answers nothing, 32 of 40 calls are kept for it; the others go without."""
    reports: queue.SimpleQueue[ShadowReport] = queue.SimpleQueue()
    shadow = Shadow(1, 2, 1.0, reports.put, timeout=30)
    with ResNetClient(served.url, model="clf") as client:
        for version in (1, 2):
            client.predict(image(0), version=version)
        with Held(served, 2):
            for _ in range(40):
                client.predict(image(1), version=shadow, timeout=30)
        for _ in range(32):
            assert reports.get(timeout=30).error is None
        with pytest.raises(queue.Empty):
            reports.get(timeout=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_closing_does_not_wait_for_the_candidate(kind: str, served: Served) -> None:
    """A client is closed while the candidate holds its request, and says nothing about it."""
    reports: queue.SimpleQueue[ShadowReport] = queue.SimpleQueue()
    with Held(served, 2) as held:
        with predicting(kind, served.url, model="clf") as predict:
            predict(image(0), version=1)
            predict(image(1), version=Shadow(1, 2, 1.0, reports.put, timeout=30))
            assert held.arrived.acquire(timeout=30)
        assert reports.empty()


def test_a_fallback_does_not_hide_a_lost_server(served: Served) -> None:
    """Where nothing answers, the error is the usual one."""
    with ResNetClient(served.url, model="clf") as client:
        client.predict(image(1))
        served.server.stop(0).wait()
        with pytest.raises(ServerUnavailableError):
            client.predict(image(1), version=Fallback(2, 1))
