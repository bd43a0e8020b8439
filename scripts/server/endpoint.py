"""Where a Triton server listens, and its HTTP side: KServe v2 as JSON, and Prometheus metrics."""

import http.client
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self

import attrs
import urllib3

from scripts.host.errors import TaskFailure
from scripts.host.secret import Secret
from scripts.host.settings import Settings, server

if TYPE_CHECKING:  # who reads no metrics needs no prometheus_client
    from prometheus_client.samples import Sample

HTTP_PORT = 8000
# Triton's own defaults: HTTP 8000, gRPC 8001, metrics 8002; the agent beside it comes next.
GRPC_OFFSET, METRICS_OFFSET, AGENT_OFFSET = 1, 2, 3
# An answer with every probability of 32 images and a thousand classes has less than one.
_MOST_BYTES = 64 << 20


@attrs.frozen(kw_only=True)
class Answer:
    """An HTTP answer.

    Attributes:
        status: The HTTP status.
        body: The parsed JSON, ``{}`` where there is none.
    """

    status: int
    body: Mapping[str, Any]

    def __str__(self) -> str:
        return f"HTTP {self.status} {self.body.get('error', '')}".rstrip()


@attrs.frozen(kw_only=True)
class Endpoint:
    """The addresses of one server.

    Attributes:
        http: Base of the HTTP API: ``http://HOST:PORT``.
        grpc: Target of the gRPC API: ``HOST:PORT``.
        metrics: The Prometheus page: ``http://HOST:PORT/metrics``.
        headers: What goes along with every request to the HTTP API, such as the key of a restricted one.
    """

    http: str
    grpc: str
    metrics: str
    headers: Mapping[str, Secret] = attrs.field(factory=dict)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Make the addresses from ``HOST`` or ``HOST:HTTP_PORT``; the other two ports are the next ones.

        Raises:
            TaskFailure: If *url* is neither.
        """
        if wrong := server(url.strip()):
            raise TaskFailure(f"The address {url.rpartition('@')[2]!r} {wrong}.")
        # Without the slashes "localhost:8000" reads as scheme and path.
        parts = urllib3.util.parse_url(url if "://" in url else f"//{url}")
        port = parts.port or HTTP_PORT
        return cls(
            http=f"http://{parts.host}:{port}",
            grpc=f"{parts.host}:{port + GRPC_OFFSET}",
            metrics=f"http://{parts.host}:{port + METRICS_OFFSET}/metrics",
        )

    def get(self, path: str, *, timeout_s: float = 10.0) -> Answer:
        """Ask ``GET path``.

        Raises:
            TaskFailure: If no answer comes.
        """
        return self._ask("GET", path, None, timeout_s)

    def post(self, path: str, body: bytes, *, timeout_s: float = 60.0) -> Answer:
        """Send *body*, JSON, to *path*.

        Raises:
            TaskFailure: If no answer comes.
        """
        return self._ask("POST", path, body, timeout_s)

    def counters(self, *, timeout_s: float = 10.0) -> "Counters":
        """Read the metrics page.

        Raises:
            TaskFailure: If no answer comes or it is no metrics page.
        """
        status, data = _request("GET", self.metrics, None, timeout_s, {})
        if status != 200:
            raise TaskFailure(f"{self.metrics} answered HTTP {status}: does the server allow metrics?")
        return Counters(text=data.decode("utf-8", "replace"))

    def _ask(self, method: str, path: str, body: bytes | None, timeout_s: float) -> Answer:
        headers = {name: value.reveal() for name, value in self.headers.items()}
        status, data = _request(method, self.http + path, body, timeout_s, headers)
        try:
            parsed = json.loads(data) if data else {}
        except (ValueError, RecursionError):
            parsed = {"error": data[:200].decode("utf-8", "replace")}
        # The repository index answers a list.
        return Answer(status=status, body=parsed if isinstance(parsed, dict) else {"items": parsed})


def choose(*, local: bool, url: str, cluster: bool, settings: Settings) -> Endpoint | Literal["local", "cluster"]:
    """Return which server is meant: one that runs somewhere, a new one on this machine, or those in the cluster.

    Args:
        local: Whether --local is given.
        url: What --url says; empty where it is not given.
        cluster: Whether a flag is given that only a deployment in a cluster has.
        settings: Say with TRITON_URL what is meant where no flag is given; the cluster, if that is not set either.

    Raises:
        TaskFailure: If the flags contradict each other, an address is none, or the settings cannot be used.
    """
    if local + bool(url) + cluster > 1:
        raise TaskFailure(
            "--local starts a server here, --url names one that runs, and --all-pods, --release, --namespace and "
            "--context mean the cluster: give one of the three."
        )
    if local:
        return "local"
    address = url or (None if cluster else settings.get("TRITON_URL"))
    return Endpoint.parse(address) if address else "cluster"


@attrs.frozen(kw_only=True)
class Counters:
    """One reading of a server's Prometheus page.

    Attributes:
        text: The page.
    """

    text: str

    @cached_property
    def _all(self) -> list["Sample"]:
        """Every sample; the page is parsed once, however much is asked of it."""
        from prometheus_client.parser import text_string_to_metric_families

        return [sample for family in text_string_to_metric_families(self.text) for sample in family.samples]

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of every sample of *name* that carries *labels*."""
        return sum(self.samples(name, **labels))

    def versions(self, name: str) -> list[tuple[str, str]]:
        """Return the model and version of every sample of *name*."""
        found = [sample.labels for sample in self._named(name)]
        return sorted(
            {(labels["model"], labels["version"]) for labels in found if {"model", "version"} <= labels.keys()}
        )

    def samples(self, name: str, **labels: str) -> list[float]:
        """Return every sample of *name* that carries *labels*."""
        return [sample.value for sample in self._named(name) if labels.items() <= sample.labels.items()]

    def by(self, label: str, name: str, **labels: str) -> dict[str, list[float]]:
        """Return the samples of *name* that carry *labels*, by what they have in *label*."""
        found: dict[str, list[float]] = {}
        for sample in self._named(name):
            if label in sample.labels and labels.items() <= sample.labels.items():
                found.setdefault(sample.labels[label], []).append(sample.value)
        return found

    def _named(self, name: str) -> Iterator["Sample"]:
        # The parser gives counters the suffix that OpenMetrics asks for.
        return (sample for sample in self._all if sample.name.removesuffix("_total") == name)


def _request(
    method: str, url: str, body: bytes | None, timeout_s: float, extra: Mapping[str, str]
) -> tuple[int, bytes]:
    # Each on a connection of its own: an idle one would hold the exit of a server that is told to stop.
    headers = {"Content-Type": "application/json", "Connection": "close", **extra}
    try:
        with urllib3.request(
            method, url, body=body, timeout=timeout_s, retries=False, headers=headers, preload_content=False
        ) as response:
            data = response.read(_MOST_BYTES + 1)
    except urllib3.exceptions.HTTPError as error:
        if any(isinstance(part, http.client.BadStatusLine) for part in error.args):
            raise TaskFailure(
                f"{url} speaks another protocol than HTTP: is this the port of gRPC? Give the port of HTTP, which is "
                "8000 if nobody chose another."
            ) from error
        raise TaskFailure(f"No answer from {url}: is the server running? ({error})") from error
    if len(data) > _MOST_BYTES:
        raise TaskFailure(f"{url} answered more than {_MOST_BYTES >> 20} MiB, which no Triton does here: is it one?")
    return response.status, data
