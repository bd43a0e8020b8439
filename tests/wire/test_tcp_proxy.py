"""The proxy that the fault tests rely on: what it does to connections, and what it counts."""

import socket
import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.doubles.fake_triton import FakeTriton, batch
from tests.doubles.tcp_proxy import Requests, TcpProxy
from tests.wire.server import serve
from triton_sdk import ResNetClient


@pytest.fixture
def echo() -> Iterator[str]:
    """Serve connections that give back what they get; return the address."""

    def answer(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    connection.sendall(data)
            except ConnectionError:
                pass

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=answer, args=(connection,)))
            threads[-1].start()

    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads.append(threading.Thread(target=accept))
        threads[0].start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(30)


def connect(proxy: TcpProxy) -> socket.socket:
    """Return a connection through *proxy*."""
    host, _, port = proxy.url.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=30)


def exchange(connection: socket.socket, data: bytes) -> bytes:
    """Send *data* and return as many bytes."""
    connection.sendall(data)
    received = b""
    while len(received) < len(data):
        received += connection.recv(65536)
    return received


def test_what_passes_is_unchanged_and_counted(echo: str) -> None:
    """A megabyte goes there and back on each of two connections."""
    data = bytes(range(256)) * 4096
    with TcpProxy(echo) as proxy:
        for _ in range(2):
            with connect(proxy) as connection:
                assert exchange(connection, data) == data
        assert (proxy.connections, proxy.sent, proxy.received) == (2, 2 * len(data), 2 * len(data))


def test_a_reset_is_a_reset(echo: str) -> None:
    """An open connection ends as after a crash, not as after a farewell; a new one works."""
    with TcpProxy(echo) as proxy:
        with connect(proxy) as connection:
            exchange(connection, b"a")
            assert proxy.reset() == 1
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
        with connect(proxy) as connection:
            assert exchange(connection, b"b") == b"b"


def test_what_is_held_comes_later(echo: str) -> None:
    """A connection that is made into the hold has nothing until the release, and then everything."""
    with TcpProxy(echo) as proxy:
        proxy.hold()
        with connect(proxy) as connection:
            connection.sendall(b"late")
            connection.settimeout(0.1)
            with pytest.raises(TimeoutError):
                connection.recv(1)
            connection.settimeout(10)
            proxy.release()
            assert connection.recv(4) == b"late"


def test_a_refusing_port_comes_back(echo: str) -> None:
    """Refused, a connection fails at once; accepted again, the same address works."""
    with TcpProxy(echo) as proxy:
        url = proxy.url
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            connect(proxy)
        proxy.accept()
        assert proxy.url == url
        with connect(proxy) as connection:
            assert exchange(connection, b"b") == b"b"


def test_requests_are_counted_as_the_server_counts_them() -> None:
    """Over real gRPC, each request is one, whatever its size."""
    triton = FakeTriton(max_batch=20_000)
    with serve(triton) as served, TcpProxy(served.url) as proxy:
        with ResNetClient(proxy.url, model="clf") as client:
            for images in (1, 100, 10_000, 1):
                client.infer(batch(*[1] * images))
        assert proxy.requests == len(triton.asked) == 5


@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 4, 9]), st.binary(max_size=40))),
    st.lists(st.integers(0, 200)),
)
def test_requests_are_counted_wherever_the_data_is_cut(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    """Of frames of any kind, in pieces of any size, those that open a stream count."""
    data = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    for kind, body in frames:
        data += len(body).to_bytes(3) + bytes([kind, 0, 0, 0, 0, 1]) + body
    counter, places = Requests(), sorted({0, *cuts, len(data)})
    for begin, end in pairwise(places):
        counter.feed(data[begin:end])
    assert counter.count == sum(kind == 1 for kind, _ in frames)
