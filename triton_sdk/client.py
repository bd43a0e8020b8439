"""The client for threads."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from numpy.typing import NDArray

from triton_sdk._base import IN_FLIGHT, BaseClient
from triton_sdk._checks import check_transport
from triton_sdk._flow import tensors
from triton_sdk._flow.steps import Flow
from triton_sdk._wire.drive import run
from triton_sdk._wire.grpc_sync import GrpcTransport
from triton_sdk._wire.threads import Background, Lane, gathered
from triton_sdk.config import ClientSettings
from triton_sdk.contract import ModelContract
from triton_sdk.errors import TritonError
from triton_sdk.images import ImageLike
from triton_sdk.predictions import Inference, Prediction
from triton_sdk.transport import Transport
from triton_sdk.versions import Key, Version

__all__ = ["ResNetClient"]

_T = TypeVar("_T")


class ResNetClient(BaseClient):
    """Ask an image classifier on a Triton server; safe to share between threads, usable in forked children.

    Nothing is sent before the first call. Every *timeout* is in seconds, for the whole call with its retries and waits.

    Args:
        url: ``HOST:PORT`` of the server's gRPC endpoint, several of them, which take turns, or a gRPC target such as
            ``dns:///name:8001``, whose addresses take turns.
        transport: Another way to the server than gRPC, for tests; closed with the client.
        settings: Any of `ClientSettings`: model, timeout, retry, tls, metadata, decode, orient, traffic, labels, hooks.

    Raises:
        ConfigurationError: If a setting cannot be used.
    """

    def __init__(
        self,
        url: str | Iterable[str],
        *,
        transport: Transport | None = None,
        **settings: Unpack[ClientSettings],
    ) -> None:
        super().__init__(url, **settings)
        check_transport(transport)
        self._transport = transport or GrpcTransport(self._session.config)
        self._background = Background(self._transport)

    def predict(
        self,
        image: ImageLike,
        *,
        version: Version = None,
        key: Key | None = None,
        top_k: int = 5,
        timeout: float | None = None,
    ) -> Prediction:
        """Classify one image.

        Args:
            image: A path, the bytes or an open binary file of a picture, a PIL image, or RGB pixels, uint8
                ``(h, w, 3)``.
            version: The version to ask, or how to choose one: a `Split`, a `Fallback`, a `Shadow` or a `TrafficPlan`;
                None leaves it to the client's traffic plan, or else to the server, which takes its highest as a rule.
            key: Whom the call is for: calls with the same key go to the same version of a `Split` or a plan.
            top_k: How many classes to name.
            timeout: What the call may take; None means the client's.

        Raises:
            ConfigurationError: If an argument is out of its range.
            InvalidImageError: If there is no image in *image*.
            ClientClosedError: If the client was closed.
            ContractError: If the model is no image classifier.
            TransportError: If no answer came.
            ServerError: If the server refused.
        """
        deadline = self._deadline(timeout)
        return self._run(self._predict([image], version=version, key=key, top_k=top_k, deadline=deadline))[0]

    def predict_many(
        self,
        images: Iterable[ImageLike],
        *,
        version: Version = None,
        key: Key | None = None,
        top_k: int = 5,
        batch_size: int | None = None,
        in_flight: int = IN_FLIGHT,
        timeout: float | None = None,
    ) -> list[Prediction]:
        """Classify images in their order, many with each request; no images give no predictions.

        A new version may come into use on the way: each prediction names its own.

        Args:
            images: Each as for `predict`; taken one batch at a time, at most *in_flight* ahead.
            version: The version to ask, or how to choose one: a `Split`, a `Fallback`, a `Shadow` or a `TrafficPlan`;
                None leaves it to the client's traffic plan, or else to the server, which takes its highest as a rule.
            key: Whom the call is for: calls with the same key go to the same version of a `Split` or a plan.
            top_k: How many classes to name for each.
            batch_size: Images to prepare and send at once, 16 when None; never more in a request than the model takes.
            in_flight: Batches under way at once, so that some are decoded while the server works on others; 1 does all
                in the calling thread.
            timeout: What the whole call may take; None means the client's for each batch, so that a long list is no
                reason to fail.

        Raises:
            InvalidImageError: If one is no image; the message says which, counted from 0.
            TritonError: As for `predict`. The first failure ends the call.
        """
        flow = self._many(version=version, key=key, top_k=top_k, timeout=timeout)
        found = dict(self._gathered(images, flow, batch_size=batch_size, in_flight=in_flight, pausing=False))
        return [prediction for first in sorted(found) for prediction in found[first]]

    def predict_stream(
        self,
        images: Iterable[ImageLike],
        *,
        version: Version = None,
        key: Key | None = None,
        top_k: int = 5,
        batch_size: int | None = None,
        in_flight: int = IN_FLIGHT,
        timeout: float | None = None,
    ) -> Generator[tuple[int, Prediction | TritonError], None, None]:
        """Classify images without end, and yield what becomes of each, with its place, as it comes.

        What is wrong with one image is yielded in its place and hurts no other; what the server fails with is yielded
        for each image of the batch. Images are taken as results are: at most *in_flight* batches ahead, and one more.
        They are taken in a thread of their own, so that a source that pauses holds up no result; a list, and any source
        where *in_flight* is 1, in the calling thread.

        Args:
            images: Each as for `predict`, however many.
            version: As for `predict`.
            key: As for `predict`.
            top_k: How many classes to name for each.
            batch_size: As for `predict_many`.
            in_flight: As for `predict_many`.
            timeout: What each batch may take; None means the client's.

        Yields:
            The image's place, from 0, and its prediction or why there is none. Batches come as they end, the images of
            one in their order.

        Raises:
            ConfigurationError: If an argument is out of its range.
            ClientClosedError: If the client was closed.
            ContractError: If the model is no image classifier.
        """
        flow = self._stream(version=version, key=key, top_k=top_k, timeout=timeout)
        pausing = not isinstance(images, list | tuple)
        return _flat(self._gathered(images, flow, batch_size=batch_size, in_flight=in_flight, pausing=pausing))

    def infer(self, batch: NDArray[Any], *, version: int | None = None, timeout: float | None = None) -> Inference:
        """Send a prepared tensor, exactly as the contract says, and return the scores as the model gave them.

        Args:
            batch: ``(n, *contract.input.shape)`` of the contract's dtype. What is larger than the model's largest batch
                is sent in parts, all to the version that answers the first.
            version: The version to ask; None lets the server choose, as a rule its highest.
            timeout: What the call may take; None means the client's.

        Raises:
            InvalidRequestError: If the tensor does not fit the contract, or is empty.
            TritonError: As for `predict`.
        """
        return self._run(self._infer(batch, version, timeout))

    def contract(self, *, timeout: float | None = None) -> ModelContract:
        """Return what the model takes and gives; the server is asked the first time only.

        Raises:
            ContractError: If the model is no image classifier.
            TritonError: As for `predict`.
        """
        return self._run(self._contract(timeout))

    def versions(self, *, timeout: float | None = None) -> tuple[int, ...]:
        """Return the model's versions that are ready, in order.

        Raises:
            ModelNotFoundError: If the server does not have the model.
            TritonError: As for `predict`.
        """
        return self._run(self._versions(timeout))

    def ready(self, *, version: int | None = None, timeout: float | None = None) -> bool:
        """Return whether the model, or one version of it, can be asked now; False if the server does not answer.

        Raises:
            ClientClosedError: If the client was closed.
            ServerError: If the server refuses the question itself, for credentials perhaps.
        """
        return self._run(self._ready(version, timeout))

    def wait_ready(self, *, version: int | None = None, timeout: float = 60.0) -> None:
        """Wait until the model, or one version of it, can be asked.

        Raises:
            DeadlineExceededError: If it cannot within *timeout*; the message has the last reason.
            ClientClosedError: If the client was closed.
            ServerError: If the server refuses the question itself, for credentials perhaps.
        """
        self._run(self._wait_ready(version, timeout))

    def close(self) -> None:
        """Free the connection; calls under way in other threads end with a ClientClosedError."""
        self._closed = True
        self._background.close()
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _gathered(
        self,
        images: Iterable[ImageLike],
        flow: Callable[[int, Sequence[ImageLike]], Flow[list[_T]]],
        *,
        batch_size: int | None,
        in_flight: int,
        pausing: bool,
    ) -> Generator[tuple[int, list[_T]], None, None]:
        """Return an iterator over the place of each batch and its results, as they come."""
        size, in_flight = self._sizes(images, batch_size, in_flight)
        self._open()
        flows = ((first, flow(first, batch)) for first, batch in _placed(images, size))
        if in_flight == 1:
            return ((first, self._run(one)) for first, one in flows)
        lane, spawn = Lane(self._transport), self._background.spawn
        return gathered(flows, lane, in_flight=in_flight, spawn=spawn, pausing=pausing)

    def _run(self, flow: Flow[_T]) -> _T:
        self._open()
        return run(flow, self._transport, spawn=self._background.spawn)


def _placed(images: Iterable[_T], size: int) -> Iterator[tuple[int, list[_T]]]:
    """Yield the images in lists of *size*, each with the place of its first one."""
    first = 0
    for batch in tensors.batched(images, size):
        yield first, batch
        first += len(batch)


def _flat(batches: Generator[tuple[int, list[_T]], None, None]) -> Generator[tuple[int, _T], None, None]:
    with closing(batches):
        for first, results in batches:
            yield from enumerate(results, start=first)
