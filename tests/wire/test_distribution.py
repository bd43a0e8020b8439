"""A registry that is asked directly, against a real HTTP server."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from scripts.host.errors import TaskFailure
from scripts.host.secret import Secret
from scripts.registry import distribution
from scripts.registry.ecr import ImageRepository, Stored

DIGEST = "sha256:" + "a" * 64
# Ask a registry that answers with a status and a body.
Ask = Callable[[int, bytes], Stored | None]


@pytest.fixture
def ask() -> Iterator[Ask]:
    """Give the question for the tag `t`."""
    answer = [0, b""]

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer as told, with a digest."""
            status, body = answer
            assert isinstance(status, int)
            assert isinstance(body, bytes)
            self.send_response(status)
            self.send_header("Docker-Content-Digest", DIGEST)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{server.server_address[1]}"
        repository = ImageRepository(account="1" * 12, region="eu-west-1", name="triton-infer", host=host)

        def asked(status: int, body: bytes) -> Stored | None:
            answer[:] = status, body
            return distribution.stored(repository, "t", password=Secret("planted-password"))

        yield asked
        server.shutdown()


def test_a_tag_that_is_there_and_one_that_is_free(ask: Ask) -> None:
    """The manifest tells the configuration; 404 is an answer."""
    found = ask(200, json.dumps({"config": {"digest": DIGEST}}).encode())
    assert found is not None
    assert (found.config, found.image.digest) == (DIGEST, DIGEST)
    assert ask(404, b"") is None


@pytest.mark.parametrize(
    ("status", "body", "saying"),
    [
        (401, b"", r"does not take the login that AWS gave for account 1{12}"),
        (403, b"", r"does not allow it to read triton-infer\. Ask the registry's owner"),
        (429, b"", r"asks for a pause"),
        (503, b"", r"answered 503 without a manifest"),
        (302, b"", r"answered 302 without a manifest"),
        (200, b"<html>Welcome</html>", r"answered 200 without a manifest.*Is REGISTRY_HOST a registry"),
        (200, b"[]", r"answered 200 without a manifest"),
        (200, b'{"config": 3}', r"answered 200 without a manifest"),
    ],
)
def test_each_refusal_names_the_registry_and_its_own_way_out(ask: Ask, status: int, body: bytes, saying: str) -> None:
    """No login, no right, too many questions, and a page of something else that answers there."""
    with pytest.raises(TaskFailure, match=rf"The registry 127\.0\.0\.1:\d+ .*{saying}"):
        ask(status, body)
