"""Typed client for image classifiers on NVIDIA Triton."""

from triton_sdk._version import __version__
from triton_sdk.aio import AsyncResNetClient
from triton_sdk.client import ResNetClient
from triton_sdk.config import ClientConfig, ClientSettings, Coalesce, RetryPolicy, Tls
from triton_sdk.contract import ModelContract, TensorSpec
from triton_sdk.errors import (
    ClientClosedError,
    ConfigurationError,
    ContractError,
    DeadlineExceededError,
    EventLoopError,
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
from triton_sdk.predictions import ClassScore, Inference, Prediction
from triton_sdk.traffic import TrafficPlan
from triton_sdk.versions import Fallback, Shadow, ShadowReport, Split, Version

__all__ = [
    "AsyncResNetClient",
    "ClassScore",
    "ClientClosedError",
    "ClientConfig",
    "ClientSettings",
    "Coalesce",
    "ConfigurationError",
    "ContractError",
    "DeadlineExceededError",
    "EventLoopError",
    "Fallback",
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
    "Shadow",
    "ShadowReport",
    "Split",
    "TensorSpec",
    "Tls",
    "TrafficPlan",
    "TransportError",
    "TritonError",
    "Version",
    "__version__",
]
