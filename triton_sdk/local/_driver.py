"""Find NVIDIA's driver: how many GPUs it has, and which CUDA it knows."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from triton_sdk.errors import LocalServerError

# Of each CUDA, the packages that take onnxruntime's place. A driver serves every CUDA that is not newer than itself.
CUDAS = (13, 12)
# A model's configuration for GPUs, beside the one for CPUs: configs/gpu.pbtxt.
GPU_CONFIG = "gpu"
PROBE = Path(__file__).with_name("_driver_probe.py")
_WAY_OUT = "Or serve on the CPU: leave --gpu (in Python: gpu=True) out."


@attrs.frozen(kw_only=True)
class Driver:
    """NVIDIA's driver.

    Attributes:
        gpus: How many GPUs it has.
        cuda: The newest CUDA that it knows: ``(13, 0)``.
        name: What its first GPU is.
    """

    gpus: int
    cuda: tuple[int, int]
    name: str = "an NVIDIA GPU"

    @property
    def packages(self) -> Path:
        """The requirements of the runtime that suits it: onnxruntime for GPUs and the CUDA packages that it needs.

        Raises:
            LocalServerError: If it is too old for all of them.
        """
        for major in CUDAS:
            if self.cuda[0] >= major:
                return Path(__file__).with_name(f"requirements-cuda{major}.txt")
        raise LocalServerError(
            f"The local Triton needs a driver for CUDA {CUDAS[-1]} or later to use a GPU; this one knows CUDA "
            f"{self.cuda[0]}.{self.cuda[1]}. Install a newer driver of NVIDIA's. {_WAY_OUT}"
        )


def find_driver(ask: Callable[[], Mapping[str, Any]] | None = None, smi: Callable[[], str] | None = None) -> Driver:
    """Return this machine's driver.

    Args:
        ask: Tells what ``_driver_probe.py`` prints, or ``{}`` where it ends otherwise.
        smi: Tells what ``nvidia-smi`` prints, or nothing where there is none.

    Raises:
        LocalServerError: If there is none, or it has no GPU.
    """
    answer, shown = (ask or probe)(), ""
    if "cuda" in answer:
        cuda = (answer["cuda"] // 1000, answer["cuda"] % 1000 // 10)
        found = Driver(gpus=int(answer["gpus"]), cuda=cuda, name=answer.get("name") or "an NVIDIA GPU")
    else:
        # Its library may lie where only its own programs look.
        shown = (smi or nvidia_smi)()
        # "CUDA Version: 12.4", in newer ones "CUDA UMD Version: 13.1".
        told = re.search(r"CUDA (?:\w+ )?Version: (\d+)\.(\d+)", shown)
        if told is None:
            raise LocalServerError(
                "The local Triton cannot use a GPU, because it finds no NVIDIA driver: neither libcuda.so.1 nor "
                "nvidia-smi answers. Install NVIDIA's driver; in a container, start it with the GPUs (Docker: "
                f"--gpus=all). {_WAY_OUT}"
            )
        # A line for each GPU ends with its memory and its load: "| 1234MiB / 81559MiB | 0% Default |".
        found = Driver(gpus=len(re.findall(r"\d+MiB */ *\d+MiB", shown)), cuda=(int(told[1]), int(told[2])))
    if not found.gpus:
        raise LocalServerError(
            "NVIDIA's driver is here, but it shows no GPU: ask `nvidia-smi`, and look at CUDA_VISIBLE_DEVICES. "
            f"{_WAY_OUT}"
        )
    return found


def gpu_choice(repository: Path) -> tuple[str, ...]:
    """Return the server's flag by which models take their configuration for GPUs; none where no model has one."""
    return (f"--model-config-name={GPU_CONFIG}",) if any(repository.glob(f"*/configs/{GPU_CONFIG}.pbtxt")) else ()


def probe() -> Mapping[str, Any]:
    """Ask the driver's library in a short child process, since loading it would leave threads in this one."""
    try:
        child = subprocess.run(
            [sys.executable, "-I", "-S", str(PROBE)], capture_output=True, text=True, timeout=60,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        answer: Mapping[str, Any] = json.loads(child.stdout)
    except (OSError, subprocess.TimeoutExpired, json.JSONDecodeError):
        return {}
    return answer


def nvidia_smi() -> str:
    """Return the table that ``nvidia-smi`` prints; nothing where it does not run."""
    try:
        child = subprocess.run(["nvidia-smi"], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return child.stdout if child.returncode == 0 else ""
