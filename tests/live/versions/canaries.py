"""Versions to try on a real Triton, good ones and bad ones, and processes that call as consumers do."""

import contextlib
import json
import multiprocessing
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import onnx

from scripts.agent.plan import CANDIDATE
from scripts.canary.kept import Record
from scripts.host.root import ROOT
from scripts.packaging.package import package
from scripts.sources.source import Source
from scripts.versions.publish import publish
from tests.doubles.brittle_models import FATAL
from tests.live.versions.scene import MODEL, Scene, Served
from tests.waiting import wait_until
from triton_sdk import ResNetClient, TrafficPlan

PROCESSES = 4
PAUSE_S = 0.01
# What the pixels are of an image that every version takes.
FINE = 250
# Short steps, and so few calls as a test can wait for.
CONFIG = """
every = 0.5
expires = {expires}
shadow = {shadow}
[[steps]]
share = 0.2
calls = 40
seconds = 2
[[steps]]
share = 0.5
calls = {calls}
seconds = 2
[limits]
calibration = 200
least_sure = 50
most_disagreement = {disagreement}
slower = {slower}
"""


def offer(scene: Scene, number: int, model: onnx.ModelProto) -> None:
    """Package *model* as version *number*, and publish it."""
    path = scene.root / f"{number}.onnx"
    onnx.save(model, path)
    laptop = scene.root / "laptop"
    package(Source.onnx(path), model=MODEL, repository=laptop, version=number, progress=lambda _: None)
    publish(laptop, scene.store, model=MODEL, version=number, progress=lambda *_: None)


@attrs.frozen(eq=False)
class Orders:
    """What the processes are told.

    Attributes:
        ended: Whether they shall end.
        paused: Whether they shall make no calls.
        fatal: The share of their images that is `FATAL`.
    """

    ended: Event
    paused: Event
    fatal: Any


def work(grpc: str, source: str, number: int, orders: Orders, answers: Any) -> None:
    """Classify, and put down when each call began, whom it should reach and what came of it."""
    plan = TrafficPlan(source, model=MODEL)
    images = {value: np.full((8, 8, 3), value, np.uint8) for value in (FINE, FATAL)}
    with ResNetClient(grpc, model=MODEL) as client:
        place, owed = 0, 0.0
        while not orders.ended.is_set():
            time.sleep(PAUSE_S)
            if orders.paused.is_set():
                continue
            place, owed = place + 1, owed + orders.fatal.value
            key, image = f"{number}-{place}", images[FATAL if owed >= 1 else FINE]
            owed -= owed >= 1
            begun, chosen = time.monotonic(), plan.choose(key)
            try:
                came: int | str = int(client.predict(image, version=plan, key=key).model_version)
            except Exception as error:  # every failure counts
                came = repr(error)
            answers.put((begun, chosen, came))


@attrs.define(eq=False)
class Callers:
    """Processes that call.

    Attributes:
        orders: What they are told.
        answers: Gives what came of each call.
        since: When they began to call for this test: what came of earlier calls may still be on its way.
        seen: What came of the calls since then.
    """

    orders: Orders
    answers: Any
    since: float = 0.0
    seen: list[tuple[float, int | None, int | str]] = attrs.field(factory=list)

    @contextlib.contextmanager
    def calling(self, *, fatal: float = 0.0) -> Iterator["Callers"]:
        """Let them call until the block ends, with such a share of images that are `FATAL`."""
        self.orders.fatal.value = fatal
        self.since, self.seen = time.monotonic(), []
        self.orders.paused.clear()
        try:
            wait_until(lambda: len(self.read()) >= 50, within_s=60)
            yield self
        finally:
            self.orders.paused.set()

    def read(self) -> list[tuple[float, int | None, int | str]]:
        """Return all calls so far: when each began, the version that it should reach, and who answered or how not."""
        with contextlib.suppress(queue.Empty):
            while True:
                one = self.answers.get_nowait()
                if one[0] >= self.since:
                    self.seen.append(one)
        return self.seen

    def failures(self, *, beside: int) -> list[tuple[float, int | None, int | str]]:
        """Return the calls that failed, but those of version *beside*."""
        return [one for one in self.read() if isinstance(one[2], str) and one[1] != beside]

    def all_get(self, version: int, *, since: float) -> bool:
        """Return whether the calls since a moment are many, and the last of them were all answered by *version*."""
        found = [one for one in self.read() if one[0] >= since]
        return len(found) > 100 and {came for *_, came in found[-100:]} == {version}


@contextlib.contextmanager
def callers_of(served: Served) -> Iterator[Callers]:
    """Start four processes that call when they are told to."""
    context = multiprocessing.get_context("spawn")
    orders, answers = Orders(context.Event(), context.Event(), context.Value("d", 0.0)), context.Queue()
    orders.paused.set()
    source = served.target.agent.http
    processes = [
        context.Process(target=work, args=(served.server.grpc_url, source, number, orders, answers), daemon=True)
        for number in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    callers = Callers(orders, answers)
    try:
        yield callers
    finally:
        orders.ended.set()
        until = time.monotonic() + 30
        while any(process.is_alive() for process in processes) and time.monotonic() < until:
            callers.read()  # a process does not end before its queue is empty
            time.sleep(0.05)
        assert not any(process.is_alive() for process in processes)


@contextlib.contextmanager
def requests_of(served: Served, version: int) -> Iterator[Callable[[], int]]:
    """Give how many requests of callers a candidate has had by the server's own counter, which goes with it.

    How many of them failed cannot be read there: this Triton's backend is written in Python, and counts a request as
    failed only if the model fails for all requests of its batch.
    """
    ended, before, seen = threading.Event(), [0], [0]

    def ask() -> None:
        while not ended.wait(0.1):
            answer = served.target.triton.get(f"/v2/models/{MODEL}{CANDIDATE}/stats")
            found = [
                one["inference_stats"] for one in answer.body.get("model_stats", ()) if one["version"] == str(version)
            ]
            count = sum(stats["success"]["count"] + stats["fail"]["count"] for stats in found)
            # Its golden images were asked before anybody was sent to it.
            is_alone = max(seen) == 0 and not served.target.agent.get(f"/v1/traffic/{MODEL}").body["in_force"]
            (before if is_alone else seen).append(count)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield lambda: max(seen) - max(before)
    finally:
        ended.set()
        thread.join(30)


@attrs.frozen(kw_only=True)
class Judged:
    """How a canary ended.

    Attributes:
        status: Its exit status.
        found: What it printed as JSON; nothing where it could not.
        said: What it said meanwhile.
    """

    status: int
    found: Mapping[str, Any]
    said: str

    @property
    def decisions(self) -> list[str]:
        """What it decided, in order."""
        return [one["decision"] for one in self.found["decisions"]]


@contextlib.contextmanager
def canary(
    served: Served,
    version: int,
    folder: Path,
    *options: str,
    expires: float = 20.0,
    shadow: float = 0.0,
    disagreement: float = 1.0,
    calls: int = 150,
    slower: float = 4.0,
) -> Iterator["subprocess.Popen[str]"]:
    """Run `invoke canary` beside the block.

    By default nothing is slow: what else a busy machine does can make one version slower than the other.
    """
    config = folder / "canary.toml"
    config.write_text(
        CONFIG.format(expires=expires, shadow=shadow, disagreement=disagreement, calls=calls, slower=slower)
    )
    with subprocess.Popen(
        [*_task(served, "canary", version), "--json", f"--config={config}", *options],
        cwd=ROOT,
        env=_environment(served, folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def judged(process: "subprocess.Popen[str]") -> Judged:
    """Wait until a canary has ended, and return how."""
    out, errors = process.communicate(timeout=150)
    sys.stdout.write(errors)
    return Judged(status=process.returncode, found=json.loads(out or "{}"), said=errors)


def kept(folder: Path) -> Record | None:
    """Return what a canary of the test has noted down of a look at what became of the calls; None: of none so far."""
    for path in (folder / "state").rglob("canary/*.json"):
        record = Record.parse(path.read_text(encoding="utf-8"))
        return record if record.judge is not None else None
    return None


def promoted(served: Served, version: int, folder: Path) -> str:
    """Run `invoke promote`, and return what it said."""
    done = promote(served, version, folder, subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    return done.stdout


def promote(served: Served, version: int, folder: Path, results: int) -> "subprocess.CompletedProcess[str]":
    """Run `invoke promote`, whose results go to the file *results*."""
    command, env = _task(served, "promote", version), _environment(served, folder)
    return subprocess.run(
        command, cwd=ROOT, env=env, stdout=results, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )


def _task(served: Served, name: str, version: int) -> list[str]:
    """Return the command of a task about a version."""
    options = (f"--model={MODEL}", f"--version={version}", f"--url={served.target.name}")
    return [sys.executable, "-m", "invoke", name, *options]


def _environment(served: Served, folder: Path) -> dict[str, str]:
    """Return the environment of a task."""
    store = {"MODEL_STORE": f"file://{served.scene.root / 'store'}"}
    return {**os.environ, **store, "XDG_STATE_HOME": str(folder / "state")}
