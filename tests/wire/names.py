"""A name server, in this process and on a free port, whose one answer a test sets."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

import attrs

_A, _IN = 1, 1


@attrs.define
class Names:
    """A name server under way.

    Attributes:
        port: Where it listens on 127.0.0.1.
        addresses: What it says of every name.
        asked: How often it was asked.
    """

    port: int
    addresses: list[str]
    asked: int = 0

    def answer(self, query: bytes) -> bytes:
        """Return the answer to a query: RFC 1035, section 4."""
        end = query.index(b"\0", 12) + 5
        kind = int.from_bytes(query[end - 4 : end - 2], "big")
        found = [socket.inet_aton(address) for address in self.addresses if kind == _A]
        # The question's name, at byte 12, and no time for which the answer may be kept.
        records = b"".join(struct.pack(">HHHIH", 0xC00C, _A, _IN, 0, len(each)) + each for each in found)
        return query[:2] + struct.pack(">HHHHH", 0x8180, 1, len(found), 0, 0) + query[12:end] + records


@contextlib.contextmanager
def names(*addresses: str) -> Iterator[Names]:
    """Serve names until the context ends."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        served = Names(listening.getsockname()[1], list(addresses))

        def serve() -> None:
            while True:
                query, caller = listening.recvfrom(512)
                if not query:
                    return
                served.asked += 1
                listening.sendto(served.answer(query), caller)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield served
        finally:
            listening.sendto(b"", ("127.0.0.1", served.port))
            thread.join()
