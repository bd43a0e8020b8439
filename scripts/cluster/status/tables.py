"""The tables of `invoke status`, and the same as JSON."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime

import attrs

from scripts.agent.outcomes import QUANTILES
from scripts.cluster.pods import Pod
from scripts.cluster.status.look import Status
from scripts.host.figures import brief

Rows = list[tuple[str, ...]]
POD_COLUMNS = ("pod", "", "restarts", "age", "node", "GPU", "image", "what is wrong")
PLAN_COLUMNS = ("pod", "", "serving plan")
_LATENCY = tuple(f"p{100 * share:g}" for share in QUANTILES)
MODEL_COLUMNS = (
    *("pod", "model", "version", "", "requests", "failures", *_LATENCY, "queue, ms", "pending", "images/run"),
)
MODELS = "Models, as Triton in each pod counts; p50 to p99: ms in Triton, last minute"
CALLER_COLUMNS = ("model", "version", "calls", "failures", *_LATENCY)
CALLERS = "Calls of all pods, as clients saw them; p50 to p99: ms"


def release_rows(status: Status) -> Rows:
    """Return what there is to say about the release as a whole, as name and value."""
    ready = sum(pod.ready for pod in status.pods)
    rows: Rows = [
        ("release", f"{status.target.release}, {_revision(status, ready=ready)}"),
        ("chart", status.chart),
        ("image", status.image or "unknown: there is no such deployment"),
        ("pods", f"{ready} of {status.replicas} ready"),
    ]
    if status.plan:
        rows.append(("plan", status.plan))
    if status.probes:
        rows.append(("probes", "; ".join(f"{kind} {path}" for kind, path in status.probes.items())))
    if scaler := status.autoscaler:
        figures = "; ".join((*scaler.metrics, *([scaler.trouble] if scaler.trouble else [])))
        text = f"{scaler.current} now, {scaler.wanted} wanted, {scaler.least} to {scaler.most}"
        rows.append(("autoscaler", f"{text}; {figures}" if figures else text))
    return rows


def _revision(status: Status, *, ready: int) -> str:
    """Return what there is to say about the last revision."""
    if not status.revisions:
        return "which Helm did not install, but Argo CD, kubectl apply or the like"
    last = status.revisions[-1]
    said = f"revision {last.number}, {last.status} {_when(last.updated)}"
    if not status.was_ready and last.status == "deployed":
        serves = f"{status.last_good or 'an older one'} serves" if ready else "nothing serves"
        said += f"; revision {last.number} never became ready; {serves}"
    if last.status != "deployed":
        serving = [revision.number for revision in status.revisions if revision.status == "deployed"]
        said += f"; deployed before: {serving[-1] if serving else 'none'}. {last.description}"
    return said


def pod_rows(status: Status, *, now: datetime) -> Rows:
    """Return a row for each pod."""
    return [
        (
            pod.name,
            "ok" if pod.ready else "failed" if pod.restarts or pod.phase == "Failed" else "warning",
            str(pod.restarts),
            pod.age(now=now),
            pod.node,
            " ".join(filter(None, (f"{pod.gpus} x" if pod.gpus else "none", status.gpus.get(pod.name, "")))),
            digest(pod.image),
            _wrong(status, pod),
        )
        for pod in status.pods
    ]


def plan_rows(status: Status) -> Rows:
    """Return a row for each pod whose agent answers: how far it follows the release's plan."""
    return [(each.pod, each.follows.mark, str(each.follows)) for each in status.servers if each.follows]


def model_rows(status: Status) -> Rows:
    """Return a row for each version in each pod, and for each pod that could not be asked."""
    rows: Rows = []
    for server in status.servers:
        if server.trouble:
            rows.append((server.pod, server.trouble, "", "warning", *[""] * (len(MODEL_COLUMNS) - 4)))
        for version in server.versions:
            ready = version.state == "READY"
            rows.append((
                server.pod,
                version.model,
                version.version,
                "ok" if ready else f"{version.state} {version.reason}".strip(),
                str(version.requests),
                _kinds(version.reasons),
                *_percentiles(version.latency_ms),
                "" if version.queue_ms is None else f"{version.queue_ms:.2f}",
                str(version.pending),
                f"{version.images / version.runs:.1f}" if version.runs else "",
            ))  # fmt: skip
    return rows


def caller_rows(status: Status) -> Rows:
    """Return a row for each version that clients told of."""
    return [
        (one.model, one.version, str(one.calls), _kinds(one.failures), *_percentiles(one.latency_ms))
        for one in status.callers
    ]


def as_json(status: Status) -> str:
    """Return all of it as JSON."""
    return json.dumps(attrs.asdict(status), default=datetime.isoformat, indent=2)


def digest(image: str) -> str:
    """Return the beginning of an image's digest, or the image where it has none."""
    found = re.search(r"sha256:([0-9a-f]{12})", image)
    return found[1] if found else image


def _kinds(failures: Mapping[str, int]) -> str:
    """Return how many failed, and of what."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(failures.items(), key=lambda one: -one[1]))
    return kinds or "0"


def _percentiles(latency_ms: Mapping[str, float]) -> tuple[str, ...]:
    """Return a cell for each percentile, empty where it is not known."""
    known = [latency_ms.get(name) for name in _LATENCY]
    return tuple("" if ms is None else brief(ms) for ms in known)


def _when(text: str) -> str:
    """Return Helm's time to the second, in UTC; as it is where it cannot be read."""
    try:
        return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    except ValueError:
        return text


def _wrong(status: Status, pod: Pod) -> str:
    event = status.troubles.get(pod.name, "")
    # Often it says what the pod says too.
    said = [pod.reason, event if event.partition(": ")[2] not in pod.reason else ""]
    both = [re.search(r"@sha256:[0-9a-f]{64}", image) for image in (status.image, pod.image)]
    if both[0] and both[1] and both[0][0] != both[1][0]:
        said.append("it runs another image than the release says")
    return "; ".join(filter(None, said))
