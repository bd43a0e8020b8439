"""What the chart's alerts and dashboard count on is what a server exports."""

import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from tests.chart.exported import SERVER
from triton_sdk.local import LocalTriton


def test_the_server_exports_what_the_chart_watches(served: LocalTriton) -> None:
    """Every metric in the chart's queries is on a real server's page, those of inference with model and version."""
    with urllib.request.urlopen(served.metrics_url, timeout=20) as page:
        families = list(text_string_to_metric_families(page.read().decode()))
    samples = [sample for family in families for sample in family.samples]
    names = {sample.name.removesuffix("_total") for sample in samples} | {sample.name for sample in samples}
    assert names >= SERVER
    for sample in samples:
        if sample.name.startswith("nv_inference_"):
            assert {"model", "version"} <= sample.labels.keys()
    reasons = {s.labels["reason"] for s in samples if s.name.startswith("nv_inference_request_failure")}
    assert "CANCELED" in reasons
