"""What Triton refuses about a model's backend: its name, its platform, its files, its parameters."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.repository.lint.finding import Finding, error, warning

# What `platform` may say, and the backend that it means (the core's src/constants.h).
_PLATFORMS = {
    "onnxruntime_onnx": "onnxruntime",
    "tensorrt_plan": "tensorrt",
    "pytorch_libtorch": "pytorch",
    "torch_aoti": "pytorch",
    "tensorflow_graphdef": "tensorflow",
    "tensorflow_savedmodel": "tensorflow",
}
_ENSEMBLE = "ensemble"
# The files that these backends open where default_model_filename says nothing. The ONNX file has checks of its own.
_FILES = {"python": ("model.py",), "tensorrt": ("model.plan",), "pytorch": ("model.pt", "model.pt2")}
# What else NVIDIA's images or its own repositories bring, each as libtriton_NAME.so or as a Python-based backend.
_OTHERS = ("openvino", "dali", "fil", "vllm", "tensorrtllm", "identity", "repeat", "square", "armnn_tflite")
_KNOWN = {*_PLATFORMS.values(), *_FILES, *_OTHERS}
_INT32 = 2**31
# The ONNX Runtime backend's parameters: its src/onnxruntime.cc.
_NUMBERS = {"intra_op_thread_count": None, "inter_op_thread_count": None, "execution_mode": ("0", "1")}
_TRUTHS = ("enable_mem_arena", "enable_mem_pattern")


def is_onnx(config: Mapping[str, Any]) -> bool:
    """Return whether the model is for the ONNX Runtime backend."""
    return config.get("backend") == "onnxruntime" or config.get("platform") == "onnxruntime_onnx"


def check_backend(config: Mapping[str, Any], folder: Path, versions: Mapping[int, Path]) -> Iterator[Finding]:
    """Yield what keeps Triton from finding or starting the backend of the model in *folder*."""
    backend, platform = str(config.get("backend", "")), str(config.get("platform", ""))
    if platform == _ENSEMBLE or "ensemble_scheduling" in config:
        yield from _check_ensemble(config, folder)
        return
    yield from _check_platform(backend, platform)
    backend = backend or _PLATFORMS.get(platform, "")
    if backend:
        yield from _check_library(backend, str(config.get("runtime", "")), [folder, *versions.values()])
    for number, version in versions.items():
        stated = str(config.get("default_model_filename") or "")
        names = (stated,) if stated else _FILES.get(backend, ())
        if backend in _FILES and not any((version / name).exists() for name in names):
            yield error(
                "model-missing",
                f"{number}/{names[0]} is missing: the backend {backend} cannot load the version. Add the file, or name "
                "the backend that the version is for.",
            )
    if is_onnx(config):
        yield from _check_parameters(config)
        if config.get("model_transaction_policy", {}).get("decoupled"):
            yield error(
                "decoupled",
                "model_transaction_policy says decoupled: Triton then refuses every request but those of a gRPC "
                "stream, and an ONNX model has one answer for each request. Remove model_transaction_policy.",
            )


def _check_platform(backend: str, platform: str) -> Iterator[Finding]:
    known = ", ".join(_PLATFORMS)
    if backend in _PLATFORMS.values() and platform and _PLATFORMS.get(platform) != backend:
        yield error(
            "platform",
            f"The platform {platform!r} does not belong to the backend {backend!r}: Triton refuses the model. Remove "
            "the platform: the backend alone is enough.",
        )
    elif not backend and platform and platform not in _PLATFORMS:
        yield error(
            "platform",
            f"The platform {platform!r} is none of those that Triton knows ({known}): Triton refuses the model. Name "
            f"the backend instead{_perhaps(platform)}.",
        )


def _check_library(backend: str, runtime: str, places: Sequence[Path]) -> Iterator[Finding]:
    library = f"libtriton_{backend}.so"
    if runtime and runtime not in (library, "model.py") and not any((place / runtime).exists() for place in places):
        yield error(
            "backend",
            f"The runtime {runtime!r} is not in the model's folder: Triton refuses the model. Remove runtime: the "
            "backend alone is enough.",
        )
    if backend in _KNOWN or any((place / library).exists() for place in places):
        return
    yield error(
        "backend",
        f"The backend {backend!r} is none that NVIDIA's images bring, and there is no {library} in the model's folder: "
        f"Triton refuses the model. Correct the name{_perhaps(backend)}, or put the library there.",
    )


def _perhaps(name: str) -> str:
    close = difflib.get_close_matches(name.lower(), sorted(_KNOWN), n=1)
    if not close and name.lower().startswith(("onnx", "ort")):
        close = ["onnxruntime"]
    return f', as in backend: "{close[0]}"' if close else ""


def _check_ensemble(config: Mapping[str, Any], folder: Path) -> Iterator[Finding]:
    if config.get("backend") or config.get("platform") != _ENSEMBLE:
        yield error(
            "ensemble",
            'An ensemble has platform: "ensemble" and no backend: Triton refuses the model. Correct it, or remove '
            "ensemble_scheduling.",
        )
    for field in ("instance_group", "optimization", "model_warmup"):
        if config.get(field):
            yield error("ensemble", f"An ensemble has no {field}: Triton refuses the model. Remove it.")
    steps = config.get("ensemble_scheduling", {}).get("step", [])
    if not steps:
        yield error(
            "ensemble",
            "The ensemble has no step in ensemble_scheduling: Triton refuses the model. Name the models that it joins.",
        )
    for step in steps:
        name = str(step.get("model_name", ""))
        if lacking := [field for field in ("model_name", "input_map", "output_map") if not step.get(field)]:
            yield error(
                "ensemble",
                f"A step of the ensemble lacks {', '.join(lacking)}: Triton refuses the model. Write it down.",
            )
        elif not (folder.parent / name).is_dir():
            yield error(
                "ensemble",
                f"A step of the ensemble asks the model {name!r}, which is not in the repository: Triton does not load "
                "the ensemble. Add that model, or correct the name.",
            )


def _check_parameters(config: Mapping[str, Any]) -> Iterator[Finding]:
    parameters = config.get("parameters", {})
    given = {str(key): str(value.get("string_value", "")) for key, value in parameters.items()}
    for name, choices in _NUMBERS.items():
        if name not in given:
            continue
        text = given[name].strip()
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit()) or len(digits) > 10 or not -_INT32 <= int(text) < _INT32:
            yield error(
                "parameter",
                f"The parameter {name} is {given[name]!r}, which is no whole number: the backend refuses the model. "
                f'Write one, as in parameters {{ key: "{name}" value {{ string_value: "1" }} }}.',
            )
        elif choices and text not in choices:
            yield error(
                "parameter",
                f"The parameter {name} is {given[name]!r}: the backend takes {' or '.join(choices)} and refuses the "
                "model. Correct it.",
            )
        elif text.startswith("-"):
            yield warning(
                "parameter",
                f"The parameter {name} is {given[name]!r}: the backend ignores a number below 0. Write how many "
                "threads you want, or remove the parameter.",
            )
    for name in _TRUTHS:
        if name in given and given[name].lower() not in ("true", "false", "1", "0"):
            yield error(
                "parameter",
                f"The parameter {name} is {given[name]!r}, but the backend takes true or false, and refuses the "
                "model. Correct it.",
            )
