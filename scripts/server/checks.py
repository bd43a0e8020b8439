"""Check a running server against what was packaged: not only that it answers, but that its numbers are right."""

import json
import statistics
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Literal

import attrs
import numpy as np

from scripts.host.errors import TaskFailure
from scripts.repository import golden, manifest
from scripts.repository.golden import Golden
from scripts.repository.manifest import Manifest
from scripts.repository.versions import packaged
from scripts.server import request as generate_input
from scripts.server.endpoint import Answer, Endpoint
from triton_sdk import ModelNotFoundError, ResNetClient
from triton_sdk.contract import ModelContract
from triton_sdk.errors import TritonError

State = Literal["ok", "failed", "skipped"]

# Enough callers at once to queue behind a busy model, few enough for two cores and a ResNet50.
BURST_CALLERS, BURST_CALLS = 16, 48
LATENCY_CALLS = 30
CALL_TIMEOUT_S = 60.0
# A GPU multiplies in TF32, with 10 bits of mantissa, unless told otherwise. Emulated on a CPU that moved a probability
# of the seeded ResNet50 by 0.016 and of the seeded MobileNetV2 by 0.061, the best class staying the same.
GPU_TOLERANCE = 0.1
# The check that compares numbers.
GOLDEN = "golden, gRPC"
CPU_ONLY = "CPU only: the server reports no GPU"


@attrs.frozen(kw_only=True)
class Result:
    """What one check found.

    Attributes:
        check: What was asked.
        subject: Of what: the server, a model, or a version.
        state: How it ended.
        figure: The number or the fact that it rests on, or what was wrong.
        pod: The pod that it was asked in; empty outside of a cluster.
    """

    check: str
    subject: str
    state: State
    figure: str
    pod: str = ""


class _Failed(Exception):  # noqa: N818 - an outcome
    """A check found something wrong."""


class _Skipped(Exception):  # noqa: N818 - an outcome
    """A check cannot be made here."""


@attrs.frozen(kw_only=True)
class _Version:
    """A version that is served, with the folder in which it was packaged, if that is here."""

    model: str
    number: int
    folder: Path | None

    def __str__(self) -> str:
        return f"{self.model} v{self.number}"

    @property
    def known(self) -> bool:
        """Whether it was packaged here, so that there is something to compare with."""
        return self.folder is not None and (self.folder / manifest.FILE).exists()

    def manifest(self) -> Manifest:
        """Return its manifest."""
        if self.folder is None or not self.known:
            raise _Skipped("not packaged here: nothing to compare with")
        return manifest.read(self.folder / manifest.FILE)

    def golden(self) -> Golden:
        """Return its golden data."""
        if self.folder is None or not self.known:
            raise _Skipped("not packaged here: no golden data")
        return golden.load(self.folder / golden.FILE)


def smoke(endpoint: Endpoint, *, repository: Path, complete: bool) -> Iterator[Result]:
    """Check the server at *endpoint* and yield each result as it comes.

    Args:
        endpoint: The server.
        repository: Where the packaged versions are: their manifests and golden data say what is right.
        complete: Whether every packaged version must be served; otherwise those that are not are skipped.
    """
    for check in ("live", "ready"):
        result = _run(check, "server", partial(_health, endpoint, check))
        yield result
        if result.state == "failed":
            return
    here = {(p.model, p.version): p for p in packaged(repository)}
    try:
        served = _served(endpoint, here)
    except TaskFailure as error:
        yield Result(check="models", subject="server", state="failed", figure=str(error))
        return
    for key in sorted(here.keys() - served):
        state: State = "failed" if complete else "skipped"
        yield Result(
            check="served", subject=f"{key[0]} v{key[1]}", state=state, figure="packaged, but not served there"
        )
    if not served:
        yield Result(check="served", subject="server", state="failed", figure="no model is ready: see the server's log")
    by_model: dict[str, list[_Version]] = {}
    for model, number in sorted(served):
        known = here.get((model, number))
        version = _Version(model=model, number=number, folder=known.path if known else None)
        by_model.setdefault(model, []).append(version)
    hardware = _run("GPU", "server", lambda: _gpu(endpoint))
    # Where the metrics do not tell, there may be one.
    gpu = hardware.figure != CPU_ONLY
    for model, versions in by_model.items():
        with ResNetClient(endpoint.grpc, model=model, timeout=CALL_TIMEOUT_S) as client:
            for version in versions:
                yield from _version_checks(endpoint, client, version, gpu=gpu)
            yield from _model_checks(endpoint, client, versions)
    if len(by_model) > 1:
        yield _run("in parallel", "server", lambda: _parallel(endpoint, by_model, gpu=gpu))
    yield hardware


def _version_checks(endpoint: Endpoint, client: ResNetClient, version: _Version, *, gpu: bool) -> Iterator[Result]:
    path = f"/v2/models/{version.model}/versions/{version.number}"
    subject = str(version)
    yield _run("ready", subject, lambda: _expect_ok(endpoint.get(f"{path}/ready")))
    yield _run("metadata", subject, lambda: _metadata(endpoint.get(path), version))
    yield _run("HTTP infer", subject, lambda: _http(endpoint, client, f"{path}/infer", version.number))
    yield _run(GOLDEN, subject, lambda: _golden(client, version, gpu=gpu))


def _model_checks(endpoint: Endpoint, client: ResNetClient, versions: Sequence[_Version]) -> Iterator[Result]:
    model, numbers = versions[0].model, [v.number for v in versions]
    path = f"/v2/models/{model}"
    yield _run("HTTP infer, latest", model, lambda: _http(endpoint, client, f"{path}/infer", max(numbers)))
    yield _run("gRPC, latest", model, lambda: _latest(client, versions[-1]))
    yield _run("unknown version", model, lambda: _unknown(endpoint, client, path, numbers))
    yield _run("batching", model, lambda: _batching(endpoint, client, versions[-1]))
    yield _run("latency", model, lambda: _latency(client, versions[-1]))


def _run(check: str, subject: str, body: Callable[[], str]) -> Result:
    """Turn what *body* returns or raises into a row: a failure of one check never hides the others."""
    try:
        return Result(check=check, subject=subject, state="ok", figure=body())
    except _Skipped as reason:
        return Result(check=check, subject=subject, state="skipped", figure=str(reason))
    except (_Failed, TaskFailure, TritonError) as reason:
        return Result(check=check, subject=subject, state="failed", figure=str(reason))


def _expect_ok(answer: Answer) -> str:
    if answer.status != 200:
        raise _Failed(str(answer))
    return "HTTP 200"


def _health(endpoint: Endpoint, probe: str) -> str:
    return _expect_ok(endpoint.get(f"/v2/health/{probe}"))


def _served(endpoint: Endpoint, packaged: Collection[tuple[str, int]]) -> set[tuple[str, int]]:
    index = endpoint.post("/v2/repository/index", b"{}")
    if index.status == 403 and packaged:  # restricted, and we have no key: then we ask for what we know
        ready = {key: endpoint.get(f"/v2/models/{key[0]}/versions/{key[1]}/ready") for key in packaged}
        return {key for key, answer in ready.items() if answer.status == 200}
    if index.status != 200:
        raise TaskFailure(f"{endpoint.http} does not tell its models ({index}).")
    return {
        (item["name"], int(item["version"]))
        for item in index.body.get("items", ())
        if item.get("state") == "READY" and item.get("version")
    }


def _metadata(answer: Answer, version: _Version) -> str:
    _expect_ok(answer)
    contract = version.manifest().contract
    for side, spec in (("inputs", contract.input), ("outputs", contract.output)):
        batch = [-1] if contract.max_batch else []
        expected = {"name": spec.name, "datatype": spec.dtype, "shape": batch + list(spec.shape)}
        told = answer.body.get(side, [])
        if [{key: tensor.get(key) for key in expected} for tensor in told] != [expected]:
            raise _Failed(f"{side} are {told}, packaged was {expected}")
    return f"{contract.input} -> {contract.output}"


def _http(endpoint: Endpoint, client: ResNetClient, path: str, number: int) -> str:
    contract = client.contract()
    request = _request(contract)
    started = time.perf_counter()
    answer = endpoint.post(path, request)
    elapsed_ms = (time.perf_counter() - started) * 1e3
    _expect_ok(answer)
    if int(answer.body.get("model_version", 0)) != number:
        raise _Failed(f"version {answer.body.get('model_version')} answered, not {number}")
    output = answer.body["outputs"][0]
    if output["shape"][-1] != contract.classes or len(output["data"]) != contract.classes:
        raise _Failed(f"the output has shape {output['shape']}, not (1, {contract.classes})")
    return f"version {number} answered in {elapsed_ms:.0f} ms"


def _request(contract: ModelContract) -> bytes:
    return json.dumps(generate_input.body(golden.pictures(contract, 1), contract, raw=True)).encode()


def _golden(client: ResNetClient, version: _Version, *, gpu: bool) -> str:
    right = version.golden()
    tolerance = max(version.manifest().tolerance, GPU_TOLERANCE if gpu else 0.0)
    worst = 0.0
    # One by one: for a dynamically quantised model the figures depend on what shares the batch.
    for image, expected in zip(right.input, right.output, strict=True):
        answer = client.infer(image[np.newaxis], version=version.number)
        if answer.model_version != version.number:
            raise _Failed(f"version {answer.model_version} answered, not {version.number}")
        compared = golden.compare(expected[np.newaxis], answer.scores)
        worst = max(worst, compared.difference)
        if not compared.same_top1:
            raise _Failed(f"the best class is another one than packaged (largest difference {worst:.2g})")
    if not worst <= tolerance:
        raise _Failed(f"largest difference {worst:.2g} is above {tolerance:.2g}")
    return f"{len(right.input)} images, largest difference {worst:.1e} <= {tolerance:.1e}, same top-1"


def _latest(client: ResNetClient, version: _Version) -> str:
    answer = client.infer(golden.pictures(client.contract(), 1))
    if answer.model_version != version.number:
        raise _Failed(f"version {answer.model_version} answered, the highest ready is {version.number}")
    return f"version {answer.model_version} answered"


def _unknown(endpoint: Endpoint, client: ResNetClient, path: str, numbers: Sequence[int]) -> str:
    unknown = max(numbers) + 1000
    answer = endpoint.post(f"{path}/versions/{unknown}/infer", _request(client.contract()))
    if not 400 <= answer.status < 500:
        raise _Failed(f"HTTP answered {answer} for version {unknown}")
    try:
        client.infer(golden.pictures(client.contract(), 1), version=unknown)
    except ModelNotFoundError:
        return f"version {unknown} refused: HTTP {answer.status}, gRPC ModelNotFoundError"
    raise _Failed(f"gRPC answered for version {unknown}")


def _batching(endpoint: Endpoint, client: ResNetClient, version: _Version) -> str:
    image = golden.pictures(client.contract(), 1)
    labels = {"model": version.model, "version": str(version.number)}
    before = endpoint.counters()
    with ThreadPoolExecutor(BURST_CALLERS) as pool:
        list(pool.map(lambda _: client.infer(image, version=version.number), range(BURST_CALLS)))
    after = endpoint.counters()
    images = after.total("nv_inference_count", **labels) - before.total("nv_inference_count", **labels)
    runs = after.total("nv_inference_exec_count", **labels) - before.total("nv_inference_exec_count", **labels)
    figure = f"{images:.0f} images in {runs:.0f} runs: {images / max(runs, 1):.1f} a run"
    if client.contract().max_batch <= 1:
        raise _Skipped(f"the model takes one image at a time ({figure})")
    if not images > runs > 0:
        raise _Failed(f"{figure}; is dynamic_batching in config.pbtxt?")
    return figure


def _latency(client: ResNetClient, version: _Version) -> str:
    image = golden.pictures(client.contract(), 1)
    times = []
    for _ in range(LATENCY_CALLS):
        started = time.perf_counter()
        client.infer(image, version=version.number)
        times.append((time.perf_counter() - started) * 1e3)
    return f"p50 {statistics.median(times):.1f} ms, p95 {np.percentile(times, 95):.1f} ms, one caller"


def _parallel(endpoint: Endpoint, by_model: dict[str, list[_Version]], *, gpu: bool) -> str:
    everything = [version for versions in by_model.values() for version in versions if version.known]
    if not everything:
        raise _Skipped("nothing of it is packaged here")

    def ask(version: _Version) -> None:
        with ResNetClient(endpoint.grpc, model=version.model, timeout=CALL_TIMEOUT_S) as client:
            try:
                _golden(client, version, gpu=gpu)
            except (_Failed, TaskFailure, TritonError) as error:
                raise _Failed(f"{version}: {error}") from error

    with ThreadPoolExecutor(len(everything)) as pool:
        list(pool.map(ask, everything))
    return f"{len(by_model)} models, {len(everything)} versions at once: every answer right"


def _gpu(endpoint: Endpoint) -> str:
    memory = endpoint.counters().samples("nv_gpu_memory_total_bytes")
    return f"{len(memory)} GPU(s), {sum(memory) / 2**30:.0f} GiB" if memory else CPU_ONLY
