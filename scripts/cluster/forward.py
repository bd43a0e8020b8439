"""Ports of this machine that lead to a pod, kept working by watching kubectl and starting it again when it breaks."""

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from scripts.cluster.kubectl import Kubectl
from scripts.cluster.pods import Pod, parse_pods, ready_pod
from scripts.cluster.says import ClusterFailure, explain
from scripts.host import shell
from scripts.host.errors import TaskFailure
from scripts.host.secret import Secret
from scripts.host.shell import Command, Running
from scripts.server.endpoint import Endpoint

LOOPBACK = "127.0.0.1"
HTTP, GRPC, METRICS = 8000, 8001, 8002
PORTS = (HTTP, GRPC, METRICS)
# How long kubectl may take to listen, in seconds.
START_S = 30.0
# How often the server is asked whether it lives. That also keeps load balancers from ending an idle connection.
LOOK_S = 2.0
# A busy server may miss one.
MISSES = 3
# So long is a broken connection tried again before it is given up.
PATIENCE_S = 60.0
PAUSE_S = 0.5
_LISTENS = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) -> (\d+)")
# Some releases of kubectl say this and then run on without forwarding anything.
_LOST = "lost connection to pod"

Starter = Callable[[Command], Running]


class Forwarding:
    """A port-forward to one pod, started again when it breaks; see :func:`forward`.

    Attributes:
        pod: The pod that it leads to now.
        ports: The port here, by the port of the pod.
        restarts: How often kubectl was started again.
        trouble: Why it was given up; empty as long as it is not.
    """

    def __init__(
        self,
        kubectl: Kubectl,
        subject: str,
        ports: Sequence[int],
        *,
        progress: Callable[[str], None],
        patience_s: float,
        start: Starter,
        lives: Callable[[Endpoint], bool],
    ) -> None:
        self.pod = ""
        self.ports: Mapping[int, int] = dict.fromkeys(ports, 0)
        self.restarts = 0
        self.trouble = ""
        self._kubectl = kubectl
        self._subject = subject
        self._progress = progress
        self._patience_s = patience_s
        self._start = start
        self._lives = lives
        self._stopping = threading.Event()
        self._broken = threading.Event()
        self._running: Running | None = None
        self._watcher = threading.Thread(target=self._watch, name=f"port-forward to {subject}")

    def endpoint(self, headers: Mapping[str, Secret] | None = None) -> Endpoint:
        """Return the addresses of the server here; *headers* go along with every HTTP request."""
        return Endpoint(
            http=f"http://{LOOPBACK}:{self.ports.get(HTTP, 0)}",
            grpc=f"{LOOPBACK}:{self.ports.get(GRPC, 0)}",
            metrics=f"http://{LOOPBACK}:{self.ports.get(METRICS, 0)}/metrics",
            headers=headers or {},
        )

    def open(self) -> None:
        """Start it and wait until the server answers.

        Raises:
            TaskFailure: If it cannot be started, or no answer comes.
        """
        deadline = time.monotonic() + self._patience_s
        running = self._first(deadline)
        while HTTP in self.ports and not self._lives(self.endpoint()):
            if time.monotonic() > deadline or running.poll() is not None:
                raise TaskFailure(
                    f"Pod {self.pod} gives no answer on /v2/health/live through a port-forward. "
                    f"What it says:\n  {self._kubectl.command('logs', self.pod, '--tail=50')}"
                )
            self._stopping.wait(PAUSE_S)
        self._watcher.start()

    def mended(self, restarts: int) -> bool:
        """Say whether it broke since it had been started again *restarts* times; if so, wait until it works again."""
        self._broken.wait(PAUSE_S)  # what fails may be seen before its cause
        while self._broken.is_set() and not self.trouble:
            self._stopping.wait(PAUSE_S)
        return self.restarts > restarts and not self.trouble

    def close(self) -> None:
        """End it, with everything that it started."""
        self._stopping.set()
        if self._running is not None:
            self._running.stop()
        if self._watcher.is_alive():
            self._watcher.join()

    def _first(self, deadline: float) -> Running:
        """Start it, and again while the API is away for a moment."""
        while True:
            try:
                return self._launch()
            except ClusterFailure as error:
                if error.cause != "passing" or time.monotonic() > deadline:
                    raise
            self._stopping.wait(PAUSE_S)

    def _launch(self) -> Running:
        pod = choose(self._kubectl, self._subject)
        wanted = [f"{here or ''}:{there}" for there, here in self.ports.items()]
        command = self._kubectl.command("port-forward", f"pod/{pod}", *wanted, f"--address={LOOPBACK}")
        running = self._running = self._start(command)
        try:
            # After the assignment: either this sees that all shall end, or `close` sees what has just been started.
            if self._stopping.is_set():
                raise TaskFailure("The port-forward is ending.")
            self.ports = _listening(running, self.ports, pod=pod)
        except BaseException:
            running.stop()
            raise
        self.pod = pod
        return running

    def _watch(self) -> None:
        misses = 0
        while not self._stopping.is_set():
            broken = self._ended_within(LOOK_S)
            if not broken and HTTP in self.ports:
                misses = 0 if self._lives(self.endpoint()) else misses + 1
                broken = "the server does not answer" if misses >= MISSES else ""
            if broken and not self._stopping.is_set():
                misses = 0
                self._broken.set()
                self._progress(f"The port-forward to {self.pod} broke ({broken}); starting it again")
                if not self._relaunch():
                    return
                self._broken.clear()

    def _ended_within(self, seconds: float) -> str:
        """Follow what kubectl prints for so long, and return why it is of no more use, or nothing."""
        assert self._running is not None
        deadline, last = time.monotonic() + seconds, ""
        while (left := deadline - time.monotonic()) > 0:
            try:
                line = self._running.line(timeout_s=left)
            except TimeoutError:
                break
            if line is None:
                return last or f"kubectl ended with status {self._running.poll()}"
            if _LOST in line:
                return _LOST
            last = line
        return ""

    def _relaunch(self) -> bool:
        """Start it again on the same ports; say whether that went well before patience or the block came to an end."""
        assert self._running is not None
        deadline = time.monotonic() + self._patience_s
        while not self._stopping.is_set():
            self._running.stop()
            try:
                self._launch()
            except TaskFailure as error:
                # A pod that is gone does not come back under its name.
                gone = isinstance(error, ClusterFailure) and error.cause == "not found"
                if gone or time.monotonic() > deadline:
                    self.trouble = f"The port-forward to {self.pod} broke and could not be started again. {error}"
                    return False
                self._stopping.wait(PAUSE_S)
            else:
                self.restarts += 1
                return True
        return False


def is_live(endpoint: Endpoint) -> bool:
    """Say whether the server at *endpoint* answers."""
    try:
        return endpoint.get("/v2/health/live", timeout_s=5).status == 200
    except TaskFailure:
        return False


@contextlib.contextmanager
def forward(
    kubectl: Kubectl,
    subject: str,
    ports: Sequence[int] = PORTS,
    *,
    progress: Callable[[str], None],
    patience_s: float = PATIENCE_S,
    start: Starter = shell.start,
    lives: Callable[[Endpoint], bool] = is_live,
) -> Iterator[Forwarding]:
    """Give free ports of this machine that lead to a pod.

    They stay the same for as long as the block runs: kubectl is started again when it ends, loses its connection or
    forwards to no living server. kubectl ends with the block.

    Args:
        kubectl: The cluster and the namespace.
        subject: ``pod/NAME``, or ``svc/NAME`` for a ready pod of that Service, and for another one when that is gone.
        ports: The ports of the pod.
        progress: Takes a line for each restart.
        patience_s: How long a broken connection is tried again before it is given up.
        start: Starts kubectl.
        lives: Says whether a server answers.

    Raises:
        TaskFailure: If there is no such pod, none is ready, or it may not be reached; the message says what to do.
    """
    forwarding = Forwarding(kubectl, subject, ports, progress=progress, patience_s=patience_s, start=start, lives=lives)
    try:
        forwarding.open()
        yield forwarding
    finally:
        forwarding.close()


def choose(kubectl: Kubectl, subject: str) -> str:
    """Return the name of the pod that *subject*, ``pod/NAME`` or ``svc/NAME``, stands for.

    Raises:
        TaskFailure: If there is none that can be used.
    """
    kind, _, name = subject.partition("/")
    if kind == "pod":
        pod = Pod.parse(kubectl.json("get", "pod", name, doing=f"find the pod {name} in {kubectl.namespace}"))
        if not pod.running or pod.leaving:
            raise TaskFailure(f"Pod {name} does not run: {pod.reason or pod.phase}.")
        return name
    service = kubectl.json("get", "service", name, doing=f"find the service {name} in {kubectl.namespace}")
    selector = ",".join(f"{key}={value}" for key, value in sorted((service["spec"].get("selector") or {}).items()))
    if not selector:
        raise TaskFailure(f"Service {name} in {kubectl.namespace} selects no pods: is it the service of a deployment?")
    return ready_pod(parse_pods(kubectl.json("get", "pods", f"--selector={selector}")), of=f"Service {name}").name


def _listening(running: Running, ports: Mapping[int, int], *, pod: str) -> Mapping[int, int]:
    """Read from kubectl's output which ports it listens on."""
    found: dict[int, int] = {}
    said: list[str] = []
    deadline = time.monotonic() + START_S
    while found.keys() != ports.keys():
        try:
            line = running.line(timeout_s=max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            raise TaskFailure(f"kubectl port-forward did not listen within {START_S:g} s.") from None
        if line is None:
            raise _refused("\n".join(said), ports, pod=pod)
        said.append(line)
        if listens := _LISTENS.match(line):
            found[int(listens[2])] = int(listens[1])
    return {port: found[port] for port in ports}


def _refused(said: str, ports: Mapping[int, int], *, pod: str) -> TaskFailure:
    if "unable to listen on" in said:
        taken = ", ".join(str(here) for here in ports.values() if here) or "any"
        return TaskFailure(f"Another program took a port of {LOOPBACK} that kubectl forwards ({taken}). Try again.")
    return explain(said, doing=f"forward ports to pod {pod}")
