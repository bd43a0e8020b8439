"""What a flow asks its driver for, one step at a time.

A flow is a generator that decides between its steps what comes next. It neither waits nor sends. A driver does that, so
that the same decisions serve threads and coroutines, and tests without sockets or clocks.
"""

from collections.abc import Callable, Generator
from typing import Any, TypeAlias, TypeVar

import attrs
from google.protobuf.message import Message
from numpy.typing import NDArray

from triton_sdk._flow.failures import Failure
from triton_sdk.contract import ModelContract

_T = TypeVar("_T")


@attrs.frozen(eq=False)
class Joinable:
    """What is in an inference request that may be joined with others of its kind.

    Attributes:
        batch: The tensor, ``(n, *input.shape)``.
        contract: By which it is sent.
        version: The version that is asked for.
    """

    batch: NDArray[Any]
    contract: ModelContract
    version: int | None


@attrs.frozen
class Send:
    """Send a request; the outcome is the reply or a Failure.

    Attributes:
        method: Name of the remote procedure.
        message: What to send; bytes are a message that is serialised already.
        timeout: Longest time to wait for the reply, in seconds.
        metadata: Keys and values to send with it, beside the client's own.
        joinable: What is in it, where it may travel with others in one request.
    """

    method: str
    message: Message | bytes
    timeout: float
    metadata: tuple[tuple[str, str], ...] = ()
    joinable: Joinable | None = None


@attrs.frozen
class Sleep:
    """Wait for some seconds."""

    seconds: float


@attrs.frozen
class Work:
    """Call a function that keeps a processor busy; the outcome is what it returns."""

    job: Callable[[], Any]


@attrs.frozen
class Spawn:
    """Run another flow in the background; the outcome is whether it was begun, and not dropped because too many are.

    What becomes of it nobody waits for; an error of it is logged.
    """

    flow: "Flow[object]"


Reply: TypeAlias = Message | Failure
Flow: TypeAlias = Generator[Send | Sleep | Work | Spawn, Any, _T]
