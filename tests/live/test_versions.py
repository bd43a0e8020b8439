"""Splits, fallbacks and shadows against a real Triton with two versions of one model, with both clients."""

import queue
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.both_clients import KINDS, Predict, predicting
from tests.doubles.pictures import jpeg
from triton_sdk import (
    Fallback,
    ModelNotFoundError,
    ResNetClient,
    ServerUnavailableError,
    Shadow,
    ShadowReport,
    Split,
)
from triton_sdk.local import LocalTriton, Runtime

pytestmark = pytest.mark.timeout(120)

PHOTO = jpeg(300, 260, seed=1)


@pytest.fixture(params=KINDS)
def predict(request: pytest.FixtureRequest, served: LocalTriton) -> Iterator[Predict]:
    """Return `predict` of each client."""
    with predicting(request.param, served.grpc_url, model="mobilenetv2") as predict:
        yield predict


def test_a_split_is_what_the_server_answers_with(predict: Predict) -> None:
    """Each of 60 keys is answered by its version, with that version's own answer."""
    split = Split({1: 50, 2: 50})
    alone = {version: predict(PHOTO, version=version) for version in (1, 2)}
    assert alone[1].top != alone[2].top
    answers = {key: predict(PHOTO, version=split, key=f"user-{key}") for key in range(60)}
    for key, answer in answers.items():
        version = split.choose(f"user-{key}")
        assert (answer.model_version, answer.label) == (version, alone[version].label)
    assert {answer.model_version for answer in answers.values()} == {1, 2}


def test_a_split_without_keys_follows_its_weights(predict: Predict) -> None:
    """Of 150 calls at 80 to 20, version 2 gets between 6 and 54: beyond 5 standard deviations lies a bug."""
    split = Split({1: 80, 2: 20})
    second = sum(predict(PHOTO, version=split).model_version == 2 for _ in range(150))
    assert 6 <= second <= 54


def test_a_fallback_goes_past_versions_that_do_not_exist(predict: Predict) -> None:
    """Version 1 answers for 7 and 8, by itself and when the server's choice is what is left."""
    assert predict(PHOTO, version=Fallback(7, 8, 1)).model_version == 1
    assert predict(PHOTO, version=Fallback(7, None)).model_version == 2
    with pytest.raises(ModelNotFoundError, match=r"ready there: 1, 2"):
        predict(PHOTO, version=Fallback(9, 10))


def test_a_shadow_compares_two_versions(predict: Predict) -> None:
    """Every answer is version 1's; each report has what both versions say when they are asked alone."""
    reports: queue.SimpleQueue[ShadowReport] = queue.SimpleQueue()
    shadow = Shadow(1, 2, 1.0, reports.put, timeout=30)
    alone = {version: predict(PHOTO, version=version) for version in (1, 2)}
    for _ in range(10):
        assert predict(PHOTO, version=shadow).label == alone[1].label
    for _ in range(10):
        report = reports.get(timeout=30)
        assert report.error is None
        assert report.candidate is not None
        assert (report.primary.model_version, report.candidate.model_version) == (1, 2)
        assert (report.primary.label, report.candidate.label) == (alone[1].label, alone[2].label)
        assert report.same_top1 is (alone[1].label == alone[2].label)
        assert report.largest_difference is not None
        assert report.largest_difference > 1e-3
        assert report.primary_latency_s > 0
        assert report.candidate_latency_s > 0


def test_a_missing_candidate_is_only_reported(predict: Predict) -> None:
    """The caller gets version 1's answer; the report has the error, which names what is there."""
    reports: queue.SimpleQueue[ShadowReport] = queue.SimpleQueue()
    assert predict(PHOTO, version=Shadow(1, 7, 1.0, reports.put, timeout=30)).model_version == 1
    error = reports.get(timeout=30).error
    assert isinstance(error, ModelNotFoundError)
    assert "ready there: 1, 2" in str(error)


def test_a_version_that_could_not_be_loaded_gives_way(packaged: Path, runtime: Runtime, tmp_path: Path) -> None:
    """Asked alone it is unavailable; a fallback answers in its place, and a shadow reports it."""
    shutil.copytree(packaged / "mobilenetv2", tmp_path / "mobilenetv2")
    args = ("--model-control-mode=explicit", "--load-model=mobilenetv2")
    reports: queue.SimpleQueue[ShadowReport] = queue.SimpleQueue()
    with LocalTriton(tmp_path, runtime=runtime, args=args) as server:
        broken = tmp_path / "mobilenetv2" / "3"
        broken.mkdir()
        (broken / "model.onnx").write_bytes(b"no model")
        load = f"{server.http_url}/v2/repository/models/mobilenetv2/load"
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(load, data=b"{}", method="POST"), timeout=60)
        refused.value.close()
        with ResNetClient(server.grpc_url, model="mobilenetv2") as client:
            with pytest.raises(ServerUnavailableError, match="not at ready state"):
                client.predict(PHOTO, version=3)
            assert client.predict(PHOTO, version=Fallback(3, 1)).model_version == 1
            assert client.predict(PHOTO, version=Shadow(1, 3, 1.0, reports.put, timeout=30)).model_version == 1
            assert isinstance(reports.get(timeout=30).error, ServerUnavailableError)
