"""A real HTTP server that misbehaves on request, and downloads from it."""

import hashlib
import http.server
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from scripts.host.errors import TaskFailure
from scripts.sources.download import Patience, download

BODY = random.Random(2).randbytes(1_000_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
HALF = len(BODY) // 2
# Only a broken connection or an answer ends a try: on a busy machine this server too may be silent for a while.
QUICK = Patience(attempts=2, connect=30.0, silence=30.0, backoff=0.01, cap=0.02)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answer as the server's script says, and as a good server does when it is at its end."""

    server: "Server"

    def do_GET(self) -> None:
        """Answer one request and remember it."""
        self.server.seen.append(Seen(path=self.path, headers=dict(self.headers)))
        answer = self.server.script.pop(0) if self.server.script else whole
        answer(self)

    def start(self, status: int, **headers: object) -> None:
        """Send the status line and *headers*."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Stay silent."""


Answer = Callable[[Handler], None]


@attrs.frozen(kw_only=True)
class Seen:
    path: str
    headers: dict[str, str]

    @property
    def range(self) -> str | None:
        """The range that was asked for."""
        return self.headers.get("Range")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Answer] = []
        self.seen: list[Seen] = []
        self.gate = threading.Event()

    @property
    def url(self) -> str:
        """Where the file is."""
        return f"http://127.0.0.1:{self.server_address[1]}/models/file.onnx"


def whole(handler: Handler) -> None:
    """Answer as a good server: the range that was asked for, or everything."""
    asked = handler.headers.get("Range")
    if asked is None:
        return everything(handler)
    start = int(asked.removeprefix("bytes=").removesuffix("-"))
    span = f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"
    handler.start(206, Content_Length=len(BODY) - start, Content_Range=span)
    handler.wfile.write(BODY[start:])
    return None


def everything(handler: Handler) -> None:
    """Answer with the whole file, whatever range was asked for."""
    handler.start(200, Content_Length=len(BODY))
    handler.wfile.write(BODY)


def cut(handler: Handler) -> None:
    """Announce everything and hang up after one half."""
    handler.start(200, Content_Length=len(BODY))
    handler.wfile.write(BODY[:HALF])


def cut_without_length(handler: Handler) -> None:
    """Announce nothing and hang up after one half."""
    handler.start(200)
    handler.wfile.write(BODY[:HALF])


def stall(handler: Handler) -> None:
    """Send one half, its end in a small piece of its own, then nothing until the gate opens."""
    handler.start(200, Content_Length=len(BODY))
    handler.wfile.write(BODY[: HALF - 1000])
    time.sleep(0.05)
    handler.wfile.write(BODY[HALF - 1000 : HALF])
    handler.server.gate.wait(60)


def gated(handler: Handler) -> None:
    """Send one half, and the other when the gate opens."""
    stall(handler)
    handler.wfile.write(BODY[HALF:])


def other(handler: Handler) -> None:
    """Send another file of the same length."""
    handler.start(200, Content_Length=len(BODY))
    handler.wfile.write(bytes(len(BODY)))


def hang_up(handler: Handler) -> None:
    """Close the connection without an answer."""
    handler.close_connection = True


def status(code: int) -> Answer:
    """Return the answer that is only *code*."""
    return lambda handler: handler.start(code, Content_Length=0)


def span(text: str) -> Answer:
    """Return a 206 that claims the range *text*."""

    def answer(handler: Handler) -> None:
        handler.start(206, Content_Length=HALF, Content_Range=text)
        handler.wfile.write(bytes(HALF))

    return answer


def part(file: Path) -> Path:
    """Return the place for what has come so far."""
    return file.with_name("file.onnx.part")


def leave(file: Path, data: bytes) -> None:
    """Leave *data* as an earlier, unfinished download of *file*."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part(file).write_bytes(data)


def get(
    url: str,
    file: Path,
    *,
    sha256: str = SHA256,
    patience: Patience = QUICK,
    steps: list[int] | None = None,
    words: list[str] | None = None,
) -> Path:
    """Download the server's file, with the lengths and the words that were reported added to *steps* and *words*."""
    steps = [] if steps is None else steps
    words = [] if words is None else words
    return download(
        url,
        sha256=sha256,
        size_bytes=len(BODY),
        destination=file,
        progress=lambda done, _: steps.append(done),
        retrying=words.append,
        patience=patience,
        otherwise="Without it: --weights seeded",
    )


def failure(url: str, file: Path, **kwargs: object) -> str:
    """Return the message of a download that must fail, and check that nothing stands under the final name."""
    with pytest.raises(TaskFailure) as caught:
        get(url, file, **kwargs)  # type: ignore[arg-type]  # passed through
    assert not file.exists()
    return str(caught.value)


def has_half(file: Path) -> bool:
    """Say whether one half of the download has come."""
    return part(file).exists() and part(file).stat().st_size == HALF
