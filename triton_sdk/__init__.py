"""Typed client for image classifiers on NVIDIA Triton."""

from triton_sdk._calls import Inference
from triton_sdk._version import __version__
from triton_sdk.client import ResNetClient
from triton_sdk.config import ClientConfig, RetryPolicy, Tls
from triton_sdk.contract import ModelContract, TensorSpec
from triton_sdk.errors import (
    ClientClosedError,
    ConfigurationError,
    ContractError,
    DeadlineExceededError,
    InferenceFailedError,
    InvalidImageError,
    InvalidRequestError,
    LocalServerError,
    ModelNotFoundError,
    ServerError,
    ServerOverloadedError,
    ServerUnavailableError,
    TransportError,
    TritonError,
)
from triton_sdk.images import ImageLike
from triton_sdk.predictions import ClassScore, Prediction

__all__ = [
    "ClassScore",
    "ClientClosedError",
    "ClientConfig",
    "ConfigurationError",
    "ContractError",
    "DeadlineExceededError",
    "ImageLike",
    "Inference",
    "InferenceFailedError",
    "InvalidImageError",
    "InvalidRequestError",
    "LocalServerError",
    "ModelContract",
    "ModelNotFoundError",
    "Prediction",
    "ResNetClient",
    "RetryPolicy",
    "ServerError",
    "ServerOverloadedError",
    "ServerUnavailableError",
    "TensorSpec",
    "Tls",
    "TransportError",
    "TritonError",
    "__version__",
]
