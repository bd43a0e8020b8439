"""A real Triton on this machine, for development and tests."""

try:
    from triton_sdk.local.runtime import Runtime, provision
    from triton_sdk.local.server import LocalTriton
except ModuleNotFoundError as error:
    if error.name not in ("filelock", "platformdirs"):
        raise
    raise ImportError("triton_sdk.local needs more packages: install triton-sdk[local].") from error

__all__ = ["LocalTriton", "Runtime", "provision"]
