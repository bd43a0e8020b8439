"""The versions of models in one server, with what its metrics say of them."""

import math
from collections.abc import Mapping
from functools import partial

import attrs

from scripts.agent.outcomes import QUANTILES
from scripts.cluster.status.warmup import WarmUp
from scripts.server.endpoint import Counters, Endpoint


@attrs.frozen(kw_only=True)
class Served:
    """A version of a model in one server, with what it has done since that started.

    Attributes:
        model: The model.
        version: The version.
        state: As Triton calls it: ``READY``, ``LOADING``, ``UNAVAILABLE``, ...
        reason: Why it is not ready; empty where that is not known.
        requests: How many requests were answered.
        failures: How many failed; those that a full queue turned away are not among them.
        reasons: The same by Triton's reason, such as ``"canceled"``.
        queue_ms: The mean time that a request waited; None before the first.
        pending: How many wait now.
        images: How many images were inferred.
        runs: In how many runs of the model.
        latency_ms: What so many of the last minute's requests took in the server at most, by ``"p50"`` and so on; empty
            where there was none, or the server does not tell.
    """

    model: str
    version: str
    state: str
    reason: str
    requests: int
    failures: int
    reasons: Mapping[str, int]
    queue_ms: float | None
    pending: int
    images: int
    runs: int
    latency_ms: Mapping[str, float]


def versions_of(endpoint: Endpoint) -> list[Served]:
    """Return every version of a server with its figures.

    Raises:
        TaskFailure: If it does not answer.
    """
    counters = endpoint.counters()
    index = endpoint.post("/v2/repository/index", b"{}")
    if index.status == 200:
        found = [
            (i["name"], i["version"], i.get("state", ""), i.get("reason", ""))
            for i in index.body["items"]
            if i.get("version")
        ]
    else:  # restricted, and we have no key: then what has figures is asked one by one
        found = [(*key, _state(endpoint, *key), "") for key in counters.versions("nv_inference_request_success")]
    return [
        served(counters, model, version, state, reason, warm=_warm_up(endpoint, model, version))
        for model, version, state, reason in sorted(found, key=lambda item: (item[0], int(item[1])))
    ]


def _state(endpoint: Endpoint, model: str, version: str) -> str:
    ready = endpoint.get(f"/v2/models/{model}/versions/{version}/ready").status == 200
    return "READY" if ready else "UNAVAILABLE"


def _warm_up(endpoint: Endpoint, model: str, version: str) -> WarmUp:
    answer = endpoint.get(f"/v2/models/{model}/versions/{version}/config")
    return WarmUp.of(answer.body) if answer.status == 200 else WarmUp()


def served(
    counters: Counters, model: str, version: str, state: str, reason: str, *, warm: WarmUp | None = None
) -> Served:
    """Return a version with its figures from *counters*, without those of its warm-up."""
    warm = warm or WarmUp()
    total = partial(counters.total, model=model, version=version)
    requests = max(0.0, total("nv_inference_request_success") - warm.requests)
    failed = counters.by("reason", "nv_inference_request_failure", model=model, version=version)
    reasons = {reason.lower(): int(sum(counts)) for reason, counts in failed.items() if any(counts)}
    return Served(
        model=model,
        version=version,
        state=state,
        reason=reason,
        requests=int(requests),
        failures=sum(reasons.values()),
        reasons=reasons,
        queue_ms=total("nv_inference_queue_duration_us") / requests / 1e3 if requests else None,
        pending=int(total("nv_inference_pending_request_count")),
        images=max(0, int(total("nv_inference_count")) - warm.requests),
        runs=max(0, int(total("nv_inference_exec_count")) - warm.runs),
        latency_ms=_latency_ms(counters, model, version),
    )


def _latency_ms(counters: Counters, model: str, version: str) -> dict[str, float]:
    """Return the quantiles that Triton tells of the last minute, of several GPUs the slowest's.

    Triton calls a quantile NaN if there was no request.
    """
    told = counters.by("quantile", "nv_inference_request_summary_us", model=model, version=version)
    found = {}
    for share in QUANTILES:
        if known := [value for value in told.get(f"{share:g}", ()) if not math.isnan(value)]:
            found[f"p{100 * share:g}"] = round(max(known) / 1e3, 3)
    return found
