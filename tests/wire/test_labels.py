"""Fetch an image's configuration, where its labels stand, from a real HTTP server."""

import http.server
import threading
from collections.abc import Iterator

import pytest

from scripts.host.errors import TaskFailure
from scripts.registry import labels

CONFIG = b'{"config": {"Labels": {"triton-sdk.agent": "1"}}}'


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Know one object, refuse another, and send a third one elsewhere."""
        status = {"/config": 200, "/expired": 403, "/moved": 302}.get(self.path.partition("?")[0])
        if status is None:
            return  # hang up
        self.send_response(status)
        self.send_header("Location", "/config")
        self.end_headers()
        self.wfile.write(CONFIG)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Stay silent."""


@pytest.fixture(scope="module")
def objects() -> Iterator[str]:
    """Give the address of the server."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_an_object_is_fetched(objects: str) -> None:
    """Byte for byte."""
    assert labels.download(f"{objects}/config") == CONFIG


@pytest.mark.parametrize(
    ("path", "why"), [("expired", "HTTP 403"), ("moved", "HTTP 302"), ("dropped", "ProtocolError")]
)
def test_what_cannot_be_fetched_is_one_failure(objects: str, path: str, why: str) -> None:
    """The address holds a signature, so the message is without it."""
    with pytest.raises(TaskFailure, match=rf"^What the registry holds cannot be fetched \({why}\)\.$"):
        labels.download(f"{objects}/{path}?X-Amz-Signature=planted")
