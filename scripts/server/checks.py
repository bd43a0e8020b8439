"""Check a running server against what was packaged: not only that it answers, but that its numbers are right."""

import json
import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import attrs

from scripts.host.errors import TaskFailure
from scripts.repository import golden, manifest
from scripts.repository.golden import Golden
from scripts.repository.manifest import Manifest
from scripts.repository.versions import packaged
from scripts.server import hardware, load, numbers
from scripts.server.endpoint import Answer, Endpoint
from scripts.server.request import body
from scripts.server.result import GOLDEN, Failed, Result, Skipped, State, odd, run
from triton_sdk import ModelNotFoundError, ResNetClient, RetryPolicy
from triton_sdk.contract import ModelContract
from triton_sdk.errors import TritonError

CALL_TIMEOUT_S = 60.0
# While a server takes a version out of use, it says for about a second that it is not ready.
SETTLES_S, _AGAIN_S = 5.0, 0.25
# A server ends connections after the age that its command line says, and many callers then ask again at once.
RETRY = RetryPolicy(max_attempts=5, budget=1.0)


@attrs.frozen(kw_only=True)
class _Version:
    """A version that is served: the folder in which it was packaged, if that is here, and how it is run."""

    model: str
    number: int
    folder: Path | None
    runs: hardware.Runs

    def __str__(self) -> str:
        return f"{self.model} v{self.number}"

    @property
    def known(self) -> bool:
        """Whether it was packaged here, so that there is something to compare with."""
        return self.folder is not None and (self.folder / manifest.FILE).exists()

    def manifest(self) -> Manifest:
        """Return its manifest."""
        if self.folder is None or not self.known:
            raise Skipped("not packaged here: nothing to compare with")
        return manifest.read(self.folder / manifest.FILE)

    def golden(self) -> Golden:
        """Return its golden data."""
        if self.folder is None or not self.known:
            raise Skipped("not packaged here: no golden data")
        return golden.load(self.folder / golden.FILE)


def check_server(endpoint: Endpoint, *, repository: Path, complete: bool) -> Iterator[Result]:
    """Check the server at *endpoint* and yield each result as it comes.

    Args:
        endpoint: The server.
        repository: Where the packaged versions are: their manifests and golden data say what is right.
        complete: Whether every packaged version must be served; otherwise those that are not are skipped.
    """
    try:
        yield from _checks(endpoint, repository=repository, complete=complete)
    except (TaskFailure, TritonError) as error:
        yield Result(check="models", subject="server", state="failed", figure=str(error))
    except Exception as error:  # whoever answers there may answer anything
        yield Result(check="models", subject="server", state="failed", figure=odd(error))


def _checks(endpoint: Endpoint, *, repository: Path, complete: bool) -> Iterator[Result]:
    for check in ("live", "ready"):
        result = run(check, "server", partial(_health, endpoint, check))
        yield result
        if result.state == "failed":
            return
    here = {(p.model, p.version): p for p in packaged(repository)}
    served = _served(endpoint, here)
    for key in sorted(here.keys() - served):
        state: State = "failed" if complete else "skipped"
        yield Result(
            check="served", subject=f"{key[0]} v{key[1]}", state=state, figure="packaged, but not served there"
        )
    if not served:
        yield Result(check="served", subject="server", state="failed", figure="no model is ready: see the server's log")
    by_model: dict[str, list[_Version]] = {}
    for model, number in sorted(served):
        known, runs = here.get((model, number)), hardware.runs(endpoint, model)
        version = _Version(model=model, number=number, folder=known.path if known else None, runs=runs)
        by_model.setdefault(model, []).append(version)
    for model, versions in by_model.items():
        with ResNetClient(endpoint.grpc, model=model, timeout=CALL_TIMEOUT_S, retry=RETRY) as client:
            for version in versions:
                yield from _version_checks(endpoint, client, version)
            yield from _model_checks(endpoint, client, versions)
    if len(by_model) > 1:
        yield run("in parallel", "server", lambda: _parallel(endpoint, by_model))
    # Last, since the server needs a moment to fill it in.
    yield run("GPU", "server", lambda: hardware.memory(endpoint))


def _version_checks(endpoint: Endpoint, client: ResNetClient, version: _Version) -> Iterator[Result]:
    path = f"/v2/models/{version.model}/versions/{version.number}"
    subject = str(version)
    yield run("ready", subject, lambda: _expect_ok(endpoint.get(f"{path}/ready")))
    yield run("metadata", subject, lambda: _metadata(endpoint.get(path), version))
    yield run("HTTP infer", subject, lambda: _http(endpoint, client, f"{path}/infer", version.number))
    yield run(GOLDEN, subject, lambda: _golden(client, version))


def _model_checks(endpoint: Endpoint, client: ResNetClient, versions: Sequence[_Version]) -> Iterator[Result]:
    model, numbers = versions[0].model, [v.number for v in versions]
    path = f"/v2/models/{model}"
    yield run("HTTP infer, latest", model, lambda: _http(endpoint, client, f"{path}/infer", max(numbers)))
    yield run("gRPC, latest", model, lambda: _latest(client, versions[-1]))
    yield run("unknown version", model, lambda: _unknown(endpoint, client, path, numbers))
    yield run("batching", model, lambda: load.batching(endpoint, client, model, max(numbers), runs=versions[-1].runs))
    yield run("latency", model, lambda: load.latency(client, version=max(numbers)))


def _expect_ok(answer: Answer) -> str:
    if answer.status != 200:
        raise Failed(str(answer))
    return "HTTP 200"


def _health(endpoint: Endpoint, probe: str) -> str:
    end = time.monotonic() + SETTLES_S
    while (answer := endpoint.get(f"/v2/health/{probe}")).status == 400 and time.monotonic() < end:
        time.sleep(_AGAIN_S)
    return _expect_ok(answer)


def _served(endpoint: Endpoint, packaged: Collection[tuple[str, int]]) -> set[tuple[str, int]]:
    index = endpoint.post("/v2/repository/index", b"{}")
    if index.status == 403 and packaged:  # restricted, and we have no key: then we ask for what we know
        ready = {key: endpoint.get(f"/v2/models/{key[0]}/versions/{key[1]}/ready") for key in packaged}
        return {key for key, answer in ready.items() if answer.status == 200}
    if index.status != 200:
        raise TaskFailure(
            f"{endpoint.http} does not tell its models ({index}). If this is the port of the metrics, give the port of "
            "HTTP, which is 8000 if nobody chose another."
        )
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
            raise Failed(f"{side} are {told}, packaged was {expected}")
    return f"{contract.input} -> {contract.output}"


def _http(endpoint: Endpoint, client: ResNetClient, path: str, number: int) -> str:
    contract = client.contract()
    request = _request(contract)
    started = time.perf_counter()
    answer = endpoint.post(path, request)
    elapsed_ms = (time.perf_counter() - started) * 1e3
    _expect_ok(answer)
    if int(answer.body.get("model_version", 0)) != number:
        raise Failed(f"version {answer.body.get('model_version')} answered, not {number}")
    output = answer.body["outputs"][0]
    if len(output["data"]) != contract.classes:
        raise Failed(f"the output has shape {output['shape']}, but {contract.classes} scores were expected")
    return f"version {number} answered in {elapsed_ms:.0f} ms"


def _request(contract: ModelContract) -> bytes:
    return json.dumps(body(golden.pictures(contract, 1), contract, raw=True)).encode()


def _golden(client: ResNetClient, version: _Version) -> str:
    right, known = version.golden(), version.manifest()
    graph, arithmetic = known.gpu if version.runs.gpu_graph else None, version.runs.arithmetic
    if arithmetic and graph and graph.precision == "fp16":
        arithmetic = "FP16"
    tolerance = graph.tolerance if graph else known.tolerance
    return numbers.check(client, right, version=version.number, tolerance=tolerance, arithmetic=arithmetic)


def _latest(client: ResNetClient, version: _Version) -> str:
    answer = client.infer(golden.pictures(client.contract(), 1))
    if answer.model_version != version.number:
        raise Failed(f"version {answer.model_version} answered, the highest ready is {version.number}")
    return f"version {answer.model_version} answered"


def _unknown(endpoint: Endpoint, client: ResNetClient, path: str, numbers: Sequence[int]) -> str:
    unknown = max(numbers) + 1000
    answer = endpoint.post(f"{path}/versions/{unknown}/infer", _request(client.contract()))
    if not 400 <= answer.status < 500:
        raise Failed(f"HTTP answered {answer} for version {unknown}")
    try:
        client.infer(golden.pictures(client.contract(), 1), version=unknown)
    except ModelNotFoundError:
        return f"version {unknown} refused: HTTP {answer.status}, gRPC ModelNotFoundError"
    raise Failed(f"gRPC answered for version {unknown}")


def _parallel(endpoint: Endpoint, by_model: dict[str, list[_Version]]) -> str:
    everything = [version for versions in by_model.values() for version in versions if version.known]
    if not everything:
        raise Skipped("nothing of it is packaged here")

    def ask(version: _Version) -> None:
        with ResNetClient(endpoint.grpc, model=version.model, timeout=CALL_TIMEOUT_S, retry=RETRY) as client:
            try:
                _golden(client, version)
            except (Failed, TaskFailure, TritonError) as error:
                raise Failed(f"{version}: {error}") from error

    with ThreadPoolExecutor(len(everything)) as pool:
        list(pool.map(ask, everything))
    return f"{len(by_model)} models, {len(everything)} versions at once: every answer right"
