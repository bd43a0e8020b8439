"""Choose the ports of a local server."""

import socket

import attrs

from triton_sdk._checks import whole
from triton_sdk.errors import LocalServerError

LOOPBACK = "127.0.0.1"


@attrs.frozen(kw_only=True)
class Ports:
    """The ports of one server; 0 stands for any free one."""

    http: int = 0
    grpc: int = 0
    metrics: int = 0

    def __attrs_post_init__(self) -> None:
        for name, port in attrs.asdict(self).items():
            whole(port, f"{name}_port", least=0)

    @property
    def fixed(self) -> bool:
        """Whether none of them may be chosen anew."""
        return 0 not in attrs.astuple(self)

    def chosen(self) -> "Ports":
        """Return these ports with free ones in the place of 0.

        Raises:
            LocalServerError: If a given one is taken, given twice or not to be had.
        """
        with socket.socket() as http, socket.socket() as grpc, socket.socket() as metrics:
            # All three are held until all are known, so that no two are the same.
            bound = [_bind(*pair) for pair in ((http, self.http), (grpc, self.grpc), (metrics, self.metrics))]
        return Ports(http=bound[0], grpc=bound[1], metrics=bound[2])


def _bind(taker: socket.socket, port: int) -> int:
    # As the server does: connections that were closed a moment ago do not hold a port.
    taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taker.bind((LOOPBACK, port))
        # Under SO_REUSEADDR only listening shows that another one listens.
        taker.listen()
    except (OSError, OverflowError) as error:
        raise LocalServerError(
            f"Port {port} on {LOOPBACK} cannot be used ({error}). Give another one, or 0 for any free port."
        ) from error
    address: tuple[str, int] = taker.getsockname()
    return address[1]
