"""What both clients are made of: their settings, the checks of their arguments, and the flow of each call."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NoReturn, Self, Unpack

from numpy.typing import NDArray

from triton_sdk import _checks
from triton_sdk._checks import instance, seconds, whole
from triton_sdk._flow import operations, routing, streams, tensors
from triton_sdk._flow.failures import about
from triton_sdk._flow.session import Session
from triton_sdk._flow.steps import Flow
from triton_sdk.config import ClientConfig, ConfigSettings
from triton_sdk.contract import ModelContract
from triton_sdk.errors import ClientClosedError, ConfigurationError, TritonError
from triton_sdk.images import ImageLike
from triton_sdk.predictions import Inference, Prediction
from triton_sdk.telemetry import Hook
from triton_sdk.traffic import TrafficPlan
from triton_sdk.versions import Key, Version

# One batch on its way, one that is decoded, and one that is ready to follow.
IN_FLIGHT: Final = 3


class BaseClient:
    """The part of a client that neither waits nor sends."""

    # Whether images may come from an asynchronous iterable.
    _waiting = False

    def __init__(
        self,
        url: str | Iterable[str],
        *,
        labels: Sequence[str] | None = None,
        hooks: Sequence[Hook] = (),
        **settings: Unpack[ConfigSettings],
    ) -> None:
        config = ClientConfig(url=url, **settings)
        self._session = Session(
            config=config, given_labels=_checks.names(labels), hooks=_checks.functions(hooks, "hooks")
        )
        self._traffic = None if config.traffic is None else TrafficPlan(config.traffic, model=config.model)
        self._closed = False

    @classmethod
    def from_config(
        cls, config: ClientConfig, *, labels: Sequence[str] | None = None, hooks: Sequence[Hook] = ()
    ) -> Self:
        """Make a client of *config*.

        Raises:
            ConfigurationError: If a TLS file cannot be read.
        """
        instance(config, ClientConfig, "config", "ClientConfig(url='localhost:8001')")
        return cls(config.url, labels=labels, hooks=hooks, **config.settings)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Make a client of the ``TRITON_*`` variables that `ClientConfig.from_env` reads.

        Raises:
            ConfigurationError: If variables are missing or cannot be used: all of them, by name.
        """
        return cls.from_config(ClientConfig.from_env(environ))

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied: connections and threads stay in their process.

        Raises:
            ConfigurationError: Always; the message says what to do instead.
        """
        raise ConfigurationError(
            f"{type(self).__name__} cannot be pickled or copied, for its connections belong to this process. Make "
            "one in each process; a ClientConfig can be pickled, and from_config() makes a client of it."
        )

    def __repr__(self) -> str:
        state = ", closed" if self._closed else ""
        return f"{type(self).__name__}({self._session.config.url!r}, model={self._session.config.model!r}{state})"

    def _predict(
        self,
        images: Sequence[ImageLike],
        *,
        version: Version,
        key: Key | None,
        top_k: int,
        deadline: float,
        first: int | None = None,
        around: routing.Around | None = None,
    ) -> Flow[list[Prediction]]:
        whole(top_k, "top_k")
        asked = self._traffic if version is None else version
        return routing.predict(
            self._session,
            images,
            version=asked,
            key=key,
            top=top_k,
            deadline=deadline,
            first=first,
            around=around,
        )

    def _many(
        self, *, version: Version, key: Key | None, top_k: int, timeout: float | None
    ) -> Callable[[int, Sequence[ImageLike]], Flow[list[Prediction]]]:
        """Return what makes the flow of one batch, given the place of its first image."""
        whole_call = None if timeout is None else self._deadline(timeout)

        def flow(first: int, batch: Sequence[ImageLike]) -> Flow[list[Prediction]]:
            deadline = self._deadline(None) if whole_call is None else whole_call
            return self._predict(batch, version=version, key=key, top_k=top_k, deadline=deadline, first=first)

        return flow

    def _stream(
        self, *, version: Version, key: Key | None, top_k: int, timeout: float | None
    ) -> Callable[[int, Sequence[ImageLike]], Flow[list[Prediction | TritonError]]]:
        """Return what makes the flow of one batch of a stream."""
        allowed = self._session.config.timeout if timeout is None else seconds(timeout)
        whole(top_k, "top_k")

        def flow(_first: int, batch: Sequence[ImageLike]) -> Flow[list[Prediction | TritonError]]:
            predict = partial(
                self._predict, version=version, key=key, top_k=top_k, deadline=self._session.clock() + allowed
            )
            return streams.outcomes(self._session, batch, predict)

        return flow

    def _sizes(self, images: object, batch_size: int | None, in_flight: int) -> tuple[int, int]:
        """Check what is to be classified; return how many images to take at once, and batches to have under way."""
        tensors.check_several(images, waiting=self._waiting)
        if batch_size is not None:
            whole(batch_size, "batch_size")
        whole(in_flight, "in_flight")
        size = batch_size or tensors.BATCH_SIZE
        alone = isinstance(images, list | tuple) and len(images) <= size
        return size, 1 if alone else in_flight

    def _deadline(self, timeout: float | None) -> float:
        return self._session.clock() + (self._session.config.timeout if timeout is None else seconds(timeout))

    def _open(self) -> None:
        if self._closed:
            config = self._session.config
            raise about(ClientClosedError(f"The client for {config.url} is closed; make a new one."), config)

    def _infer(self, batch: NDArray[Any], version: int | None, timeout: float | None) -> Flow[Inference]:
        if version is not None:
            whole(version, "version")
        return operations.infer(self._session, batch, version=version, deadline=self._deadline(timeout))

    def _contract(self, timeout: float | None) -> Flow[ModelContract]:
        return operations.contract(self._session, deadline=self._deadline(timeout))

    def _versions(self, timeout: float | None) -> Flow[tuple[int, ...]]:
        return operations.versions(self._session, deadline=self._deadline(timeout))

    def _ready(self, version: int | None, timeout: float | None) -> Flow[bool]:
        if version is not None:
            whole(version, "version")
        return operations.ready(self._session, version=version, deadline=self._deadline(timeout))

    def _wait_ready(self, version: int | None, timeout: float) -> Flow[None]:
        if version is not None:
            whole(version, "version")
        return operations.wait_ready(self._session, version=version, deadline=self._deadline(timeout), timeout=timeout)
