"""The client for event loops."""

# Longer than 300 lines: it is one class, and half of it is the documentation that users read beside each method.

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from numpy.typing import NDArray

from triton_sdk._base import IN_FLIGHT, BaseClient
from triton_sdk._checks import check_transport, instance
from triton_sdk._flow.failures import about
from triton_sdk._flow.steps import Flow, Reply, Send
from triton_sdk._wire import cores
from triton_sdk._wire.coalesce import Coalescing
from triton_sdk._wire.drive import arun
from triton_sdk._wire.grpc_aio import AioTransport
from triton_sdk._wire.grpc_sync import CLOSED_DURING
from triton_sdk._wire.loop import Background, batched, gathered
from triton_sdk.config import ClientConfig, ClientSettings, Coalesce
from triton_sdk.contract import ModelContract
from triton_sdk.errors import ClientClosedError, EventLoopError, TritonError
from triton_sdk.images import ImageLike
from triton_sdk.predictions import Inference, Prediction
from triton_sdk.telemetry import Hook
from triton_sdk.transport import AsyncTransport
from triton_sdk.versions import Key, Version

__all__ = ["AsyncResNetClient"]

_T = TypeVar("_T")


class AsyncResNetClient(BaseClient):
    """Ask an image classifier on a Triton server from an event loop: the calls of `ResNetClient`, awaited.

    Nothing is sent before the first call, and that call binds the client to its event loop and process. Images are
    decoded in threads, so that the loop goes on. A call may be cancelled, and the client stays usable. Every *timeout*
    is in seconds, for the whole call with its retries and waits.

    Args:
        url: As for `ResNetClient`.
        transport: Another way to the server than gRPC, for tests; closed with the client.
        coalesce: Let calls under way at the same time share requests; each call has its own when None.
        settings: Any of `ClientSettings`: model, timeout, retry, tls, metadata, decode, orient, traffic, labels, hooks.

    Raises:
        ConfigurationError: If a setting cannot be used.
    """

    _waiting = True

    def __init__(
        self,
        url: str | Iterable[str],
        *,
        transport: AsyncTransport | None = None,
        coalesce: Coalesce | None = None,
        **settings: Unpack[ClientSettings],
    ) -> None:
        super().__init__(url, **settings)
        config = self._session.config
        if coalesce is not None:
            instance(coalesce, Coalesce, "coalesce", "Coalesce(max_batch=8)")
        check_transport(transport)
        self._transport = transport or AioTransport(config)
        self._pool = ThreadPoolExecutor(cores.workers(), thread_name_prefix="triton-sdk")
        self._coalescing = None if coalesce is None else Coalescing(self._post, coalesce, self._session.budget)
        self._background = Background(self._transport.send)
        self._home: tuple[asyncio.AbstractEventLoop, int] | None = None

    @classmethod
    def from_config(
        cls,
        config: ClientConfig,
        *,
        labels: Sequence[str] | None = None,
        hooks: Sequence[Hook] = (),
        coalesce: Coalesce | None = None,
    ) -> Self:
        """Make a client of *config*.

        Raises:
            ConfigurationError: If a TLS file cannot be read.
        """
        return cls(config.url, labels=labels, hooks=hooks, coalesce=coalesce, **config.settings)

    async def predict(
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
            version: As for `ResNetClient.predict`, and so are *key*, *top_k* and *timeout*.
            key: Whom the call is for.
            top_k: How many classes to name.
            timeout: What the call may take, in seconds; None means the client's.

        Raises:
            EventLoopError: If the client was used in another event loop or process before.
            TritonError: As for `ResNetClient.predict`.
        """
        deadline = self._deadline(timeout)
        return (await self._run(self._predict([image], version=version, key=key, top_k=top_k, deadline=deadline)))[0]

    async def predict_many(
        self,
        images: Iterable[ImageLike] | AsyncIterable[ImageLike],
        *,
        version: Version = None,
        key: Key | None = None,
        top_k: int = 5,
        batch_size: int | None = None,
        in_flight: int = IN_FLIGHT,
        timeout: float | None = None,
    ) -> list[Prediction]:
        """Classify images in their order, several batches at once; no images give no predictions.

        Args:
            images: Each as for `predict`, from an iterable of either kind; taken one batch at a time, at most
                *in_flight* ahead.
            version: As for `ResNetClient.predict_many`, and so are all others.
            key: Whom the call is for.
            top_k: How many classes to name for each.
            batch_size: Images to prepare and send at once.
            in_flight: Batches under way at once.
            timeout: What the whole call may take, in seconds; None means the client's for each batch.

        Raises:
            InvalidImageError: If one is no image; the message says which, counted from 0.
            TritonError: As for `predict`. The first failure cancels the others, and is raised as it is.
        """
        flow = self._many(version=version, key=key, top_k=top_k, timeout=timeout)
        batches = self._gathered(images, flow, batch_size=batch_size, in_flight=in_flight)
        async with aclosing(batches):
            found = {first: predictions async for first, predictions in batches}
        return [prediction for first in sorted(found) for prediction in found[first]]

    def predict_stream(
        self,
        images: Iterable[ImageLike] | AsyncIterable[ImageLike],
        *,
        version: Version = None,
        key: Key | None = None,
        top_k: int = 5,
        batch_size: int | None = None,
        in_flight: int = IN_FLIGHT,
        timeout: float | None = None,
    ) -> AsyncGenerator[tuple[int, Prediction | TritonError], None]:
        """Classify images without end, and yield what becomes of each, with its place, as it comes.

        As `ResNetClient.predict_stream`; wrap it in `contextlib.aclosing` to leave it early.

        Args:
            images: Each as for `predict`, however many, from an iterable of either kind.
            version: As for `predict`.
            key: As for `predict`.
            top_k: How many classes to name for each.
            batch_size: As for `predict_many`.
            in_flight: As for `predict_many`.
            timeout: What each batch may take, in seconds; None means the client's.

        Yields:
            The image's place, from 0, and its prediction or why there is none.

        Raises:
            TritonError: As for `ResNetClient.predict_stream`.
        """
        flow = self._stream(version=version, key=key, top_k=top_k, timeout=timeout)
        return _flat(self._gathered(images, flow, batch_size=batch_size, in_flight=in_flight))

    async def infer(
        self, batch: NDArray[Any], *, version: int | None = None, timeout: float | None = None
    ) -> Inference:
        """Send a prepared tensor, ``(n, *contract.input.shape)`` of the contract's dtype, as `ResNetClient.infer` does.

        Raises:
            InvalidRequestError: If the tensor does not fit the contract, or is empty.
            TritonError: As for `predict`.
        """
        return await self._run(self._infer(batch, version, timeout))

    async def contract(self, *, timeout: float | None = None) -> ModelContract:
        """Return what the model takes and gives; the server is asked the first time only.

        Raises:
            ContractError: If the model is no image classifier.
            TritonError: As for `predict`.
        """
        return await self._run(self._contract(timeout))

    async def versions(self, *, timeout: float | None = None) -> tuple[int, ...]:
        """Return the model's versions that are ready, in order.

        Raises:
            ModelNotFoundError: If the server does not have the model.
            TritonError: As for `predict`.
        """
        return await self._run(self._versions(timeout))

    async def ready(self, *, version: int | None = None, timeout: float | None = None) -> bool:
        """Return whether the model, or one version of it, can be asked now; False if the server does not answer.

        Raises:
            ClientClosedError: If the client was closed.
            ServerError: If the server refuses the question itself, for credentials perhaps.
        """
        return await self._run(self._ready(version, timeout))

    async def wait_ready(self, *, version: int | None = None, timeout: float = 60.0) -> None:
        """Wait until the model, or one version of it, can be asked.

        Raises:
            DeadlineExceededError: If it cannot within *timeout*; the message has the last reason.
            ClientClosedError: If the client was closed.
            ServerError: If the server refuses the question itself, for credentials perhaps.
        """
        await self._run(self._wait_ready(version, timeout))

    async def close(self) -> None:
        """Free the connection; calls under way in other tasks end with a ClientClosedError.

        In another event loop than that of its calls it is freed all the same: over there, where that loop still runs.
        """
        self._closed = True
        loop, process = self._home or (asyncio.get_running_loop(), os.getpid())
        if process != os.getpid():
            # All of it is the parent's.
            return
        if loop is asyncio.get_running_loop():
            await self._background.close()
            await self._free()
        elif loop.is_running():
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.close(), loop))
        else:
            # No task of it goes on.
            self._background.abandon()
            await self._free()

    async def _free(self) -> None:
        closing = self._transport.close()
        if isinstance(closing, Awaitable):
            await closing
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _gathered(
        self,
        images: Iterable[ImageLike] | AsyncIterable[ImageLike],
        flow: Callable[[int, Sequence[ImageLike]], Flow[list[_T]]],
        *,
        batch_size: int | None,
        in_flight: int,
    ) -> AsyncGenerator[tuple[int, list[_T]], None]:
        """Return an iterator over the place of each batch and its results, as they come."""
        size, in_flight = self._sizes(images, batch_size, in_flight)
        self._open()
        return gathered(
            batched(images, size),
            lambda first, batch: self._run(flow(first, batch)),
            in_flight=in_flight,
        )

    async def _run(self, flow: Flow[_T]) -> _T:
        self._open()
        self._bind()
        try:
            return await self._drive(flow)
        except asyncio.CancelledError:
            # What is cancelled with the client, and not by its own task, was closed.
            task = asyncio.current_task()
            if self._closed and not (task and task.cancelling()):
                raise self._ended() from None
            raise

    async def _send(self, request: Send) -> Reply:
        return await (self._post if self._coalescing is None else self._coalescing.send)(request)

    async def _post(self, request: Send) -> Reply:
        reply = self._transport.send(request)
        return await reply if isinstance(reply, Awaitable) else reply

    async def _work(self, job: Callable[[], Any]) -> Any:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, job)
        except RuntimeError as error:
            # So does the pool say that it is shut down.
            if self._closed:
                raise self._ended() from error
            raise

    async def _drive(self, flow: Flow[_T]) -> _T:
        return await arun(flow, self._send, work=self._work, spawn=self._background.spawn)

    def _bind(self) -> None:
        here = (asyncio.get_running_loop(), os.getpid())
        self._home = self._home or here
        if self._home[1] != here[1]:
            raise self._misplaced("The client was used before this process was forked; make one in each process.")
        if self._home[0] is not here[0]:
            raise self._misplaced("The client belongs to another event loop; make one for each, or keep one loop.")

    def _ended(self) -> ClientClosedError:
        return about(ClientClosedError(CLOSED_DURING), self._session.config)

    def _misplaced(self, words: str) -> EventLoopError:
        return about(EventLoopError(words), self._session.config)


async def _flat(batches: AsyncGenerator[tuple[int, list[_T]], None]) -> AsyncGenerator[tuple[int, _T], None]:
    async with aclosing(batches):
        async for first, results in batches:
            for place, result in enumerate(results, start=first):
                yield place, result
