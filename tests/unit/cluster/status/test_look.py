"""What `invoke status` finds out, and how it is shown."""

import json
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from scripts.agent.plan import Plan
from scripts.cluster.follows import Follows
from scripts.cluster.release.record import READY
from scripts.cluster.status import tables
from scripts.cluster.status.autoscaler import Autoscaler
from scripts.cluster.status.look import Server, Status, gpu_model, look
from scripts.cluster.status.served import Served, served
from scripts.cluster.status.warmup import WarmUp
from scripts.host.errors import TaskFailure
from scripts.server.endpoint import Counters
from tests.doubles.cluster import DEPLOYED, SELECTED, TARGET, Cluster, items, pod

NOW = datetime(2026, 1, 1, 1, tzinfo=UTC)
GET = "kubectl --namespace=triton get"
CONTAINER = {
    "name": "triton",
    "image": f"r/x@sha256:{'1' * 64}",
    "readinessProbe": {"httpGet": {"path": "/v2/models/flowers/ready"}},
    "livenessProbe": {"httpGet": {"path": "/v2/health/live"}},
}
DEPLOYMENT: dict[str, Any] = {
    "metadata": {"name": "classifier"},
    "spec": {
        "replicas": 2,
        "template": {"spec": {"containers": [CONTAINER]}},
    },
}
SCALER = {
    "metadata": {"name": "keda-hpa"},
    "spec": {
        "scaleTargetRef": {"name": "classifier"},
        "minReplicas": 1,
        "maxReplicas": 4,
        "metrics": [
            {"type": "Pods", "pods": {"metric": {"name": "pending"}, "target": {"averageValue": "8"}}},
            {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}},
        ],
    },
    "status": {
        "currentReplicas": 2,
        "desiredReplicas": 3,
        "currentMetrics": [
            {"type": "Pods", "pods": {"metric": {"name": "pending"}, "current": {"averageValue": "11"}}}
        ],
        "conditions": [
            {"type": "AbleToScale", "status": "True"},
            {"type": "ScalingActive", "status": "False", "reason": "FailedGetPodsMetric", "message": "no metrics API"},
            {"type": "ScalingLimited", "status": "False", "reason": "DesiredWithinRange"},
        ],
    },
}
NOTHING = {f"{GET} deployments --selector={TARGET.selector}": items()}
PAGE = """\
# TYPE nv_inference_request_success counter
nv_inference_request_success{model="m",version="2"} 4
# TYPE nv_inference_request_failure counter
nv_inference_request_failure{model="m",version="2",reason="OTHER"} 1
nv_inference_request_failure{model="m",version="2",reason="BACKEND"} 2
# TYPE nv_inference_queue_duration_us counter
nv_inference_queue_duration_us{model="m",version="2"} 6000
# TYPE nv_inference_count counter
nv_inference_count{model="m",version="2"} 30
# TYPE nv_inference_exec_count counter
nv_inference_exec_count{model="m",version="2"} 4
# TYPE nv_inference_request_summary_us summary
nv_inference_request_summary_us_count{model="m",version="2"} 4
nv_inference_request_summary_us_sum{model="m",version="2"} 9000
nv_inference_request_summary_us{model="m",version="2",quantile="0.5"} 2000
nv_inference_request_summary_us{model="m",version="2",quantile="0.9"} 3000
nv_inference_request_summary_us{model="m",version="2",quantile="0.95"} 3217.5
nv_inference_request_summary_us{model="m",version="2",quantile="0.99"} 123456
nv_inference_request_summary_us{model="m",version="1",quantile="0.5"} Nan
nv_inference_request_summary_us{model="m",version="1",quantile="0.99"} Nan
# TYPE nv_inference_pending_request_count gauge
nv_inference_pending_request_count{model="m",version="2"} 7
"""


def deployed(*pods: dict[str, Any], **more: tuple[int, str]) -> Cluster:
    """Return a cluster with the release and these pods."""
    answers = {
        "helm history triton-infer": (0, json.dumps(DEPLOYED)),
        f"{GET} deployments --selector={TARGET.selector}": items(DEPLOYMENT),
        SELECTED: items(*pods),
        f"{GET} secret": (1, "Error from server (NotFound): secrets not found"),
        f"{GET} horizontalpodautoscalers": items(),
        f"{GET} events": items(),
        f"{GET} replicasets": items(),
    }
    return Cluster({**answers, **{f"{GET} {name}": answer for name, answer in more.items()}})


def unreachable(*_: object, **__: object) -> AbstractContextManager[Any]:
    """Fail to forward ports."""
    raise TaskFailure("no way\n  there")


def ask(cluster: Cluster) -> Status:
    """Look at a cluster in which no port can be forwarded."""
    return look(cluster.kubectl, cluster.helm, TARGET, progress=list[str]().append, forward=unreachable)


def row(rows: list[tuple[str, ...]], name: str) -> str:
    """Return the value of a row."""
    return next(found[1] for found in rows if found[0] == name)


def test_not_deployed_is_one_message() -> None:
    """With the next command."""
    nothing = Cluster({**NOTHING, "helm history": (1, "Error: release: not found")})
    with pytest.raises(TaskFailure, match=r"no release triton-infer in the namespace triton.*invoke deploy-triton"):
        ask(nothing)


def test_an_uninstalled_release_is_not_deployed() -> None:
    """Helm can keep the history of what it removed."""
    gone = Cluster({**NOTHING, "helm history": (0, json.dumps([{**DEPLOYED[0], "status": "uninstalled"}]))})
    with pytest.raises(TaskFailure, match="no release triton-infer"):
        ask(gone)


def test_what_helm_did_not_install_is_shown_too() -> None:
    """Argo CD applies what Helm renders, and keeps no release."""
    labelled = {**DEPLOYMENT, "metadata": {"name": "classifier", "labels": {"helm.sh/chart": "triton-0.3.0"}}}
    cluster = deployed(pod("a"), **{f"deployments --selector={TARGET.selector}": items(labelled)})
    found = ask(Cluster({**cluster.answers, "helm history triton-infer": (1, "Error: release: not found")}))
    rows = tables.release_rows(found)
    assert row(rows, "release") == "triton-infer, which Helm did not install, but Argo CD, kubectl apply or the like"
    assert row(rows, "chart") == "triton-0.3.0"
    assert row(rows, "pods") == "1 of 2 ready"
    assert json.loads(tables.as_json(found))["revisions"] == []


def test_a_deployment_is_shown() -> None:
    """Release, chart, image and pods, with what is wrong with each."""
    warning = {"type": "Warning", "involvedObject": {"name": "b"}, "reason": "Unhealthy", "message": "statuscode: 400"}
    found = ask(deployed(pod("a"), pod("b", ready=False), events=items(warning)))
    rows = tables.release_rows(found)
    assert row(rows, "release") == "triton-infer, revision 3, deployed 2026-01-02 03:04:05 UTC"
    assert row(rows, "probes") == "readiness /v2/models/flowers/ready; liveness /v2/health/live"
    assert row(rows, "chart") == "triton-0.1.0"
    assert row(rows, "pods") == "1 of 2 ready"
    first, second = tables.pod_rows(found, now=NOW)
    assert first == ("a", "ok", "0", "60m", "n", "none", "111111111111", "")
    assert second[1] == "warning"
    assert second[-1] == "running, the readiness probe has not succeeded yet; Unhealthy: statuscode: 400"


def test_servers_are_found_by_labels_and_container() -> None:
    """Whatever the values call them, several of an umbrella too; pods of another chart are not ours."""
    other = {"name": "prometheus", "image": "r/p:1"}
    strange = {"metadata": {"name": "metrics"}, "spec": {"template": {"spec": {"containers": [other]}}}}
    second = {**DEPLOYMENT, "metadata": {"name": "b"}}
    stranger = pod("c")
    stranger["spec"]["containers"][0]["name"] = "prometheus"
    deployments = {f"deployments --selector={TARGET.selector}": items(strange, second, DEPLOYMENT)}
    found = ask(deployed(pod("a"), pod("b"), stranger, **deployments))
    assert [each.name for each in found.pods] == ["a", "b"]
    rows = tables.release_rows(found)
    assert row(rows, "pods") == "2 of 4 ready"
    assert row(rows, "image") == CONTAINER["image"]


def test_a_server_that_cannot_be_asked_hides_no_other() -> None:
    """Its row says why, on one line; a pod whose container does not run is not even asked."""
    going = pod("c")
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    found = ask(deployed(pod("a"), pod("b", ready=False, containerStatuses=[]), going))
    assert [(server.pod, server.trouble) for server in found.servers] == [
        ("a", "no way there"), ("b", "its container does not run"), ("c", "leaving"),
    ]  # fmt: skip
    assert [cells[3] for cells in tables.model_rows(found)] == ["warning"] * 3


def test_what_may_not_be_seen_is_left_out() -> None:
    """Nodes, events and autoscalers are often closed to those who deploy: the rest is shown."""
    closed = (1, "Error from server (Forbidden): nodes is forbidden")
    found = ask(
        deployed(
            pod("a", gpus=1, ready=False), nodes=closed, node=closed, events=closed, horizontalpodautoscalers=closed
        )
    )
    assert found.autoscaler is None
    assert tables.pod_rows(found, now=NOW)[0][5] == "1 x"


def test_gpus_are_named_by_the_nodes_labels() -> None:
    """One node is asked for by its name, since a cluster may have thousands."""
    node = {"metadata": {"name": "n", "labels": {"nvidia.com/gpu.product": "NVIDIA-L4"}}}
    found = ask(deployed(pod("a", gpus=2), **{"node n": (0, json.dumps(node))}))
    assert tables.pod_rows(found, now=NOW)[0][5] == "2 x NVIDIA-L4"


@pytest.mark.parametrize(
    ("labels", "model"),
    [
        ({"nvidia.com/gpu.product": "L4", "node.kubernetes.io/instance-type": "g6.xlarge"}, "L4"),
        ({"node.kubernetes.io/instance-type": "g6.xlarge"}, "g6.xlarge"),
        ({}, ""),
    ],
)
def test_the_best_label_counts(labels: dict[str, str], model: str) -> None:
    """The product where it is told, the machine's type failing that."""
    assert gpu_model(labels) == model


def test_an_autoscaler_is_shown_with_what_it_goes_by() -> None:
    """KEDA's has another name, so it is found by what it scales; what keeps it from deciding is said."""
    other = {**SCALER, "spec": {**SCALER["spec"], "scaleTargetRef": {"name": "other"}}}  # type: ignore[dict-item]
    found = ask(deployed(pod("a"), horizontalpodautoscalers=items(other, SCALER)))
    assert found.autoscaler == Autoscaler(
        name="keda-hpa", current=2, wanted=3, least=1, most=4, metrics=("pending 11 of 8", "cpu ? of 80%"),
        trouble="FailedGetPodsMetric: no metrics API",
    )  # fmt: skip
    shown = row(tables.release_rows(found), "autoscaler")
    assert shown == "2 now, 3 wanted, 1 to 4; pending 11 of 8; cpu ? of 80%; FailedGetPodsMetric: no metrics API"


def test_a_pod_with_another_image_than_wanted_is_noticed() -> None:
    """By digest; an image without one says nothing."""
    found = ask(deployed(pod("a")))
    for image, noticed in ((f"r/x@sha256:{'2' * 64}", True), ("r/x:tag", False)):
        shown = tables.pod_rows(attrs.evolve(found, image=image), now=NOW)[0][-1]
        assert ("another image" in shown) is noticed


def test_an_upgrade_that_failed_is_shown() -> None:
    """With Helm's reason, and the revision that was good."""
    failed = {**DEPLOYED[0], "revision": 4, "status": "failed", "description": "timed out"}
    cluster = deployed(pod("a"))
    history = {"helm history triton-infer": (0, json.dumps([*DEPLOYED, failed]))}
    shown = row(tables.release_rows(ask(Cluster({**cluster.answers, **history}))), "release")
    assert shown.startswith("triton-infer, revision 4, failed")
    assert shown.endswith("; deployed before: 3. timed out")


def test_a_versions_figures() -> None:
    """Failures of every kind are summed, the queue's time is a mean; before the first request there is none."""
    found = served(Counters(text=PAGE), "m", "2", "READY", "")
    assert attrs.asdict(found) == {
        "model": "m", "version": "2", "state": "READY", "reason": "", "requests": 4, "failures": 3,
        "reasons": {"other": 1, "backend": 2}, "queue_ms": 1.5, "pending": 7, "images": 30, "runs": 4,
        "latency_ms": {"p50": 2.0, "p95": 3.217, "p99": 123.456},
    }  # fmt: skip
    quiet = served(Counters(text=PAGE), "m", "1", "LOADING", "")
    assert (quiet.queue_ms, quiet.reasons, quiet.latency_ms) == (None, {}, {})


def test_of_several_gpus_the_slowest_counts() -> None:
    """Triton tells quantiles of each; one that has had no request says nothing."""
    figures = {"a": "4000", "b": "9000", "c": "Nan"}
    lines = [
        f'nv_inference_request_summary_us{{gpu_uuid="{gpu}",model="m",version="2",quantile="0.99"}} {value}'
        for gpu, value in figures.items()
    ]
    page = "\n".join(["# TYPE nv_inference_request_summary_us summary", *lines, ""])
    assert served(Counters(text=page), "m", "2", "READY", "").latency_ms == {"p99": 9.0}


def test_versions_are_shown_with_their_state() -> None:
    """READY in a word, anything else with its reason."""
    ready = served(Counters(text=PAGE), "m", "2", "READY", "")
    broken = Served(
        model="m", version="1", state="UNAVAILABLE", reason="unloaded",
        requests=0, failures=0, reasons={}, queue_ms=None, pending=0, images=0, runs=0, latency_ms={},
    )  # fmt: skip
    found = attrs.evolve(ask(deployed(pod("a"))), servers=(Server(pod="a", versions=(broken, ready)),))
    assert tables.model_rows(found) == [
        ("a", "m", "1", "UNAVAILABLE unloaded", "0", "0", "", "", "", "", "0", ""),
        ("a", "m", "2", "ok", "4", "2 backend, 1 other", "2", "3.22", "123", "1.50", "7", "7.5"),
    ]


def test_all_of_it_is_there_as_json() -> None:
    """For scripts, with times as text."""
    told = json.loads(tables.as_json(ask(deployed(pod("a")))))
    assert told["target"]["release"] == "triton-infer"
    assert told["pods"][0]["created"] == "2026-01-01T00:00:00+00:00"
    assert told["servers"][0]["trouble"] == "no way there"


@pytest.mark.parametrize(
    ("ready", "good", "shown"),
    [
        (True, "2", "; revision 3 never became ready; 2 serves"),
        (False, "2", "; revision 3 never became ready; nothing serves"),
        (True, "2,3", ""),
    ],
)
def test_a_revision_that_helm_deployed_but_that_never_became_ready_is_told(ready: bool, good: str, shown: str) -> None:
    """And which one serves instead; Helm calls it deployed as soon as the API has taken its objects."""
    noted = {**DEPLOYMENT, "metadata": {"name": "classifier", "uid": "d", "annotations": {READY: good}}}
    earlier = [{"revision": n, "status": "superseded"} for n in (1, 2)]
    cluster = deployed(pod("a", ready=ready), **{f"deployments --selector={TARGET.selector}": items(noted)})
    history = {"helm history triton-infer": (0, json.dumps([*earlier, *DEPLOYED]))}
    found = row(tables.release_rows(ask(Cluster({**cluster.answers, **history}))), "release")
    assert found == f"triton-infer, revision 3, deployed 2026-01-02 03:04:05 UTC{shown}"


SAMPLES = [{"batch_size": 1, "count": 0}, {"batch_size": 32, "count": 0}]


@pytest.mark.parametrize(
    ("config", "requests", "runs"),
    [
        ({"model_warmup": SAMPLES, "instance_group": [{"kind": "KIND_CPU", "count": 1, "gpus": []}]}, 33, 2),
        ({"model_warmup": SAMPLES, "instance_group": [{"kind": "KIND_GPU", "count": 2, "gpus": [0, 1]}]}, 132, 8),
        ({"model_warmup": [{"batch_size": 0, "count": 3}]}, 3, 3),
        ({}, 0, 0),
    ],
)
def test_a_warm_up_is_known_by_the_configuration(config: dict[str, Any], requests: int, runs: int) -> None:
    """The first as a real Triton counts it: 33 requests in 2 runs right after its start."""
    assert WarmUp.of(config) == WarmUp(requests=requests, runs=runs)


def test_a_warm_up_is_no_traffic() -> None:
    """Requests, images and runs are those of callers; a version that only warmed up has had none."""
    page = Counters(text=PAGE)
    found = served(page, "m", "2", "READY", "", warm=WarmUp(requests=3, runs=1))
    assert (found.requests, found.images, found.runs, found.queue_ms) == (1, 27, 3, 6.0)
    idle = served(page, "m", "2", "READY", "", warm=WarmUp(requests=33, runs=4))
    assert (idle.requests, idle.images, idle.runs, idle.queue_ms) == (0, 0, 0, None)


def test_the_plan_is_shown_and_how_far_each_pod_is() -> None:
    """In words, as a table and in the JSON."""
    follows = Follows(generation=5, planned=True, settled=False, troubles=())
    found = attrs.evolve(ask(deployed(pod("a"))), plan="generation 5: m 2", servers=(Server(pod="a", follows=follows),))
    assert row(tables.release_rows(found), "plan") == "generation 5: m 2"
    assert tables.plan_rows(found) == [("a", "warning", "is on its way to 5")]
    assert json.loads(tables.as_json(found))["servers"][0]["follows"]["generation"] == 5


def test_without_agents_no_plan_is_asked_for() -> None:
    """Their pods serve all versions of the image."""
    found = ask(deployed(pod("a")))
    assert found.plan == ""
    assert tables.plan_rows(found) == []
    assert all(name != "plan" for name, *_ in tables.release_rows(found))


def test_of_an_umbrella_all_plans_are_shown() -> None:
    """One for each of its charts, by its name."""
    there = pod("a")
    there["spec"]["initContainers"] = [{"name": "agent"}]
    plans = [
        {"kind": "ConfigMap", "metadata": {"name": name}, "data": {"plan.json": Plan(generation=number).to_json()}}
        for name, number in (("second", 7), ("first", 2))
    ]
    found = ask(deployed(there, configmaps=items(*plans)))
    assert found.plan == "first, generation 2: all of the image; second, generation 7: all of the image"
