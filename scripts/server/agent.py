"""The agent beside a local Triton: a process of its own, which makes that server serve the versions of a plan."""

import contextlib
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import attrs
import filelock

from scripts.agent.plans import PLAN
from scripts.agent.traffics import TRAFFIC
from scripts.host import settings
from scripts.host.errors import TaskFailure
from scripts.host.secret import Secret
from scripts.host.settings import Settings
from scripts.host.shell import Command, Running, start
from scripts.server.endpoint import Endpoint
from triton_sdk.local import LocalTriton

# What boto3 looks for, by name; the agent is a process of its own, and reads no `.env`.
_FOR_THE_STORE = (
    *("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("AWS_REGION", "AWS_ENDPOINT_URL", "MODEL_STORE"),
)
_POLL_S = 0.1
# So long may nothing change at a start before it is given up.
_STILL_S = 120.0
# An agent that ended by itself is started again after so long, in seconds.
_PAUSE_S = 1.0


@attrs.frozen(kw_only=True)
class Folders:
    """Where the agent of one repository works.

    Attributes:
        work: What it fetched, and the plan that it follows.
        served: What Triton serves, on the same file system.
    """

    work: Path
    served: Path

    @classmethod
    def of(cls, repository: Path) -> Self:
        """Return the folders that belong to *repository*, always the same ones."""
        root = settings.served_folder(repository)
        return cls(work=root / "work", served=root / "served")

    @contextlib.contextmanager
    def taken(self, repository: Path) -> Iterator[Self]:
        """Keep other servers off these folders, and begin with an empty one to serve.

        Raises:
            TaskFailure: If another server has them, or they cannot be made.
        """
        root = self.work.parent
        try:
            root.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(root.with_suffix(".lock"), timeout=0):
                shutil.rmtree(self.served, ignore_errors=True)
                for folder in (self.work, self.served):
                    folder.mkdir(parents=True, exist_ok=True)
                try:
                    yield self
                finally:
                    # What was promoted is served by the next start too; if nothing was, nothing needs to be kept.
                    kept = (self.work / PLAN).exists() or any((self.work / TRAFFIC).glob("*.json"))
                    shutil.rmtree(self.served if kept else root, ignore_errors=True)
        except filelock.Timeout:
            raise TaskFailure(
                f"Another `invoke serve` serves {repository} already. End it first, or give this one another folder "
                "with --repository."
            ) from None
        except OSError as error:
            raise TaskFailure(f"{self.work}: {error.strerror or error}.") from error


def free_beside(*offsets: int) -> int:
    """Return a free port of loopback whose neighbours at *offsets* are free too."""
    while True:
        with (
            contextlib.suppress(OSError, OverflowError),
            contextlib.ExitStack() as held,
            socket.create_server(("127.0.0.1", 0)) as one,
        ):
            port: int = one.getsockname()[1]
            for offset in offsets:
                held.enter_context(socket.create_server(("127.0.0.1", port + offset)))
            return port


def agent_command(
    repository: Path, folders: Folders, *, loaded: Settings, port: int, gpu: bool, server: LocalTriton
) -> Command:
    """Return the command of the agent that listens on *port* beside *server*, which runs."""
    http, metrics = (urlsplit(url).port for url in (server.http_url, server.metrics_url))
    env: dict[str, str | Secret] = {}
    for name in _FOR_THE_STORE:
        if (value := loaded.secrets.get(name) or loaded.get(name)) is not None:
            env[name] = value
    return Command(
        (
            sys.executable, "-m", "scripts.agent", f"--image={repository.resolve()}", f"--served={folders.served}",
            f"--work={folders.work}", f"--port={port}", f"--http-port={http}", f"--metrics-port={metrics}",
            "--open", *(["--config-name=gpu"] if gpu else []),
        ),
        env=env,
        cwd=settings.ROOT,
    )  # fmt: skip


class Agent:
    """An agent that runs beside a local Triton and ends with this process; a context manager.

    If it ends by itself, it is started again: what it knows lies in its folders.

    Args:
        command: What starts it.
        port: Where it listens.
        progress: Called with each line that it prints.
    """

    def __init__(self, command: Command, *, port: int, progress: Callable[[str], None]) -> None:
        self._command = command
        self._api = Endpoint.parse(f"127.0.0.1:{port}")
        self._progress = progress
        self._last_words: str | None = None
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._running: Running | None = None
        self._thread = threading.Thread(target=self._keep_running, name="agent", daemon=True)

    @property
    def url(self) -> str:
        """Where it listens: ``"http://127.0.0.1:8003"``."""
        return self._api.http

    def state(self) -> Mapping[str, Any]:
        """Return what it knows; nothing while it does not answer."""
        try:
            return self._api.get("/v1/state").body
        except TaskFailure:
            return {}

    def wait_ready(self, *, alive: Callable[[], bool]) -> None:
        """Wait until every model answers and each version is served or has failed, or the server ends.

        Args:
            alive: Says whether the server still runs.

        Raises:
            TaskFailure: If the agent ends, no version of a model can be served, or nothing happens for long.
        """
        seen: Any = None
        changed = time.monotonic()
        while alive():
            if self._last_words is not None:
                raise TaskFailure(f"The agent that loads the versions ended: {self._last_words}")
            state = self.state()
            models: dict[str, Any] = state.get("models", {})
            phases = {one["phase"] for model in models.values() for one in model["versions"].values()}
            if models and state["problem"] is None and phases <= {"serving", "failed"}:
                return
            for name, model in models.items():
                if model["fault"] or {one["phase"] for one in model["versions"].values()} == {"failed"}:
                    raise TaskFailure(f"No version of {name} can be served: {model['fault'] or state['problem']}.")
            now = [
                (name, one["phase"], one["fetched_bytes"])
                for m in models.values()
                for name, one in m["versions"].items()
            ]
            if now != seen:
                seen, changed = now, time.monotonic()
            if time.monotonic() - changed > _STILL_S:
                raise TaskFailure(f"Nothing has happened for {_STILL_S:.0f} s: {state.get('problem') or 'no answer'}.")
            time.sleep(_POLL_S)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        with self._lock:
            running = self._running
        if running is not None:
            running.stop()
        self._thread.join()

    def _keep_running(self) -> None:
        while not self._ended.is_set():
            with self._lock:
                self._running = running = start(self._command)
            last = "it said nothing"
            while not self._ended.is_set():
                try:
                    line = running.line(timeout_s=1.0)
                except TimeoutError:
                    continue
                if line is None:
                    break
                last = line.removeprefix("agent: ")
                self._progress(last)
            running.stop()
            self._last_words = last
            if not self._ended.wait(_PAUSE_S):
                self._progress("The agent ended by itself; starting it again")
