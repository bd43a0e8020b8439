"""Measure a running server: one caller's latency, and whether many callers get more than one or less."""

import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import attrs
import numpy as np

from scripts.host.figures import brief
from scripts.repository import golden
from scripts.server.endpoint import Endpoint
from scripts.server.hardware import Runs
from scripts.server.result import Failed, Skipped
from triton_sdk import ResNetClient

# One, few, and enough to queue behind a busy model, while two cores still carry them on a ResNet50.
CALLERS = (1, 4, 16)
# In turn, so that what else the machine does meets all of them alike.
ROUNDS, ROUND_S = 2, 0.5
LATENCY_CALLS = 30
# What many callers get together, of what one gets. On a CPU it is about 1: 0.6 to 1.5 on two cores with ten times the
# work that they can do, where a graph for GPUs, whose branches fill batches up, had 0.3 to 0.6.
# On an H100 it was 2.1 and 4.2 with 4 and 16 callers for a graph with buckets, 1.3 and 1.2 without batching, and 0.05
# and 0.2 where ONNX Runtime planned every convolution anew at each run of another size (docs/gpu.md).
CPU_FLOOR, GPU_FLOOR = 0.3, 0.8


@attrs.frozen(kw_only=True)
class Rates:
    """Images a second that callers of single images got together, by their number.

    Attributes:
        images_s: By the number of callers; it holds those of one.
        shared: Images in a run, on average, under the most callers.
    """

    images_s: Mapping[int, float]
    shared: float

    @property
    def slowest(self) -> int:
        """The number of callers, above one, that got least."""
        return min((callers for callers in self.images_s if callers > 1), key=self.images_s.__getitem__)

    @property
    def ratio(self) -> float:
        """What those got, of what one got."""
        return self.images_s[self.slowest] / self.images_s[1]

    def __str__(self) -> str:
        rates = ", ".join(f"{brief(rate)}" for rate in self.images_s.values())
        return f"{self.shared:.1f} images a run; {rates} images/s by {', '.join(map(str, self.images_s))} callers"


def batching(endpoint: Endpoint, client: ResNetClient, model: str, version: int, *, runs: Runs) -> str:
    """Return how many images share a run under many callers, and what they get beside one.

    Args:
        endpoint: The server.
        client: Of the model.
        model: Its name.
        version: Who is asked.
        runs: How the server runs it.

    Raises:
        Failed: If the server does not batch, or if that makes it slow.
        Skipped: If the model is not to batch.
    """
    contract = client.contract()
    if contract.max_batch <= 1:
        raise Skipped("the model takes one image at a time")
    image = golden.pictures(contract, 1)

    def call() -> object:
        return client.infer(image, version=version)

    def count() -> tuple[float, float]:
        counters, labels = endpoint.counters(), {"model": model, "version": str(version)}
        return counters.total("nv_inference_count", **labels), counters.total("nv_inference_exec_count", **labels)

    call()
    measured = together(call, count)
    floor = GPU_FLOOR if runs.arithmetic else CPU_FLOOR
    if measured.ratio < floor:
        # Something else may have taken the machine meanwhile: only what shows twice is the server's.
        measured = max(measured, together(call, count), key=lambda one: one.ratio)
    judge(measured, floor=floor)
    if runs.arithmetic and not runs.batching:
        # Packaging turns it off for a graph that would be slower with it.
        raise Skipped(f"the served configuration has no dynamic_batching; {measured}")
    if not measured.shared > 1:
        raise Failed(f"{measured}; is dynamic_batching in config.pbtxt?")
    return str(measured)


def judge(rates: Rates, *, floor: float) -> None:
    """Check that many callers get at least *floor* of what one gets.

    Raises:
        Failed: If they do not; the message says what helps.
    """
    if rates.ratio < floor:
        raise Failed(
            f"{rates.slowest} callers get {rates.ratio:.2g} of what one caller gets, less than {floor}: runs of "
            f"changing sizes are slow ({rates}). On a GPU, ONNX Runtime plans every convolution again if the size of "
            "a run changes: package the model again, which writes a graph with buckets for GPUs, or remove "
            "dynamic_batching from the configuration (docs/gpu.md)."
        )


def together(
    call: Callable[[], object],
    count: Callable[[], tuple[float, float]],
    *,
    rounds: int = ROUNDS,
    seconds: float = ROUND_S,
) -> Rates:
    """Measure what 1, 4 and 16 callers get together, in *rounds* turns of *seconds*.

    Args:
        call: Asks for one image.
        count: Tells how many images the server has answered so far, and in how many runs.
        rounds: How often each number of callers has its turn.
        seconds: How long it lasts, at least.
    """
    images, elapsed, shared = dict.fromkeys(CALLERS, 0), dict.fromkeys(CALLERS, 0.0), [0.0, 0.0]
    for _ in range(rounds):
        for callers in CALLERS:
            before = count()
            done, took = turn(call, callers, seconds)
            images[callers] += done
            elapsed[callers] += took
            if callers == CALLERS[-1]:
                shared = [total + now - then for total, now, then in zip(shared, count(), before, strict=True)]
    return Rates(
        images_s={callers: images[callers] / elapsed[callers] for callers in CALLERS},
        shared=shared[0] / max(shared[1], 1),
    )


def turn(call: Callable[[], object], callers: int, seconds: float) -> tuple[int, float]:
    """Let so many *callers* call one after the other for *seconds*; return how often they did, and the time it took."""
    started = time.perf_counter()

    def calls(_: int) -> int:
        done = 0
        while not done or time.perf_counter() < started + seconds:
            call()
            done += 1
        return done

    with ThreadPoolExecutor(callers) as pool:
        return sum(pool.map(calls, range(callers))), time.perf_counter() - started


def latency(client: ResNetClient, *, version: int) -> str:
    """Return how long a lone caller waits for one image, in words."""
    image = golden.pictures(client.contract(), 1)
    times = []
    for _ in range(LATENCY_CALLS):
        started = time.perf_counter()
        client.infer(image, version=version)
        times.append((time.perf_counter() - started) * 1e3)
    return f"p50 {statistics.median(times):.1f} ms, p95 {np.percentile(times, 95):.1f} ms, one caller"
