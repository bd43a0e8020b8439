"""A way into a cluster on which the API gives no answer to some requests, as one that is upgraded or too busy."""

import asyncio
import contextlib
import gc
import json
import random
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import yaml

from tests.cluster.plane import Access

# What an API says that cannot answer now: status, reason and message; an empty one ends the connection without a word.
SAID = (
    (503, "ServiceUnavailable", "apiserver is shutting down"),
    (500, "InternalError", "etcdserver: leader changed"),
    (504, "Timeout", "the request timed out"),
    (429, "TooManyRequests", "the server has received too many requests and has asked us to try again later"),
    (0, "", ""),
)
_CHANGES = ("POST", "PUT", "PATCH", "DELETE")
# What only asks what a login may do, whatever its verb.
_ASKS = "/apis/authorization.k8s.io/"
_PART = 2**16


@attrs.define(kw_only=True)
class Flaky:
    """What stands between programs and the API.

    Attributes:
        server: The API's address.
        credentials: Whom the API takes these programs for.
        chance: Picks the requests.
        looks: The share of the requests that only look, of which no answer comes.
        changes: The same of those that change something; half of them are carried out all the same.
        refuses: Says of verb and path of a request that it is not carried out.
        unanswered: How many requests got no answer.
    """

    server: str
    credentials: ssl.SSLContext
    chance: random.Random
    looks: float
    changes: float
    refuses: Callable[[str, str], bool]
    unanswered: int = 0
    _at_work: set[asyncio.Task[None]] = attrs.field(factory=set, init=False)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one request to the API, or not."""
        task = asyncio.current_task()
        assert task is not None
        self._at_work.add(task)  # the loop itself does not keep it
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"\r\nupgrade:" in head.lower():  # a port-forward: its bytes are no requests
                await self._carry(head, reader, writer)
            elif (said := self._pick(*head.decode("latin-1").split(" ", 2)[:2])) is None:
                await self._carry(_single(head), reader, writer)
            else:
                message, is_done = said
                if is_done:
                    await self._carry(_single(head), reader, None)
                writer.write(message)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # somebody has hung up, or the test is over
        finally:
            await _close(writer)
            self._at_work.discard(task)

    async def end(self) -> None:
        """End what is still carried, and wait for that: the end of the loop would cancel it while it closes."""
        while at_work := set(self._at_work):
            for task in at_work:
                task.cancel()
            await asyncio.wait(at_work)
            self._at_work -= at_work

    def _pick(self, verb: str, path: str) -> tuple[bytes, bool] | None:
        """Return what is said instead of an answer, and whether the request is carried out; None: the API's own."""
        if self.refuses(verb, path):
            self.unanswered += 1
            return _answer(*SAID[0]), False
        is_change = verb in _CHANGES and not path.startswith(_ASKS)
        if self.chance.random() >= (self.changes if is_change else self.looks):
            return None
        self.unanswered += 1
        return _answer(*self.chance.choice(SAID)), is_change and self.chance.random() < 0.5

    async def _carry(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None) -> None:
        """Carry bytes both ways until the API ends the connection; without *writer* its answer reaches nobody."""
        parts = urlsplit(self.server)
        answer, request = await asyncio.open_connection(parts.hostname, parts.port, ssl=self.credentials)
        request.write(head)
        up = asyncio.create_task(_pass(reader, request))
        try:
            while part := await answer.read(_PART):
                if writer is not None:
                    writer.write(part)
                    await writer.drain()
        finally:
            # First, since a second end would break off any wait.
            request.transport.abort()
            up.cancel()
            await asyncio.wait([up])
            await _close(request)


@contextlib.contextmanager
def flaky(
    access: Access,
    *,
    folder: Path,
    seed: int = 0,
    looks: float = 0.0,
    changes: float = 0.0,
    refuses: Callable[[str, str], bool] = lambda *_: False,
) -> Iterator[tuple[Access, Flaky]]:
    """Give another way into a cluster, on which some requests get no answer; see `Flaky`."""
    config = yaml.safe_load(access.kubeconfig.read_text(encoding="utf-8"))
    (cluster,), (user,) = config["clusters"], config["users"]
    credentials = ssl.create_default_context(cafile=cluster["cluster"]["certificate-authority"])
    credentials.load_cert_chain(user["user"]["client-certificate"], user["user"]["client-key"])
    server = cluster["cluster"]["server"]
    between = Flaky(
        server=server,
        credentials=credentials,
        chance=random.Random(seed),
        looks=looks,
        changes=changes,
        refuses=refuses,
    )
    started: Future[tuple[int, Callable[[], object]]] = Future()

    async def listen() -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        async with await asyncio.start_server(between.handle, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            started.set_result((port, lambda: loop.call_soon_threadsafe(ended.set)))
            await ended.wait()
            await between.end()

    thread = threading.Thread(target=lambda: asyncio.run(listen()))
    thread.start()
    port, end = started.result(timeout=10)
    try:
        cluster["cluster"], user["user"] = {"server": f"http://127.0.0.1:{port}"}, {}
        kubeconfig = folder / "flaky.kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(config), encoding="utf-8")
        yield Access(kubeconfig=kubeconfig, bin=access.bin, variables=access.variables), between
    finally:
        end()
        thread.join()
        gc.collect()  # what warns of connections does so while these warnings are expected


async def _close(writer: asyncio.StreamWriter) -> None:
    """End a connection, whoever has ended it before."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while part := await reader.read(_PART):
        writer.write(part)
        await writer.drain()


def _single(head: bytes) -> bytes:
    """Return a head after whose request the connection ends: each request then is one that chance may pick."""
    lines = [line for line in head[:-4].split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*lines, b"Connection: close", b"", b""])


def _answer(status: int, reason: str, message: str) -> bytes:
    """Return an answer of the API that is none."""
    if not status:
        return b""
    said = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": status,
    }
    body = json.dumps(said).encode()
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + body
