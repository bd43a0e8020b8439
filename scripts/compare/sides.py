"""The two versions that are compared, each with who asks it."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import numpy as np
from numpy.typing import NDArray

from scripts.agent.plan import CANDIDATE
from scripts.host.errors import TaskFailure
from triton_sdk import ResNetClient
from triton_sdk.contract import Framing, ModelContract
from triton_sdk.errors import ServerError
from triton_sdk.images import to_pixels, to_tensor
from triton_sdk.predictions import to_probabilities


@attrs.frozen(kw_only=True, eq=False)
class Side:
    """One of two versions.

    Attributes:
        model: Its name on the server: a candidate is a model of its own.
        version: Its number.
        client: Who asks it.
        contract: What it takes and gives.
        names: A name for each class; None where names are unknown.
    """

    model: str
    version: int
    client: ResNetClient
    contract: ModelContract
    names: Sequence[str] | None

    @property
    def sight(self) -> tuple[Framing, int, int]:
        """What is done to a picture for this version, and the height and width that it sees."""
        return self.contract.framing_for(self.version), self.contract.height, self.contract.width

    def pixels(self, path: Path) -> NDArray[np.uint8]:
        """Return a picture as a client makes it for this version, uint8 ``(height, width, 3)``.

        Raises:
            InvalidImageError: If it cannot be used.
        """
        framing, height, width = self.sight
        return to_pixels(
            path,
            resize=framing.resize,
            height=height,
            width=width,
            interpolation=framing.interpolation,
            fit=framing.fit,
        )

    def tensor(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8] | NDArray[np.float32]:
        """Return what is sent for one picture, ``(1, *input.shape)``."""
        return to_tensor(pixels[np.newaxis], self.contract)

    def probabilities(self, tensor: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
        """Ask for one picture, and return the probability of each class, float32 ``(classes,)``.

        Raises:
            TritonError: If there is no answer, or none that can be used.
        """
        answer = self.client.infer(tensor, version=self.version)
        found: NDArray[np.float32] = to_probabilities(answer.scores, scores=self.contract.scores)[0]
        return found


@contextlib.contextmanager
def opened(
    grpc: str, model: str, baseline: int, candidate: int, *, labels: Sequence[str] | None
) -> Iterator[tuple[Side, Side]]:
    """Give both versions, asked once.

    Args:
        grpc: Where the server listens: ``HOST:PORT``.
        model: The model's name.
        baseline: The version that the other is held against.
        candidate: The other one.
        labels: Names of the classes; None takes the server's.

    Raises:
        TaskFailure: If the server does not serve a version.
        TritonError: If it does not answer, or the model is no image classifier.
    """
    with (
        ResNetClient(grpc, model=model, labels=labels) as own,
        ResNetClient(grpc, model=f"{model}{CANDIDATE}", labels=labels) as apart,
    ):
        own.contract()
        one, other = (_side(own, apart, model, version) for version in (baseline, candidate))
        if one.contract.classes != other.contract.classes:
            raise TaskFailure(
                f"Version {baseline} has {one.contract.classes} classes and version {candidate} "
                f"{other.contract.classes}: their answers cannot be compared."
            )
        yield one, other


def _side(own: ResNetClient, apart: ResNetClient, model: str, version: int) -> Side:
    """Return *version* of the model, or the model's candidate if that is the version."""
    for client, name in ((own, model), (apart, f"{model}{CANDIDATE}")):
        if client.ready(version=version):
            contract = client.contract()
            # The names come with an answer; what is asked does not matter.
            told = client.predict(np.zeros((contract.height, contract.width, 3), np.uint8), version=version)
            return Side(model=name, version=version, client=client, contract=contract, names=told.labels)
    raise TaskFailure(
        f"The server does not serve version {version} of {model}{_served(own)}. Compare versions that it serves: "
        "`invoke promote` adds one to a server that `invoke serve` runs, and --local serves what is packaged here."
    )


def _served(client: ResNetClient) -> str:
    """Return which versions are served, in words; nothing where the server does not tell."""
    try:
        versions = client.versions()
    except ServerError:  # the chart lists models to its owner only
        return ""
    return f" (it serves {', '.join(map(str, versions)) or 'none'})"
