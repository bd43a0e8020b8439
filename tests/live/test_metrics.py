"""What the chart's alerts and dashboard count on is what a server exports."""

import urllib.request
from pathlib import Path

import numpy as np
import onnx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from scripts.packaging.package import package
from scripts.sources.source import Source
from tests.chart.exported import SERVER
from tests.doubles import tiny
from tests.doubles.brittle_models import FATAL, brittle, picky
from triton_sdk import InferenceFailedError, InvalidRequestError, ResNetClient
from triton_sdk.local import LocalTriton, Runtime


def test_the_server_exports_what_the_chart_watches(served: LocalTriton) -> None:
    """Every metric in the chart's queries is on a real server's page, those of inference with model and version."""
    samples = samples_of(served)
    names = {sample.name.removesuffix("_total") for sample in samples} | {sample.name for sample in samples}
    assert names >= SERVER
    for sample in samples:
        if sample.name.startswith("nv_inference_"):
            assert {"model", "version"} <= sample.labels.keys()
    reasons = {s.labels["reason"] for s in samples if s.name.startswith("nv_inference_request_failure")}
    assert "CANCELED" in reasons


def test_what_a_model_fails_is_counted_as_failed(runtime: Runtime, tmp_path: Path) -> None:
    """The alert TritonRequestsFail and a canary rest on it; what ONNX Runtime refuses is the caller's fault."""
    for name, made in (("brittle", brittle), ("picky", picky)):
        path = tmp_path / f"{name}.onnx"
        onnx.save(made(tiny.classifier(seed=2), pixels="pixels"), path)
        package(Source.onnx(path), model=name, repository=tmp_path / "models", version=1, progress=lambda _: None)
    fatal, fine = (np.full((8, 8, 3), value, np.uint8) for value in (FATAL, FATAL + 1))
    with LocalTriton(tmp_path / "models", runtime=runtime) as triton:
        for name, error in (("brittle", InferenceFailedError), ("picky", InvalidRequestError)):
            with ResNetClient(triton.grpc_url, model=name) as client:
                client.predict(fine)
                for _ in range(3):
                    with pytest.raises(error, match="Non-zero status code"):
                        client.predict(fatal)
                client.predict(fine)
        failed = {
            (sample.labels["model"], sample.labels["reason"]): sample.value
            for sample in samples_of(triton)
            if sample.name.startswith("nv_inference_request_failure") and sample.value
        }
    assert failed == {("brittle", "BACKEND"): 3}


def samples_of(triton: LocalTriton) -> list[Sample]:
    """Return what a server tells Prometheus."""
    with urllib.request.urlopen(triton.metrics_url, timeout=20) as page:
        families = text_string_to_metric_families(page.read().decode())
        return [sample for family in families for sample in family.samples]
