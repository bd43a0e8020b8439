"""The alerts fire when they should and only then, by `promtool test rules` on series as a real server exports them.

scrape.txt is what a Triton 24.10 answered on its metrics port; the labels that Prometheus adds are a ServiceMonitor's.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs
import pytest

from tests.chart.cases import LEAST, Values, merge
from tests.chart.conftest import lack
from tests.chart.engines import Library
from tests.image.ground import Missing

SCRAPE = Path(__file__).parent / "scrape.txt"
# Minutes: when something goes wrong, when it is looked at, and how long the series are.
WRONG, LOOK, END = 100, 120, 130
PODS = ("triton-infer-6c9f7d8b5d-aaaaa", "triton-infer-6c9f7d8b5d-bbbbb")
A_SECOND_OF_US = 60_000_000
# What a healthy pod counts in a minute: 60 requests of 20 ms, 1 ms of it in the queue.
PACE = {
    "nv_inference_request_success": 60,
    "nv_inference_request_duration_us": 1_200_000,
    "nv_inference_queue_duration_us": 60_000,
}


def rises(before: float, after: float, *, at: int = WRONG) -> str:
    """Return a counter that rises by so much a minute, and from a minute on by so much."""
    return f"0+{before}x{at - 1} {before * (at - 1)}+{after}x{END - at}"


def is_(before: float, after: float, *, at: int = WRONG) -> str:
    """Return a gauge that changes at a minute."""
    return f"{before}x{at - 1} {after}x{END - at}"


def ends(step: float) -> str:
    """Return a counter whose series goes away."""
    return f"0+{step}x{WRONG - 1} stale"


@attrs.frozen(kw_only=True)
class Case:
    """What happens, and who is alerted.

    Attributes:
        fires: The alerts that fire at LOOK.
        series: The values of series, by the beginning of what they are called: ``POD METRIC REASON``, ``METRIC REASON``
            or the name of a metric of Kubernetes'; the first that fits counts.
        pods: The pods that there are.
        values: More values of the chart.
    """

    fires: set[str]
    series: Mapping[str, str] = attrs.field(factory=dict)
    pods: tuple[str, ...] = PODS
    values: Values = attrs.field(factory=dict)


def _slower(times: float, pod: str = "") -> dict[str, str]:
    return {f"{pod}nv_inference_request_duration_us": rises(1_200_000, 1_200_000 * times)}


def down(at: int = WRONG) -> dict[str, str]:
    """Return what is seen when no pod is there from a minute on."""
    return {"kube_deployment_status_replicas_available": is_(1, 0, at=at), "nv_": f"0x{at - 1} stale"}


# What is alerted when nothing runs and nobody meant it.
OUTAGE = {"TritonNoReplicaReady", "TritonMetricsMissing", "TritonReplicasMissing"}
CASES: dict[str, Case] = {
    "all is well": Case(fires=set()),
    "nobody calls": Case(fires=set(), series={"nv_inference": f"0x{END}"}),
    "every call is cancelled": Case(
        fires={"TritonCancelled"},
        series={
            "nv_inference_request_failure CANCELED": rises(0, 60),
            **{name: rises(step, 0) for name, step in PACE.items()},
        },
    ),
    "one call in ten is cancelled": Case(fires=set(), series={"nv_inference_request_failure CANCELED": rises(0, 6)}),
    "a model hangs with 40 waiting": Case(
        fires={"TritonHangs"},
        series={
            f"{PODS[0]} nv_inference_pending_request_count": is_(0, 40),
            **{f"{PODS[0]} {name}": rises(step, 0) for name, step in PACE.items()},
        },
    ),
    "40 wait and are answered": Case(fires=set(), series={"nv_inference_pending_request_count": is_(0, 40)}),
    "80 wait and are answered": Case(
        fires={"TritonQueueGrows"}, series={f"{PODS[0]} nv_inference_pending_request_count": is_(0, 80)}
    ),
    "compute gets ten times slower": Case(fires={"TritonSlowerThanBefore"}, series=_slower(10)),
    "compute gets twice as slow": Case(fires=set(), series=_slower(2)),
    "answers take two seconds, as ever": Case(
        fires={"TritonSlow"},
        series={"nv_inference_request_duration_us": f"0+{2 * A_SECOND_OF_US}x{END}"},
    ),
    "one pod is four times as slow": Case(fires={"TritonPodSlow"}, series=_slower(4, f"{PODS[0]} ")),
    "the only pod is slow": Case(fires={"TritonSlowerThanBefore"}, series=_slower(4), pods=PODS[:1]),
    "the queue is slow": Case(
        fires={"TritonQueueSlow"},
        series={"nv_inference_queue_duration_us": rises(60_000, 60 * 200_000)},
    ),
    "a version is gone from a pod": Case(
        fires={"TritonVersionGone", "TritonPlanNotServed"},
        series={f"{PODS[0]} nv_inference": ends(60), "triton_agent_settled": is_(1, 0)},
    ),
    "a version is gone from a pod without an agent": Case(
        fires={"TritonVersionGone"}, series={f"{PODS[0]} nv_inference": ends(60), "triton_agent": f"_x{END}"}
    ),
    "a version is dropped as planned": Case(fires=set(), series={f"{PODS[0]} nv_inference": ends(60)}),
    "the version of the only pod is gone": Case(
        fires={"TritonVersionGone", "TritonMetricsMissing", "TritonPlanNotServed"},
        series={"nv_inference": ends(60), "triton_agent_settled": is_(1, 0)},
        pods=PODS[:1],
    ),
    "a plan is not served on a pod": Case(
        fires={"TritonPlanNotServed"}, series={f"{PODS[0]} triton_agent_settled": is_(1, 0)}
    ),
    "a promotion takes ten minutes": Case(fires=set(), series={"triton_agent_settled": is_(1, 0, at=LOOK - 10)}),
    "loads have failed": Case(
        fires={"TritonRestartNeeded"}, series={f"{PODS[0]} triton_agent_restart_needed": is_(0, 1)}
    ),
    "a pod is gone": Case(fires=set(), series={f"{PODS[0]} nv_": f"0x{WRONG - 1} stale"}),
    "one request in twenty fails": Case(
        fires={"TritonRequestsFail"}, series={"nv_inference_request_failure BACKEND": rises(0, 3)}
    ),
    "the memory of a GPU is full": Case(fires={"TritonGpuMemoryLow"}, series={"nv_gpu_memory_used_bytes": is_(50, 99)}),
    "a container keeps restarting": Case(
        fires={"TritonRestarting"}, series={"kube_pod_container_status_restarts_total": rises(0, 1)}
    ),
    "scaled to zero on purpose": Case(fires=set(), series=down() | {"kube_deployment_spec_replicas": is_(1, 0)}),
    "an upgrade that was just asked for": Case(
        fires=set(), series=down(LOOK - 8) | {"kube_deployment_metadata_generation": is_(1, 2, at=LOOK - 8)}
    ),
    "an upgrade that does not come up": Case(
        fires=OUTAGE, series=down() | {"kube_deployment_metadata_generation": is_(1, 2)}
    ),
    "everything is gone, and nobody meant it": Case(fires=OUTAGE, series=down()),
    "half of the pods are missing": Case(
        fires={"TritonReplicasMissing"},
        series={
            "kube_deployment_status_replicas_available": is_(2, 1),
            "kube_deployment_spec_replicas": f"2x{END}",
            f"{PODS[0]} nv_": f"0x{WRONG - 1} stale",
        },
    ),
    "an alert that is turned off": Case(
        fires=set(),
        series=_slower(10),
        values={"metrics": {"prometheusRule": {"alerts": {"TritonSlowerThanBefore": {"enabled": False}}}}},
    ),
}


def _scraped() -> Iterator[tuple[str, dict[str, str]]]:
    """Yield name and labels of each series of a server, those of a GPU included."""
    for line in SCRAPE.read_text(encoding="utf-8").splitlines():
        found = re.fullmatch(r"(\w+)(?:\{(.*)\})? \S+", line)
        assert found, line
        yield found[1], dict(re.findall(r'(\w+)="([^"]*)"', found[2] or ""))
    # There was no GPU: Triton's documentation, "Metrics", table "GPU Metrics".
    for name in ("nv_gpu_memory_used_bytes", "nv_gpu_memory_total_bytes"):
        yield name, {"gpu_uuid": "GPU-1"}


def _series(case: Case) -> Iterator[dict[str, str]]:
    usual = {name: f"0+{step}x{END}" for name, step in PACE.items()} | {
        "nv_gpu_memory_used_bytes": f"50x{END}",
        "nv_gpu_memory_total_bytes": f"100x{END}",
        "triton_agent_settled": f"1x{END}",
        "kube_deployment_status_replicas_available": f"1x{END}",
        "kube_deployment_spec_replicas": f"1x{END}",
        "kube_deployment_metadata_generation": f"1x{END}",
    }

    def values(pod: str, name: str, labels: Mapping[str, str]) -> str:
        short = f"{name} {labels.get('reason', '')}".strip()
        for start, given in case.series.items():
            if f"{pod} {short}".startswith(start) or short.startswith(start):
                return given
        return usual.get(name, f"0x{END}")

    for pod in case.pods:
        added = {"namespace": "triton", "pod": pod, "container": "triton", "endpoint": "metrics"}
        added |= {"service": "triton-infer-metrics", "job": "triton-infer-metrics", "instance": f"{pod}:8002"}
        for name, labels in _scraped():
            yield {"series": _written(name, labels | added), "values": values(pod, name, labels)}
        # What was on trial came and went, and is nothing to alert anybody about.
        trial = added | {"model": "m.trial", "version": "3"}
        yield {"series": _written("nv_inference_request_success", trial), "values": ends(1)}
        for name in ("triton_agent_settled", "triton_agent_restart_needed"):
            agents = added | {"container": "agent", "endpoint": "agent-metrics", "instance": f"{pod}:8003"}
            yield {"series": _written(name, agents), "values": values(pod, name, {})}
        restarts = {"namespace": "triton", "pod": pod, "container": "triton", "job": "kube-state-metrics"}
        name = "kube_pod_container_status_restarts_total"
        yield {"series": _written(name, restarts), "values": values(pod, name, {})}
    for name in usual:
        if name.startswith("kube_"):
            labels = {"namespace": "triton", "deployment": "triton-infer", "job": "kube-state-metrics"}
            yield {"series": _written(name, labels), "values": values("", name, {})}


def _written(name: str, labels: Mapping[str, str]) -> str:
    return f"{name}{{{','.join(f'{key}={json.dumps(value)}' for key, value in labels.items())}}}"


@pytest.fixture(scope="module")
def promtool() -> str:
    """Give the program that tries Prometheus' rules."""
    found = os.environ.get("PROMTOOL") or shutil.which("promtool")
    if not found:
        lack(Missing("no promtool on PATH or in PROMTOOL; Debian has it in the package prometheus"))
    return found


def _run(promtool: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([promtool, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("name", CASES)
def test_who_should_be_alerted_is(library: Library, promtool: str, tmp_path: Path, name: str) -> None:
    """In each case exactly the alerts fire that are listed for it."""
    case = CASES[name]
    values = merge(LEAST, {"metrics": {"prometheusRule": {"enabled": True}}}, case.values)
    rules = library.render(values).one("PrometheusRule")["spec"]
    (tmp_path / "rules.yaml").write_text(json.dumps(rules), encoding="utf-8")
    firing = {
        "expr": 'group by (alertname) (ALERTS{alertstate="firing"})',
        "eval_time": f"{LOOK}m",
        "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(case.fires)],
    }
    test = {"interval": "1m", "input_series": list(_series(case)), "promql_expr_test": [firing]}
    text = json.dumps({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]})
    (tmp_path / "tests.yaml").write_text(text, encoding="utf-8")
    done = _run(promtool, tmp_path, "test", "rules", "tests.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_fires_in_some_case(library: Library) -> None:
    """No alert is left untried."""
    values = merge(LEAST, {"metrics": {"prometheusRule": {"enabled": True}}})
    (group,) = library.render(values).one("PrometheusRule")["spec"]["groups"]
    assert {rule["alert"] for rule in group["rules"]} == set().union(*(case.fires for case in CASES.values()))


def test_the_rules_are_what_prometheus_takes(library: Library, promtool: str, tmp_path: Path) -> None:
    """`promtool check rules` finds nothing."""
    values = merge(LEAST, {"metrics": {"prometheusRule": {"enabled": True}}})
    rules = library.render(values).one("PrometheusRule")["spec"]
    (tmp_path / "rules.yaml").write_text(json.dumps(rules), encoding="utf-8")
    done = _run(promtool, tmp_path, "check", "rules", "rules.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
