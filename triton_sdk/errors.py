"""Every error that this package raises on purpose.

::

    TritonError
    ├── ConfigurationError (ValueError)      a setting or an argument cannot be used
    ├── InvalidImageError (ValueError)       an image cannot be read or is not one
    ├── ClientClosedError (RuntimeError)     the client was closed before the call
    ├── EventLoopError (RuntimeError)        an async client was used outside its own event loop
    ├── ContractError                        the model is no image classifier that this client can serve
    ├── LocalServerError (RuntimeError)      a local Triton could not be installed, started or kept
    ├── TransportError                       no answer came
    │   ├── ServerUnavailableError (ConnectionError)
    │   └── DeadlineExceededError (TimeoutError)
    └── ServerError                          the server answered, and refused
        ├── ModelNotFoundError (LookupError)
        ├── InvalidRequestError (ValueError)
        ├── ServerOverloadedError
        └── InferenceFailedError

A message says what failed, where, and what to try; attributes say the same to programs; ``__cause__`` keeps what lay
beneath.
"""

__all__ = [
    "ClientClosedError",
    "ConfigurationError",
    "ContractError",
    "DeadlineExceededError",
    "EventLoopError",
    "InferenceFailedError",
    "InvalidImageError",
    "InvalidRequestError",
    "LocalServerError",
    "ModelNotFoundError",
    "ServerError",
    "ServerOverloadedError",
    "ServerUnavailableError",
    "TransportError",
    "TritonError",
]


class TritonError(Exception):
    """Any failure that this package names, with what is known of it.

    Attributes:
        target: The server's address, as the client was given it; None where the failure is not about a server.
        model: The model's name, likewise.
        version: The version that was asked, or that answered; None where the choice was the server's.
        attempts: How often the request was sent; 0 where none was, or where none failed by itself.
        code: Name of the gRPC status that came last: ``"UNAVAILABLE"``, ...; None where none did.
    """

    target: str | None = None
    model: str | None = None
    version: int | None = None
    attempts: int = 0
    code: str | None = None


class ConfigurationError(TritonError, ValueError):
    """A setting or an argument cannot be used; nothing was sent."""


class InvalidImageError(TritonError, ValueError):
    """An image cannot be read, or is not one; nothing was sent."""


class ClientClosedError(TritonError, RuntimeError):
    """The client was closed before the call."""


class EventLoopError(TritonError, RuntimeError):
    """An async client was used in another event loop, or another process, than the one of its first call."""


class ContractError(TritonError):
    """The served model is no image classifier that this client can use."""


class LocalServerError(TritonError, RuntimeError):
    """A local Triton could not be installed, started or kept running."""


class TransportError(TritonError):
    """No answer came from the server."""


class ServerUnavailableError(TransportError, ConnectionError):
    """The server cannot be reached, or is starting or stopping."""


class DeadlineExceededError(TransportError, TimeoutError):
    """The call's time was up before an answer came."""


class ServerError(TritonError):
    """The server answered, and refused."""


class ModelNotFoundError(ServerError, LookupError):
    """The server does not serve this model or this version."""


class InvalidRequestError(ServerError, ValueError):
    """The request does not fit what the model takes."""


class ServerOverloadedError(ServerError):
    """The model's queue is full, or the request waited in it for too long."""


class InferenceFailedError(ServerError):
    """The model failed on a request that fits it."""
