"""Alerts, dashboard, monitors and autoscalers: their queries are PromQL, on metrics that are there, of this release."""

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest

from tests.chart.cases import LEAST, Values, merge
from tests.chart.combinations import COMBINATIONS
from tests.chart.engines import ROOT, Library
from tests.chart.exported import GPU, KNOWN

ALERTS = merge(LEAST, {"metrics": {"prometheusRule": {"enabled": True}}})
DASHBOARD = merge(LEAST, {"metrics": {"dashboard": {"enabled": True}}})
KEDA: Values = {"autoscaling": {"enabled": True, "kind": "keda", "keda": {"prometheusUrl": "http://prometheus:9090"}}}
# What Grafana fills in before it asks.
GRAFANA = {"$__rate_interval": "1m", "$model": "resnet50"}


def _rules(library: Library, values: Values = ALERTS, **where: str) -> list[dict[str, Any]]:
    (group,) = library.render(values, **where).one("PrometheusRule")["spec"]["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def _dashboard(library: Library, **where: str) -> dict[str, Any]:
    name = f"{where.get('release', 'triton-infer')}-dashboard"
    (text,) = library.render(DASHBOARD, **where).one("ConfigMap", name)["data"].values()
    dashboard: dict[str, Any] = json.loads(text)
    return dashboard


def _selectors(expression: promql_parser.Expr) -> Iterator[promql_parser.VectorSelector]:
    """Yield all selectors in an expression."""
    if isinstance(expression, promql_parser.VectorSelector):
        yield expression
    for name in ("expr", "lhs", "rhs", "vector_selector", "param", "args"):
        below = getattr(expression, name, None)
        for inner in below if isinstance(below, list) else [below]:
            if isinstance(inner, promql_parser.Expr):
                yield from _selectors(inner)


def _check(query: str) -> set[str]:
    """Parse a query and return the metrics in it; each is known and narrowed to this release's namespace."""
    for name, value in GRAFANA.items():
        query = query.replace(name, value)
    selectors = list(_selectors(promql_parser.parse(query)))
    assert selectors, query
    for selector in selectors:
        assert selector.name in KNOWN, f"{selector.name} is exported by nobody"
        matchers = {matcher.name: matcher.value for matcher in selector.matchers.matchers}
        assert matchers["namespace"] == "triton"
        assert {"pod", "deployment"} & matchers.keys(), f"{selector.name} is not narrowed to the release"
    return {str(selector.name) for selector in selectors}


def test_a_wrong_query_is_found() -> None:
    """The check itself tells unknown metrics, open selectors and what is no PromQL."""
    for query, said in (
        ('sum(nv_requests{namespace="triton",pod="x"})', "exported by nobody"),
        ('rate(nv_inference_count{namespace="triton"}[5m])', "not narrowed"),
    ):
        with pytest.raises(AssertionError, match=said):
            _check(query)
    with pytest.raises(ValueError, match="unexpected"):
        _check("sum(nv_inference_count{)")


def test_the_alerts_are_promql_on_metrics_that_are_there(library: Library) -> None:
    """Each alert has a query that parses, a severity, and words for who is woken by it."""
    rules = _rules(library)
    for rule in rules:
        _check(rule["expr"])
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert len({rule["alert"] for rule in rules}) == len(rules) == 16
    metrics = {metric for rule in rules for metric in _check(rule["expr"])}
    assert {"nv_inference_pending_request_count", "nv_inference_request_failure", *GPU} - {
        "nv_gpu_utilization"
    } <= metrics


def test_nothing_is_left_to_be_filled_in(library: Library) -> None:
    """Every place between two @ is taken, in the alerts and in the dashboard."""
    for text in (json.dumps(_rules(library)), json.dumps(_dashboard(library))):
        assert not re.findall(r"@\w+@", text)


def test_the_thresholds_are_values(library: Library) -> None:
    """The thresholds of the alerts are those that were given."""
    given = {
        **{"failureRatio": 0.25, "pendingRequests": 7, "queueMilliseconds": 333, "gpuMemoryRatio": 0.5},
        **{"cancelledRatio": 0.75, "requestMilliseconds": 444, "slowdownRatio": 5.5, "podRatio": 6},
    }
    rules = {
        rule["alert"]: rule["expr"] for rule in _rules(library, merge(ALERTS, {"metrics": {"prometheusRule": given}}))
    }
    assert rules["TritonRequestsFail"].endswith("> 0.25")
    assert rules["TritonQueueGrows"].endswith("> 7")
    assert rules["TritonQueueSlow"].endswith("> 333")
    assert rules["TritonGpuMemoryLow"].endswith("> 0.5")
    assert rules["TritonCancelled"].endswith("> 0.75")
    assert rules["TritonSlow"].endswith("> 444")
    assert rules["TritonSlowerThanBefore"].endswith("> 5.5")
    assert rules["TritonPodSlow"].endswith("> 6")


@pytest.mark.parametrize(
    ("pod", "ours"),
    [
        ("triton-infer-6c9f7d8b5d-x2x4z", True),
        ("triton-infer-next-6c9f7d8b5d-x2x4z", False),
        ("x-triton-infer-6c9f7d8b5d-x2x4z", False),
        ("triton-infer-0", False),
    ],
)
def test_the_queries_tell_releases_apart(library: Library, pod: str, ours: bool) -> None:
    """The pods of a release whose name begins alike are not counted."""
    (pattern,) = {match for rule in _rules(library) for match in re.findall(r'pod=~"([^"]+)"', rule["expr"])}
    assert bool(re.fullmatch(pattern, pod)) is ours


def test_the_dashboards_queries_are_promql(library: Library) -> None:
    """Each panel's query parses, on metrics that are there, narrowed to the release."""
    dashboard = _dashboard(library)
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(queries) >= 10
    for query in queries:
        _check(query)
    models = next(v for v in dashboard["templating"]["list"] if v["name"] == "model")["query"]
    _check(re.sub(r"label_values\((.*), \w+\)", r"\1", models))


def test_each_alert_can_be_changed_or_left_out(library: Library) -> None:
    """What the values say of an alert counts for it, and for no other."""
    own = {"TritonQueueGrows": {"enabled": False}, "TritonSlow": {"severity": "page", "for": "1h"}}
    given: Values = {"metrics": {"prometheusRule": {"alerts": own, "runbook": "https://wiki/x"}}}
    before = {rule["alert"]: rule for rule in _rules(library)}
    after = {rule["alert"]: rule for rule in _rules(library, merge(ALERTS, given))}
    assert before.keys() - after.keys() == {"TritonQueueGrows"}
    assert (after["TritonSlow"]["labels"], after["TritonSlow"]["for"]) == ({"severity": "page"}, "1h")
    assert after["TritonSlow"]["annotations"]["runbook_url"] == "https://wiki/x#tritonslow"
    assert {name: rule["for"] for name, rule in after.items() if name != "TritonSlow"} == {
        name: rule["for"] for name, rule in before.items() if name in after and name != "TritonSlow"
    }


def test_the_runbook_has_a_section_for_each_alert(library: Library) -> None:
    """Each alert's link leads to a heading of docs/runbook.md, which says what it means and what to do."""
    text = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    named = {section.splitlines()[0]: section for section in sections if section.startswith("Triton")}
    assert named.keys() == {rule["alert"] for rule in _rules(library)}
    for rule in _rules(library):
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"
        assert "**It means**" in named[rule["alert"]]
        assert "**Do**" in named[rule["alert"]]


def test_two_releases_have_two_dashboards(library: Library) -> None:
    """Grafana tells dashboards apart by uid and file name: each release has its own, of at most 40 characters."""
    one, other = _dashboard(library), _dashboard(library, release="triton-next")
    assert one["uid"] != other["uid"]
    assert len(one["uid"]) <= 40
    assert one["title"] == "Triton: triton-infer in triton"
    here, there = (
        library.render(DASHBOARD, namespace=n).one("ConfigMap", "triton-infer-dashboard")["data"].keys()
        for n in ("a", "b")
    )
    assert here != there


def test_panels_do_not_overlap(library: Library) -> None:
    """Every panel has a place of its own on the grid of 24 columns."""
    taken: set[tuple[int, int]] = set()
    for panel in _dashboard(library)["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_the_monitors_read_the_metrics_port(library: Library) -> None:
    """Either monitor selects by the release's labels, takes the operator's labels and the interval."""
    values: Values = {"metrics": {"labels": {"release": "prometheus"}, "interval": "5s"}}
    for kind, key, agents in (
        ("serviceMonitor", "endpoints", "agent-metrics"),
        ("podMonitor", "podMetricsEndpoints", "agent"),
    ):
        rendered = library.render(merge(LEAST, values, {"metrics": {kind: {"enabled": True}}}))
        monitor = rendered.one(kind[0].upper() + kind[1:])
        assert monitor["metadata"]["labels"]["release"] == "prometheus"
        assert monitor["spec"][key] == [{"port": port, "interval": "5s"} for port in ("metrics", agents)]
        selector = monitor["spec"]["selector"]["matchLabels"]
        assert selector == rendered.one("Deployment")["spec"]["selector"]["matchLabels"]
    offering = [
        s["metadata"]["name"] for s in rendered.all("Service") if "metrics" in {p["name"] for p in s["spec"]["ports"]}
    ]
    assert offering == ["triton-infer-metrics"]


def test_the_autoscaler_goes_by_the_queue(library: Library) -> None:
    """The HPA scales the Deployment by the queue's length for each pod, down slowly; the Deployment sets no number."""
    values = {
        "autoscaling": {"enabled": True, "minReplicas": 2, "maxReplicas": 6, "target": "3", "scaleDownSeconds": 120}
    }
    rendered = library.render(merge(LEAST, values))
    spec = rendered.one("HorizontalPodAutoscaler")["spec"]
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "triton-infer"}
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 6)
    (metric,) = spec["metrics"]
    target = {"type": "AverageValue", "averageValue": "3"}
    assert metric == {
        "type": "Pods",
        "pods": {"metric": {"name": "nv_inference_pending_request_count"}, "target": target},
    }
    assert spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 120
    assert "replicas" not in rendered.one("Deployment")["spec"]


def test_keda_asks_prometheus_for_this_release(library: Library) -> None:
    """KEDA's query parses, is narrowed to the release, and stands instead of an HPA of ours."""
    rendered = library.render(merge(LEAST, KEDA))
    spec = rendered.one("ScaledObject")["spec"]
    assert spec["scaleTargetRef"] == {"name": "triton-infer"}
    (trigger,) = spec["triggers"]
    assert trigger["metadata"]["serverAddress"] == "http://prometheus:9090"
    assert trigger["metadata"]["threshold"] == "8"
    assert _check(trigger["metadata"]["query"]) == {"nv_inference_pending_request_count"}
    assert not rendered.all("HorizontalPodAutoscaler")
    assert "replicas" not in rendered.one("Deployment")["spec"]


def test_keda_logs_in_and_falls_back_as_it_is_told(library: Library) -> None:
    """Authentication, fallback and the way down to no pods reach the ScaledObject."""
    more: Values = {
        "minReplicas": 0,
        "keda": {
            "authModes": "bearer",
            "authenticationRef": {"name": "thanos", "kind": "ClusterTriggerAuthentication"},
            "fallback": {"failureThreshold": 3, "replicas": 2},
            "triggers": [{"type": "cron", "metadata": {"start": "0 6 * * *"}}],
        },
    }
    spec = library.render(merge(LEAST, KEDA, {"autoscaling": more})).one("ScaledObject")["spec"]
    assert spec["minReplicaCount"] == 0
    assert spec["fallback"] == {"failureThreshold": 3, "replicas": 2}
    prometheus, cron = spec["triggers"]
    assert prometheus["authenticationRef"] == {"name": "thanos", "kind": "ClusterTriggerAuthentication"}
    assert prometheus["metadata"]["authModes"] == "bearer"
    assert cron["type"] == "cron"


def test_monitors_elsewhere_still_find_the_pods(library: Library) -> None:
    """A monitor in another namespace is told where the pods are, how to read them, and what to call them."""
    values = COMBINATIONS["monitors elsewhere"]
    monitor = library.render(merge(LEAST, values)).one("ServiceMonitor")
    assert monitor["metadata"]["namespace"] == "monitoring"
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["triton"]}
    for endpoint in monitor["spec"]["endpoints"]:
        assert endpoint["scrapeTimeout"] == "5s"
        assert endpoint["relabelings"] == values["metrics"]["relabelings"]
        assert endpoint["metricRelabelings"] == values["metrics"]["metricRelabelings"]
