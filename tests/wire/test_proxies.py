"""HTTP proxies of the environment: this machine is asked directly, and elsewhere the error names the proxy."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from scripts.server.endpoint import Endpoint
from tests.doubles.blocking import Blocking
from tests.doubles.fake_triton import FakeTriton, image
from tests.wire.names import names
from tests.wire.server import Served, serve
from triton_sdk import DeadlineExceededError, ResNetClient, RetryPolicy, ServerUnavailableError

# Nothing listens on port 1.
DEAD = "http://me:s3cret@127.0.0.1:1"
VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy")


class Alive(BaseHTTPRequestHandler):
    """Answers all that it is asked."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(autouse=True)
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away whatever proxy this machine has."""
    for name in VARIABLES:
        for spelt in (name, name.upper()):
            monkeypatch.delenv(spelt, raising=False)


@pytest.fixture
def served() -> Iterator[Served]:
    """Serve a classifier."""
    with serve(FakeTriton()) as served:
        yield served


@pytest.fixture(params=[ResNetClient, Blocking])
def kind(request: pytest.FixtureRequest) -> Any:
    """Return how to make a client: of threads, and of an event loop."""
    return request.param


@pytest.mark.parametrize("variable", ["grpc_proxy", "https_proxy", "http_proxy"])
@pytest.mark.parametrize("passed_over", [None, "localhost,127.0.0.0/8,::1,.internal", "localhost"])
def test_a_server_on_this_machine_is_asked_without_a_proxy(
    served: Served, kind: Any, monkeypatch: pytest.MonkeyPatch, variable: str, passed_over: str | None
) -> None:
    """Whichever variable names one, with the usual no_proxy and without."""
    monkeypatch.setenv(variable, DEAD)
    if passed_over:
        monkeypatch.setenv("no_proxy", passed_over)
    with kind(served.url, model="clf", retry=RetryPolicy(max_attempts=1)) as client:
        assert client.predict(image(1), version=1).index == 2


@pytest.mark.parametrize("target", ["localhost:{}", "dns:///localhost:{}", "ipv4:127.0.0.1:{}", "0.0.0.0:{}"])
def test_this_machine_has_many_names(served: Served, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    """However its own address is written."""
    monkeypatch.setenv("http_proxy", DEAD)
    with ResNetClient(target.format(served.port), model="clf", retry=RetryPolicy(max_attempts=1)) as client:
        assert client.predict(image(1), version=1).index == 2


@pytest.mark.parametrize("variable", ["grpc_proxy", "https_proxy", "http_proxy"])
def test_elsewhere_the_error_names_the_proxy_and_its_advice_works(
    served: Served, kind: Any, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """The error says which proxy, which variable and what to do, without the password; done, the server answers."""
    monkeypatch.setenv(variable, DEAD)
    with names("127.0.0.1") as served_names:
        target = f"dns://127.0.0.1:{served_names.port}/triton.test:{served.port}"
        settings: dict[str, Any] = {"model": "clf", "retry": RetryPolicy(max_attempts=1)}
        with (
            kind(target, **settings) as client,
            pytest.raises(
                ServerUnavailableError,
                match=rf"proxy http://127\.0\.0\.1:1, which the variable {variable} names; .*add triton\.test to the "
                "variable no_proxy",
            ) as caught,
        ):
            client.predict(image(1))
        assert "s3cret" not in str(caught.value)
        monkeypatch.setenv("no_proxy", "triton.test")
        with kind(target, **settings) as client:
            assert client.predict(image(1), version=1).index == 2


def test_who_waits_in_vain_learns_of_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """wait_ready() says it too."""
    monkeypatch.setenv("https_proxy", DEAD)
    with (
        ResNetClient("triton.test:8001", model="clf") as client,
        pytest.raises(DeadlineExceededError, match="through the proxy http://127"),
    ):
        client.wait_ready(timeout=0.3)


def test_without_a_proxy_no_error_speaks_of_one(kind: Any) -> None:
    """A closed port on this machine is no matter of proxies."""
    with kind("127.0.0.1:1") as client, pytest.raises(ServerUnavailableError) as caught:
        client.predict(image(1))
    assert "proxy" not in str(caught.value)


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_the_checks_of_a_server_ask_over_http_without_a_proxy(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """So do the HTTP questions of smoke-test."""
    monkeypatch.setenv(variable, DEAD)
    with ThreadingHTTPServer(("127.0.0.1", 0), Alive) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert Endpoint.parse(f"127.0.0.1:{server.server_port}").get("/v2/health/live").status == 200
        finally:
            server.shutdown()
            thread.join()
