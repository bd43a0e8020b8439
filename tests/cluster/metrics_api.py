"""An API of custom metrics for a cluster, as Prometheus' adapter gives it, with values that a test sets."""

import base64
import contextlib
import datetime
import functools
import json
import re
import ssl
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import attrs

from tests.cluster.plane import ControlPlane
from tests.cluster.processes import wait_until_ready

GROUP = "custom.metrics.k8s.io"
VERSIONS = ("v1beta1", "v1beta2")
# Its Service, in a namespace of its own.
NAME = "test-metrics"
PODS = re.compile(
    rf"/apis/{GROUP}/(?P<version>\w+)/namespaces/(?P<namespace>[^/]+)/pods/(?P<pod>[^/]+)/(?P<metric>[^/]+)"
)


@attrs.frozen(kw_only=True)
class Metrics:
    """What the API says.

    Attributes:
        plane: The cluster's control plane.
        values: Of each metric, for every pod; set them at any time.
        asked: Which metrics were asked for, in order.
    """

    plane: ControlPlane
    values: dict[str, float] = attrs.field(factory=dict)
    asked: list[str] = attrs.field(factory=list)

    def answer(self, address: str) -> dict[str, object] | None:
        """Return what a GET of *address* answers, or nothing where nothing is."""
        url = urlsplit(address)
        if url.path in {f"/apis/{GROUP}/{version}" for version in VERSIONS}:
            return self._resources(url.path.rpartition("/")[2])
        if not (found := PODS.fullmatch(unquote(url.path))):
            return None
        self.asked.append(found["metric"])
        if found["metric"] not in self.values:
            return None
        selector = parse_qs(url.query).get("labelSelector", [""])[0]
        pods = self._pods(found["namespace"], found["pod"], selector)
        return {
            "apiVersion": f"{GROUP}/{found['version']}",
            "kind": "MetricValueList",
            "metadata": {},
            "items": [self._value(found["version"], found["metric"], found["namespace"], pod) for pod in pods],
        }

    def _resources(self, version: str) -> dict[str, object]:
        metrics = {"singularName": "", "namespaced": True, "kind": "MetricValueList", "verbs": ["get"]}
        return {
            "apiVersion": "v1",
            "kind": "APIResourceList",
            "groupVersion": f"{GROUP}/{version}",
            "resources": [{"name": f"pods/{name}"} | metrics for name in sorted(self.values)],
        }

    def _pods(self, namespace: str, pod: str, selector: str) -> list[str]:
        which = (f"--selector={selector}",) if pod == "*" else (pod,)
        listed = self.plane.kubectl("--namespace", namespace, "get", "pod", *which, "--output=name")
        return [name.removeprefix("pod/") for name in listed.split()]

    def _value(self, version: str, metric: str, namespace: str, pod: str) -> dict[str, object]:
        named: dict[str, object] = {"metricName": metric} if version == "v1beta1" else {"metric": {"name": metric}}
        return named | {
            "describedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": pod},
            "timestamp": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "value": f"{self.values[metric] * 1000:.0f}m",
        }


@contextlib.contextmanager
def custom_metrics(plane: ControlPlane) -> Iterator[Metrics]:
    """Serve custom metrics in a cluster until the block ends; the API answers when the block begins."""
    metrics = Metrics(plane=plane)
    with _served(metrics) as port:
        listed = {"apiVersion": "v1", "kind": "List", "items": _objects(plane, port)}
        plane.kubectl("create", "--filename=-", stdin=json.dumps(listed))
        try:
            wait_until_ready(
                "custom metrics", functools.partial(_available, plane), log=plane.folder / "logs" / "kube-apiserver.log"
            )
            yield metrics
        finally:
            # First what leads here: an API that does not answer would keep every namespace from going.
            plane.kubectl("delete", "apiservice", *(f"{version}.{GROUP}" for version in VERSIONS))
            plane.kubectl("delete", "namespace", NAME, "--timeout=60s")


@contextlib.contextmanager
def _served(metrics: Metrics) -> Iterator[int]:
    """Serve on the machine's side of the cluster's link; return the port."""

    class Handler(BaseHTTPRequestHandler):
        """Answers what the API server passes on."""

        def do_GET(self) -> None:
            """Answer."""
            found = metrics.answer(self.path)
            missing = {"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}
            body = json.dumps(missing if found is None else found).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    pem, key = metrics.plane.authority.issue(NAME, f"/CN={NAME}", names=[f"DNS:{NAME}.{NAME}.svc"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem, key)
    with ThreadingHTTPServer((metrics.plane.network.outside, 0), Handler) as server:
        # The handshake happens where the connection is read: in its thread, not where all wait.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def _available(plane: ControlPlane) -> bool:
    path = '{range .items[*]}{.status.conditions[?(@.type=="Available")].status} {end}'
    names = (f"{version}.{GROUP}" for version in VERSIONS)
    return plane.kubectl("get", "apiservice", *names, f"--output=jsonpath={path}").split() == ["True"] * len(VERSIONS)


def _objects(plane: ControlPlane, port: int) -> list[dict[str, object]]:
    """Return what leads the API server here: a Service without pods, its one address, and an APIService a version."""
    owned = {"name": NAME, "namespace": NAME}
    bundle = base64.b64encode(plane.authority.certificate.read_bytes()).decode()
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAME}},
        {"apiVersion": "v1", "kind": "Service", "metadata": owned, "spec": {"ports": [{"name": "https", "port": 443}]}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": owned | {"labels": {"kubernetes.io/service-name": NAME}},
            "addressType": "IPv4",
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
            "endpoints": [{"addresses": [plane.network.outside], "conditions": {"ready": True}}],
        },
        *(
            _api_service(version, {"groupPriorityMinimum": 100, "versionPriority": 100 + place, "caBundle": bundle})
            for place, version in enumerate(VERSIONS)
        ),
    ]


def _api_service(version: str, spec: Mapping[str, object]) -> dict[str, object]:
    to = {"name": NAME, "namespace": NAME, "port": 443}
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"{version}.{GROUP}"},
        "spec": {"group": GROUP, "version": version, "service": to} | dict(spec),
    }
