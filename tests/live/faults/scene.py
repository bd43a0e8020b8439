"""What the fault tests need: models that obey, clients of both kinds, a steady load, and counts."""

import asyncio
import gc
import os
import re
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import attrs
import numpy as np
from numpy.typing import NDArray

from tests.waiting import wait_until
from triton_sdk import AsyncResNetClient, Inference
from triton_sdk.local import LocalTriton

_T = TypeVar("_T")
# Asks without a proxy, whatever the environment says.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))

# Where a test holds a model at work, and where the model says that it is.
HELD, BUSY = (Path(tempfile.gettempdir(), f"triton-faults-{os.getpid()}-{what}") for what in ("held", "busy"))
# As long as an image can say, which stands for as long as the model is held.
HELD_S = 2.55

# A model that takes its time without taking processors: each image says by its brightest value how many hundredths of
# a second. Why the capsule is renamed: see the backend of the local server.
_SLEEPER = """
import ctypes
import time
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

USED = ctypes.c_char_p(b"used_dltensor")
HELD, BUSY = Path("{held}"), Path("{busy}")


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        image = np.from_dlpack(pb_utils.get_input_tensor_by_name(request, "image"))
        if image.max() == 255:
            BUSY.touch()
            while HELD.exists():
                time.sleep(0.005)
            BUSY.unlink()
        else:
            time.sleep(int(image.max()) / 100)
        capsule = np.full((len(image), 3), 1 / 3, np.float32).__dlpack__()
        scores = pb_utils.Tensor.from_dlpack("probabilities", capsule)
        ctypes.pythonapi.PyCapsule_SetName(ctypes.py_object(capsule), USED)
        return pb_utils.InferenceResponse([scores])
"""
_SLEEPER_CONFIG = """
name: "{name}"
backend: "python"
max_batch_size: 1
input [{{ name: "image" data_type: TYPE_UINT8 dims: [8, 8, 3] }}]
output [{{ name: "probabilities" data_type: TYPE_FP32 dims: [3] }}]
instance_group [{{ count: 1 kind: KIND_CPU }}]
dynamic_batching {{ default_queue_policy {{ max_queue_size: {queue} }} }}
"""


def write_sleeper(repository: Path, name: str = "sleeper", *, queue: int = 0) -> None:
    """Write a classifier that sleeps as long as the image says; it keeps *queue* requests waiting, 0 for any number."""
    folder = repository / name / "1"
    folder.mkdir(parents=True)
    (folder / "model.py").write_text(_SLEEPER.format(held=HELD, busy=BUSY))
    (repository / name / "config.pbtxt").write_text(_SLEEPER_CONFIG.format(name=name, queue=queue))


def pixels(seconds: float = 0.0, *, images: int = 1) -> NDArray[np.uint8]:
    """Return a prepared tensor, uint8 (images, 8, 8, 3), over each image of which the sleeper sleeps *seconds*."""
    return np.full((images, 8, 8, 3), round(seconds * 100), np.uint8)


@contextmanager
def held() -> Iterator[None]:
    """Hold a sleeper at the image of `HELD_S` until the block ends."""
    BUSY.unlink(missing_ok=True)
    HELD.touch()
    try:
        yield
    finally:
        HELD.unlink()


class Client(Protocol):
    """What these tests use of a client, be it for threads or for coroutines."""

    def infer(self, batch: NDArray[Any], *, timeout: float | None = None) -> Inference:
        """Ask the model."""

    def wait_ready(self, *, timeout: float = 60.0) -> None:
        """Wait until the model can be asked."""

    def close(self) -> None:
        """End all."""


class Looped:
    """An async client on an event loop in a thread of its own, with the face of one for threads."""

    def __init__(self, url: str | list[str], **settings: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._client = self._run(self._open(url, settings))

    def infer(self, batch: NDArray[Any], *, timeout: float | None = None) -> Inference:
        """Ask the model."""
        return self._run(self._client.infer(batch, timeout=timeout))

    def wait_ready(self, *, timeout: float = 60.0) -> None:
        """Wait until the model can be asked."""
        self._run(self._client.wait_ready(timeout=timeout))

    def close(self) -> None:
        """End all; a second time does nothing."""
        if self._loop.is_closed():
            return
        self._run(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _open(self, url: str | list[str], settings: dict[str, Any]) -> AsyncResNetClient:
        return AsyncResNetClient(url, **settings)

    def _run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


@attrs.define
class Outcome:
    """How one call went.

    Attributes:
        begin: When it was made, on the monotonic clock.
        end: When it was over.
        error: What it raised.
    """

    begin: float
    end: float
    error: BaseException | None

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.begin


def outcome(call: Callable[[], object]) -> Outcome:
    """Make one call and tell how it went."""
    begin, error = time.monotonic(), None
    try:
        call()
    except Exception as caught:
        error = caught
    return Outcome(begin, time.monotonic(), error)


class Load:
    """Call again and again from several threads; a context manager, after which all *outcomes* are there.

    Args:
        call: What to call.
        threads: How many call at a time.
        pause: What each thread waits between two calls, in seconds.
    """

    def __init__(self, call: Callable[[], object], *, threads: int = 4, pause: float = 0.002) -> None:
        self._call, self._pause = call, pause
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]
        self.outcomes: list[Outcome] = []

    def wait_for(self, calls: int) -> None:
        """Wait until so many more calls are over."""
        wanted = len(self.outcomes) + calls
        wait_until(lambda: len(self.outcomes) >= wanted, f"{calls} more calls")

    @property
    def errors(self) -> list[BaseException]:
        """What went wrong, in order."""
        return [found.error for found in self.outcomes if found.error is not None]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self) -> None:
        while not self._stop.wait(self._pause):
            self.outcomes.append(outcome(self._call))


def at_once(call: Callable[[], object], times: int) -> list[Outcome]:
    """Make a call so many times at once."""
    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(lambda _: outcome(call), range(times)))


def metric(server: LocalTriton, name: str, model: str) -> int:
    """Return the sum of the server's metrics whose name fits the pattern *name*, for one model."""
    with OPENER.open(server.metrics_url, timeout=20) as answer:
        text = answer.read().decode()
    rows = re.findall(rf'^{name}{{.*model="{model}".*}} (\S+)$', text, re.MULTILINE)
    assert rows
    return sum(int(float(value)) for value in rows)


def executed(server: LocalTriton, model: str) -> int:
    """Return how many requests for *model* the server has counted, failed ones included."""
    return metric(server, "nv_inference_request_(?:success|failure)", model)


def descriptors(pid: int | str = "self") -> int:
    """Return the number of open file descriptors of a process, without those of clients that wait to be collected."""
    gc.collect()
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


# gRPC's own pool grows and shrinks by a few threads with the load, and with what ran before; a leak is a thread for
# each of hundreds of calls or clients.
ELASTIC_THREADS = 8


def threads() -> int:
    """Return the number of threads of this process, those of gRPC included, after what waited to be collected."""
    gc.collect()
    return sum(1 for _ in Path("/proc/self/task").iterdir())


def states(pid: int) -> set[str]:
    """Return the states of a process's threads, a letter each."""
    return {file.read_text().rpartition(")")[2].split()[0] for file in Path(f"/proc/{pid}/task").glob("*/stat")}


def resident() -> int:
    """Return the memory that this process holds, in bytes."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
