"""Start and stop a real Triton on this machine."""

import http.client
import json
import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import attrs

from triton_sdk.errors import LocalServerError
from triton_sdk.local import _logs
from triton_sdk.local._checks import check_repository, check_shared_memory, model_choice, usable
from triton_sdk.local._driver import gpu_choice
from triton_sdk.local._ports import LOOPBACK, Ports
from triton_sdk.local._runtime import Progress, Runtime, provision

SUPERVISOR = Path(__file__).with_name("_supervisor.py")
# An idle keep-alive connection holds the server's exit for as long.
EXIT_TIMEOUT_S = 3
# Until it is killed: the exit timeout, and the time that the server takes to close.
GRACE_S = EXIT_TIMEOUT_S + 5
POLL_S = 0.03
# How often new free ports are chosen when another program was quicker.
PORT_TRIES = 5
ERROR_LINES = 12


@attrs.define
class _Process:
    """A server under its supervisor."""

    supervisor: subprocess.Popen[bytes]
    pid: int
    ports: Ports
    identity: str
    log: IO[bytes]

    def text(self) -> str:
        # Triton writes through the same open file, whose position must stay where it is.
        return os.pread(self.log.fileno(), os.fstat(self.log.fileno()).st_size, 0).decode(errors="replace")


class LocalTriton:
    """A Triton server that serves a model repository on the loopback interface; a context manager.

    It needs no GPU, no container and no rights. It ends with this process, however that ends. An argument that cannot
    be used is a ConfigurationError.

    On GPUs a model is served by its ``configs/gpu.pbtxt`` where it has one, elsewhere by its ``config.pbtxt``. One
    without a version is left out, unless *args* say which are loaded.

    Args:
        repository: The model repository. Configurations must be complete: nothing is filled in by the server.
        http_port: 0 for any free one; likewise the other two.
        grpc_port: The port for gRPC.
        metrics_port: The port for Prometheus metrics.
        args: More arguments for ``tritonserver``.
        start_timeout: Longest wait until all models are ready, in seconds.
        progress: Called with a line for each stage.
        runtime: An installed runtime; :func:`provision` is asked where None.
        gpu: Whether to serve on NVIDIA's GPUs.
    """

    def __init__(
        self,
        repository: str | os.PathLike[str],
        *,
        http_port: int = 0,
        grpc_port: int = 0,
        metrics_port: int = 0,
        args: Sequence[str] = (),
        start_timeout: float = 120.0,
        progress: Progress = lambda _: None,
        runtime: Runtime | None = None,
        gpu: bool = False,
    ) -> None:
        self._repository, self._args, self._start_timeout = usable(repository, args, start_timeout)
        self._wanted = Ports(http=http_port, grpc=grpc_port, metrics=metrics_port)
        self._progress = progress
        self._runtime = runtime
        self._gpu = gpu
        self._process: _Process | None = None
        self._last_log = ""

    @property
    def http_url(self) -> str:
        """Where HTTP is served: ``"http://127.0.0.1:8000"``."""
        return f"http://{LOOPBACK}:{self._running.ports.http}"

    @property
    def grpc_url(self) -> str:
        """Where gRPC is served: ``"127.0.0.1:8001"``."""
        return f"{LOOPBACK}:{self._running.ports.grpc}"

    @property
    def metrics_url(self) -> str:
        """Where Prometheus metrics are served."""
        return f"http://{LOOPBACK}:{self._running.ports.metrics}/metrics"

    @property
    def pid(self) -> int:
        """The process id of ``tritonserver``."""
        return self._running.pid

    def start(self) -> Self:
        """Start the server and wait until all its models are ready.

        Raises:
            LocalServerError: If it cannot be installed or started, or a model does not load.
        """
        if self._process is not None:
            raise LocalServerError("This local Triton is already running.")
        check_repository(self._repository, self._args, progress=self._progress)
        runtime = self._runtime or provision(progress=self._progress, gpu=self._gpu)
        check_shared_memory(self._repository, progress=self._progress)
        for attempt in range(1, PORT_TRIES + 1):
            self._progress(f"Starting Triton on {self._repository}")
            try:
                self._process = self._launch(runtime)
                self.wait_ready(self._start_timeout)
            except BaseException as error:
                self.stop()
                lost = isinstance(error, LocalServerError) and _logs.taken_address(self._last_log)
                if not lost or self._wanted.fixed or attempt == PORT_TRIES:
                    raise
                self._progress(f"Another program was quicker to take {lost}; choosing other ports")
            else:
                break
        self._progress(f"Ready: HTTP {self.http_url}, gRPC {self.grpc_url}, metrics {self.metrics_url}")
        return self

    def stop(self) -> None:
        """End the server and everything that it started; nothing happens if it does not run.

        Requests in flight are answered first, for a few seconds at most.
        """
        process, self._process = self._process, None
        if process is None:
            return
        if process.supervisor.stdin is not None:
            process.supervisor.stdin.close()
        # Should a fork of this process hold the pipe open, the signal tells.
        process.supervisor.terminate()
        try:
            process.supervisor.wait(GRACE_S + 10)
        except subprocess.TimeoutExpired:
            process.supervisor.kill()
            process.supervisor.wait()
        finally:
            self._last_log = process.text()
            process.log.close()

    def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until the server and all its models are ready, for *timeout* seconds at most.

        Raises:
            LocalServerError: If the server ends, a model fails to load, or the time is up.
        """
        process = self._running
        timeout = self._start_timeout if timeout is None else timeout
        deadline = time.monotonic() + timeout
        while not self._ready(process):
            if process.supervisor.poll() is not None:
                raise LocalServerError(
                    self._explain(process, f"Triton ended with status {process.supervisor.returncode}")
                )
            if time.monotonic() > deadline:
                raise LocalServerError(self._explain(process, f"Triton was not ready after {timeout:g} s"))
            time.sleep(POLL_S)

    def wait(self) -> None:
        """Wait as long as the server runs, which it does until `stop` is called or something goes wrong.

        Raises:
            LocalServerError: If it ends by itself; the message has its last words.
        """
        process = self._running
        status = process.supervisor.wait()
        if self._process is process:
            raise LocalServerError(self._explain(process, f"Triton ended with status {status}"))

    def log_tail(self, lines: int = 20) -> str:
        """Return the last *lines* of the server's log, of its last run if it has ended."""
        text = self._last_log if self._process is None else self._process.text()
        return "\n".join(text.splitlines()[-lines:])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _running(self) -> _Process:
        if self._process is None:
            raise LocalServerError("This local Triton is not running: call start(), or use it in a with statement.")
        return self._process

    def _launch(self, runtime: Runtime) -> _Process:
        ports = self._wanted.chosen()
        identity = f"triton-sdk-{secrets.token_hex(6)}"
        variables = [f"{name}={value}" for name, value in runtime.variables.items()]
        command = ["env", "-u", "PYTHONHOME", *variables, *self._command(runtime, ports, identity)]
        report, write = os.pipe()
        # It has no name, so that nothing needs to remove it.
        log = tempfile.TemporaryFile()  # noqa: SIM115 - stop() closes it
        try:
            supervisor = subprocess.Popen(
                [str(runtime.python), "-I", "-S", str(SUPERVISOR), identity, str(GRACE_S), str(write), *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[write],
                # Out of reach of the terminal's Ctrl-C: this process decides when the server ends.
                start_new_session=True,
            )
        except BaseException:
            os.close(report)
            log.close()
            raise
        finally:
            os.close(write)
        # Should this be interrupted, the object that holds the pipe goes, and the server with it.
        with os.fdopen(report) as stream:
            pid = stream.readline().strip()
        return _Process(supervisor, int(pid or -1), ports, identity, log)

    def _command(self, runtime: Runtime, ports: Ports, identity: str) -> list[str]:
        options = {
            "model-repository": self._repository,
            "backend-directory": runtime.backends,
            "http-address": LOOPBACK,
            "grpc-address": LOOPBACK,
            "metrics-address": LOOPBACK,
            "http-port": ports.http,
            "grpc-port": ports.grpc,
            "metrics-port": ports.metrics,
            "exit-timeout-secs": EXIT_TIMEOUT_S,
            # Tells this server from one that has taken its port.
            "id": identity,
            # All Python-based backends read the setting of the one called python.
            "backend-config": f"python,shm-region-prefix-name={identity}",
        }
        given = [f"--{name}={value}" for name, value in options.items()]
        given.extend(gpu_choice(self._repository) if self._gpu else ())
        given.extend(model_choice(self._repository, self._args))
        return [str(runtime.server), *given, "--disable-auto-complete-config", *self._args]

    def _ready(self, process: _Process) -> bool:
        """Return whether all is ready; raise if it never will be."""
        try:
            status, body = _ask(process.ports.http, "GET", "/v2")
            if status != 200 or json.loads(body).get("name") != process.identity:
                return False
            if _ask(process.ports.http, "GET", "/v2/health/ready")[0] == 200:
                # The metrics service is the last to start, and its port may yet turn out to be taken.
                return any("allow-metrics" in arg for arg in self._args) or (
                    _ask(process.ports.metrics, "GET", "/metrics")[0] == 200
                )
            _, index = _ask(process.ports.http, "POST", "/v2/repository/index")
            failed = _logs.unavailable(json.loads(index))
        except (OSError, http.client.HTTPException, ValueError):
            return False
        if failed:
            raise LocalServerError(_list_failures(failed))
        return False

    def _explain(self, process: _Process, what: str) -> str:
        log = process.text()
        if failures := _logs.load_failures(log):
            what = f"{what}. {_list_failures(failures)}"
        if address := _logs.taken_address(log):
            what = f"{what}: another program listens on {address}"
        shown = "\n  ".join(line[:500] for line in _logs.relevant(log, lines=ERROR_LINES))
        return f"{what}\nThe last relevant lines of its log:\n  {shown or '(none)'}"


def _list_failures(failures: Sequence[_logs.LoadFailure]) -> str:
    return "Triton could not load " + "; ".join(map(str, failures))


def _ask(port: int, method: str, path: str) -> tuple[int, bytes]:
    """Send one request on a connection of its own, and return status and body; no proxy is asked."""
    connection: Any = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
