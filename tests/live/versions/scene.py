"""A real Triton with an agent beside it, as `invoke serve` runs them, and callers who name no version."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import onnx
from tritonclient import grpc as raw

from scripts.agent import files
from scripts.agent.folder import Folder
from scripts.agent.plan import ModelPlan, Plan
from scripts.agent.store import Store, StoredVersion
from scripts.host import settings
from scripts.packaging.package import package
from scripts.server.agent import Agent, Folders, agent_command, free_beside
from scripts.server.endpoint import AGENT_OFFSET
from scripts.server.seen import State
from scripts.sources.source import Source
from scripts.versions import change
from scripts.versions.publish import publish
from scripts.versions.roll import Outcome, Roll
from scripts.versions.target import OneServer
from tests.doubles import tiny
from tests.waiting import wait_until
from triton_sdk import ResNetClient
from triton_sdk.local import LocalTriton, Runtime

MODEL = "cars"
PIXELS = np.full((8, 8, 3), 90, np.uint8)
# A caller's pause, so that the callers leave the server some of a small machine.
_PAUSE_S = 0.01


def packaged(repository: Path, *seeds: int) -> Path:
    """Package a version of the model for each seed, and return the repository."""
    for seed in seeds:
        path = repository.with_name(f"{repository.name}-{seed}.onnx")
        onnx.save(tiny.classifier(seed=seed), path)
        package(Source.onnx(path), model=MODEL, repository=repository, progress=lambda _: None)
    return repository


@attrs.frozen(kw_only=True)
class Scene:
    """What is on the disk, over every start.

    Attributes:
        root: Holds everything.
        runtime: The server's.
    """

    root: Path
    runtime: Runtime

    @property
    def repository(self) -> Path:
        """The repository that is served: versions 1 and 2."""
        return self.root / "models"

    @property
    def store(self) -> Store:
        """The model store."""
        return Store(Folder(self.root / "store"))

    @property
    def folders(self) -> Folders:
        """The agent's."""
        return Folders(work=self.root / "agent" / "work", served=self.root / "agent" / "served")

    @classmethod
    def made(cls, root: Path, runtime: Runtime) -> "Scene":
        """Package versions 1 and 2 to be served, and publish 3 and 4, which only the store has."""
        scene = cls(root=root, runtime=runtime)
        packaged(scene.repository, 1, 2)
        (root / "store").mkdir()
        laptop = packaged(root / "laptop", 1, 2, 3, 4)
        for number in (3, 4):
            publish(laptop, scene.store, model=MODEL, version=number, progress=lambda *_: None)
        return scene

    def publish_spoilt(self, number: int, spoil: Callable[[Path], None]) -> None:
        """Publish version 3 once more under *number*, after *spoil* was done to its folder."""
        folder = self.root / "laptop" / MODEL
        target = folder / str(number)
        target.mkdir()
        for path in (folder / "3").iterdir():
            (target / path.name).write_bytes(path.read_bytes())
        spoil(target)
        shared = files.scan(folder, frozenset({"config.pbtxt"}))
        made = StoredVersion(model=MODEL, version=number, files=files.scan(target), shared=shared)
        self.store.publish(made, folder, lambda _: None)

    def agent_pid(self) -> int:
        """Return the agent's process."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:
                continue
            if f"--work={self.folders.work}".encode() in words and words[1:3] == [b"-m", b"scripts.agent"]:
                return int(path.parent.name)
        raise AssertionError("there is no agent")

    @contextlib.contextmanager
    def started(self) -> Iterator["Served"]:
        """Start server and agent, wait until all is served, and end both."""
        port = free_beside(AGENT_OFFSET)
        loaded = settings.load(self.root, environ={"MODEL_STORE": f"file://{self.root / 'store'}"})
        said: list[str] = []
        with self.folders.taken(self.repository) as folders:
            args = ("--model-control-mode=explicit",)
            with LocalTriton(folders.served, runtime=self.runtime, http_port=port, args=args) as server:
                command = agent_command(
                    self.repository, folders, loaded=loaded, port=port + AGENT_OFFSET, gpu=False, server=server
                )
                with Agent(command, port=port + AGENT_OFFSET, progress=said.append) as agent:
                    agent.wait_ready(alive=lambda: True)
                    yield Served(self, server, OneServer.parse(f"127.0.0.1:{port}"), said)


@attrs.frozen
class Served:
    """A server that runs.

    Attributes:
        scene: What is on the disk.
        server: The server.
        target: How the tasks reach it.
        said: What the agent printed.
    """

    scene: Scene
    server: LocalTriton
    target: OneServer
    said: list[str]

    def state(self) -> State:
        """Return what the agent says."""
        return self.target.state()

    def phase(self, version: int) -> str | None:
        """Return what happens to a planned version; None while the agent does not know it."""
        one = self.state().models[MODEL].versions.get(version)
        return one.phase if one else None

    def versions(self) -> set[int]:
        """Return the versions that are served."""
        return {number for number, one in self.state().models[MODEL].versions.items() if one.phase == "serving"}

    def post(self, *serve: int, candidate: int | None = None) -> None:
        """Give the agent a plan, without waiting."""
        was = self.state()
        part = ModelPlan(serve=serve, candidate=candidate)
        self.target.follow(Plan(models={MODEL: part}, generation=was.plan.generation + 1), after=was.plan.generation)

    def settle(self, *serve: int) -> None:
        """Serve just these versions."""
        self.post(*serve)
        wait_until(lambda: self.versions() == set(serve), within_s=60)

    def promote(self, version: int, *, timeout_s: float = 90.0) -> Outcome:
        """Promote a version as `invoke promote` does."""
        was = self.state()
        return self.roll(was, change.promoted(was, MODEL, version, keep=1, digest=None), timeout_s=timeout_s)

    def rollback(self, *, to: int | None = None) -> Outcome:
        """Roll back as `invoke rollback` does."""
        was = self.state()
        return self.roll(was, change.rolled_back(was, MODEL, to=to))

    def roll(self, was: State, plan: Plan, *, timeout_s: float = 90.0) -> Outcome:
        """Let the server follow *plan*, and put everything back if it cannot."""
        return Roll(target=self.target, model=MODEL, was=was, timeout_s=timeout_s, progress=lambda _: None).to(plan)

    @contextlib.contextmanager
    def called(self) -> Iterator["Callers"]:
        """Call from eight threads, four with the SDK and four with tritonclient, until the block ends."""
        callers = Callers(self.server.grpc_url)
        callers.start()
        try:
            yield callers
        finally:
            callers.stop()


class Callers:
    """Threads that ask the model and name no version."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._ended = threading.Event()
        self._answers: queue.SimpleQueue[tuple[float, int]] = queue.SimpleQueue()
        self.failures: list[str] = []
        work = [self._with_sdk] * 4 + [self._raw] * 4
        self._threads = [threading.Thread(target=self._until_ended, args=(one,), daemon=True) for one in work]

    def start(self) -> None:
        """Begin to call, and wait for the first answers."""
        for thread in self._threads:
            thread.start()
        wait_until(lambda: self._answers.qsize() >= len(self._threads) or bool(self.failures), within_s=60)

    def stop(self) -> None:
        """End all calls."""
        self._ended.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def answers(self) -> list[tuple[float, int]]:
        """Return when each answer since the last time was asked for, on the monotonic clock, and its version."""
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._answers.get_nowait())
        return found

    def _until_ended(self, work: Callable[[Callable[[Callable[[], int]], None]], None]) -> None:
        def call(ask: Callable[[], int]) -> None:
            begun = time.monotonic()
            try:
                self._answers.put((begun, ask()))
            except Exception as error:  # every failure counts
                self.failures.append(repr(error))
            time.sleep(_PAUSE_S)

        work(call)

    def _with_sdk(self, call: Callable[[Callable[[], int]], None]) -> None:
        with ResNetClient(self._url, model=MODEL) as client:
            while not self._ended.is_set():
                call(lambda: int(client.predict(PIXELS).model_version))

    def _raw(self, call: Callable[[Callable[[], int]], None]) -> None:
        with raw.InferenceServerClient(self._url) as client:
            sent = raw.InferInput("image", [1, 8, 8, 3], "UINT8")
            sent.set_data_from_numpy(PIXELS[None])

            def ask() -> int:
                answer: Any = client.infer(MODEL, [sent], client_timeout=20)
                return int(answer.get_response().model_version)

            while not self._ended.is_set():
                call(ask)
