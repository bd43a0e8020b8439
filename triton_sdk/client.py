"""The client for threads."""

import os
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from numpy.typing import NDArray

from triton_sdk import _calls, _operations
from triton_sdk._calls import BATCH_SIZE, Inference
from triton_sdk._drive import Transport, run
from triton_sdk._flow import Flow, Session
from triton_sdk._transport import GrpcTransport
from triton_sdk.config import ClientConfig, RetryPolicy, Tls, seconds
from triton_sdk.contract import ModelContract
from triton_sdk.errors import ClientClosedError
from triton_sdk.images import ImageLike
from triton_sdk.predictions import Prediction

_T = TypeVar("_T")
_RETRY: Final = RetryPolicy()


class ResNetClient:
    """Ask an image classifier on a Triton server; safe to share between threads, usable in forked children.

    Nothing is sent before the first call. Every *timeout* is in seconds, for the whole call with its retries and waits.

    Args:
        url: ``HOST:PORT`` of the server's gRPC endpoint, or a gRPC target such as ``dns:///name:8001``.
        model: The model's name.
        timeout: What a call may take where it names no *timeout* of its own.
        retry: When to try again.
        tls: How to encrypt; plain text when None.
        metadata: Keys and values sent with each request, such as ``("authorization", "Bearer ...")``.
        labels: Names of the classes; None takes the server's where it has them.
        transport: Another way to the server than gRPC, for tests; closed with the client.

    Raises:
        ConfigurationError: If a setting cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str = "resnet50",
        timeout: float = 30.0,
        retry: RetryPolicy = _RETRY,
        tls: Tls | None = None,
        metadata: Iterable[tuple[str, str]] = (),
        labels: Sequence[str] | None = None,
        transport: Transport | None = None,
    ) -> None:
        config = ClientConfig(url=url, model=model, timeout=timeout, retry=retry, tls=tls, metadata=metadata)
        self._session = Session(config=config, given_labels=None if labels is None else tuple(labels))
        self._transport = transport or GrpcTransport(config)
        self._closed = False

    @classmethod
    def from_config(cls, config: ClientConfig, *, labels: Sequence[str] | None = None) -> Self:
        """Make a client of *config*.

        Raises:
            ConfigurationError: If a TLS file cannot be read.
        """
        return cls(
            config.url,
            model=config.model,
            timeout=config.timeout,
            retry=config.retry,
            tls=config.tls,
            metadata=config.metadata,
            labels=labels,
        )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Make a client of the ``TRITON_*`` variables that `ClientConfig.from_env` reads.

        Raises:
            ConfigurationError: If variables are missing or cannot be used: all of them, by name.
        """
        return cls.from_config(ClientConfig.from_env(environ))

    def predict(
        self, image: ImageLike, *, version: int | None = None, top_k: int = 5, timeout: float | None = None
    ) -> Prediction:
        """Classify one image.

        Args:
            image: A path, the bytes or an open binary file of a picture, a PIL image, or RGB pixels, uint8
                ``(h, w, 3)``.
            version: The version to ask; None lets the server choose, as a rule its highest.
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
        return self._predict([image], version=version, top_k=top_k, deadline=self._deadline(timeout), first=None)[0]

    def predict_many(
        self,
        images: Iterable[ImageLike],
        *,
        version: int | None = None,
        top_k: int = 5,
        batch_size: int | None = None,
        timeout: float | None = None,
    ) -> list[Prediction]:
        """Classify images in their order, many with each request; no images give no predictions.

        A new version may come into use on the way: each prediction names its own.

        Args:
            images: Each as for `predict`; taken one batch at a time.
            version: The version to ask; None lets the server choose, as a rule its highest.
            top_k: How many classes to name for each.
            batch_size: Images to prepare and send at once, 16 when None; never more in a request than the model takes.
            timeout: What the whole call may take; None means the client's for each batch, so that a long list is no
                reason to fail.

        Raises:
            InvalidImageError: If one is no image; the message says which, counted from 0.
            TritonError: As for `predict`.
        """
        whole = None if timeout is None else self._deadline(timeout)
        _calls.positive(batch_size, "batch_size")
        predictions: list[Prediction] = []
        for batch in _calls.batched(images, batch_size or BATCH_SIZE):
            deadline = self._deadline(None) if whole is None else whole
            predictions += self._predict(batch, version=version, top_k=top_k, deadline=deadline, first=len(predictions))
        return predictions

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
        _calls.positive(version, "version")
        return self._run(_operations.infer(self._session, batch, version=version, deadline=self._deadline(timeout)))

    def contract(self, *, timeout: float | None = None) -> ModelContract:
        """Return what the model takes and gives; the server is asked the first time only.

        Raises:
            ContractError: If the model is no image classifier.
            TritonError: As for `predict`.
        """
        return self._run(_operations.contract(self._session, deadline=self._deadline(timeout)))

    def versions(self, *, timeout: float | None = None) -> tuple[int, ...]:
        """Return the model's versions that are ready, in order.

        Raises:
            ModelNotFoundError: If the server does not have the model.
            TritonError: As for `predict`.
        """
        return self._run(_operations.versions(self._session, deadline=self._deadline(timeout)))

    def ready(self, version: int | None = None, timeout: float | None = None) -> bool:
        """Return whether the model, or one version of it, can be asked now; False if the server does not answer.

        Raises:
            ClientClosedError: If the client was closed.
            ServerError: If the server refuses the question itself, for credentials perhaps.
        """
        _calls.positive(version, "version")
        return self._run(_operations.ready(self._session, version=version, deadline=self._deadline(timeout)))

    def wait_ready(self, timeout: float = 60.0, version: int | None = None) -> None:
        """Wait until the model, or one version of it, can be asked.

        Raises:
            DeadlineExceededError: If it cannot within *timeout*; the message has the last reason.
            ClientClosedError: If the client was closed.
            ServerError: If the server refuses the question itself, for credentials perhaps.
        """
        _calls.positive(version, "version")
        deadline = self._deadline(timeout)
        self._run(_operations.wait_ready(self._session, version=version, deadline=deadline, timeout=timeout))

    def close(self) -> None:
        """Free the connection; calls under way in other threads end with a ClientClosedError."""
        self._closed = True
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = ", closed" if self._closed else ""
        return f"{type(self).__name__}({self._session.config.url!r}, model={self._session.config.model!r}{state})"

    def _predict(
        self, images: Sequence[ImageLike], *, version: int | None, top_k: int, deadline: float, first: int | None
    ) -> list[Prediction]:
        _calls.positive(version, "version")
        _calls.positive(top_k, "top_k")
        return self._run(
            _operations.predict(self._session, images, version=version, top=top_k, deadline=deadline, first=first)
        )

    def _deadline(self, timeout: float | None) -> float:
        return self._session.clock() + (self._session.config.timeout if timeout is None else seconds(timeout))

    def _run(self, flow: Flow[_T]) -> _T:
        if self._closed:
            raise ClientClosedError(f"The client for {self._session.config.url} is closed; make a new one.")
        return run(flow, self._transport)
