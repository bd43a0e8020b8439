"""A client that sends calls to several versions, on a clock that stands still."""

from collections.abc import Callable
from typing import Any

import attrs

from tests.doubles.fake_triton import FakeTriton, Refused, image
from tests.doubles.scripted import ScriptedTransport, session
from triton_sdk import ImageLike, Prediction, Version
from triton_sdk._flow import routing
from triton_sdk._flow.session import Session
from triton_sdk._flow.steps import Flow
from triton_sdk._wire.drive import run
from triton_sdk.versions import Key


@attrs.define
class Caller:
    """A client on a clock that stands still, whose background work waits until it is told to go on.

    Attributes:
        transport: To a server in memory.
        session: What the calls share.
        background: What was begun and not run yet.
        room: How much may be in the background.
    """

    transport: ScriptedTransport
    session: Session
    background: list[Flow[object]] = attrs.field(factory=list)
    room: int = 100

    @property
    def server(self) -> FakeTriton:
        """What answers."""
        return self.transport.server

    @property
    def inferred(self) -> list[str]:
        """The versions whose inference was asked for, in order."""
        return [version for version, _ in self.server.batches()]

    def predict(
        self, *images: ImageLike, version: Version, key: Key | None = None, timeout: float = 30, top: int = 2
    ) -> list[Prediction]:
        """Predict, and leave what goes to the background there."""
        flow = routing.predict(
            self.session,
            images or (image(0),),
            version=version,
            key=key,
            top=top,
            deadline=self.session.clock() + timeout,
            first=0,
        )
        return run(flow, self.transport, sleep=self.transport.clock.sleep, spawn=self.spawn)

    def spawn(self, flow: Flow[object]) -> bool:
        """Keep *flow* for later, if there is room."""
        if len(self.background) >= self.room:
            return False
        self.background.append(flow)
        return True

    def go_on(self) -> None:
        """Run what is in the background."""
        while self.background:
            run(self.background.pop(0), self.transport, sleep=self.transport.clock.sleep, spawn=self.spawn)

    def warm(self, *versions: int) -> None:
        """Make the client know the contract, the labels and *versions*; what was sent for it is forgotten."""
        for version in versions:
            self.predict(version=version)
        self.forget()

    def forget(self) -> None:
        """Forget what was sent."""
        self.transport.sent.clear()
        self.server.asked.clear()


def caller(server: FakeTriton | None = None, uniform: Callable[[], float] = lambda: 0.5) -> Caller:
    """Make a client of *server*."""
    transport = ScriptedTransport(server=server or FakeTriton())
    return Caller(transport, session(transport, uniform=uniform))


def broken(version: int, code: str = "INTERNAL", details: str = "ValueError: boom") -> Callable[[str, Any], None]:
    """Return a twist that makes one version fail."""

    def twist(method: str, message: Any) -> None:
        if method == "ModelInfer" and message.model_version == str(version):
            raise Refused(code, details)

    return twist
