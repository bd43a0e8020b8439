"""A real Triton on this machine, for development and tests."""

try:
    from triton_sdk.local._checks import left_out, model_choice
    from triton_sdk.local._driver import Driver, find_driver, gpu_choice
    from triton_sdk.local._interpreters import Interpreter, find_interpreter
    from triton_sdk.local._runtime import BACKEND, REQUIREMENTS, Progress, Runtime, old_runtimes, provision
    from triton_sdk.local._server import LocalTriton
except ModuleNotFoundError as _error:
    if _error.name not in ("filelock", "platformdirs"):
        raise
    raise ImportError("triton_sdk.local needs more packages: install triton-sdk[local].") from _error

__all__ = [
    "BACKEND",
    "REQUIREMENTS",
    "Driver",
    "Interpreter",
    "LocalTriton",
    "Progress",
    "Runtime",
    "find_driver",
    "find_interpreter",
    "gpu_choice",
    "left_out",
    "model_choice",
    "old_runtimes",
    "provision",
]
