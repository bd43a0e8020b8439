"""A Kubernetes of the tests' own; by hand: ``python -m tests.cluster.ground up``, as root."""

import contextlib
import signal
import sys
from collections.abc import Iterator

import attrs

from tests.cluster.node import Node, real_node
from tests.cluster.plane import ControlPlane, control_plane
from tests.image.ground import Missing

__all__ = ["Cluster", "ControlPlane", "Missing", "cluster", "control_plane"]


@attrs.frozen(kw_only=True)
class Cluster:
    """A control plane with a node that runs pods."""

    plane: ControlPlane
    node: Node


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """Start a control plane and a real node; they end with the block, and nothing of them stays.

    Raises:
        Missing: If a program is not here, or this user may not start one.
        RuntimeError: If a part does not get ready; with the last lines of its log.
    """
    with control_plane() as plane, real_node(plane) as node:
        yield Cluster(plane=plane, node=node)


def _up() -> None:
    """Bring a cluster up, print how to reach it, and take it down on Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), cluster() as made:
        programs = made.plane.bin
        sys.stdout.write(f"export KUBECONFIG={made.plane.kubeconfig}\nexport PATH={programs}/helm4:{programs}:$PATH\n")
        sys.stdout.flush()
        signal.pause()


if __name__ == "__main__":
    if sys.argv[1:] != ["up"]:
        raise SystemExit("Say `python -m tests.cluster.ground up`.")
    try:
        _up()
    except Missing as reason:
        raise SystemExit(f"Error: {reason}") from None
