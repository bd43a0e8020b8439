"""Which driver of a GPU is here, and which packages suit it."""

import pytest

from triton_sdk.errors import LocalServerError
from triton_sdk.local import Driver, find_driver

TABLE = """\
| NVIDIA-SMI 580.65.06    Driver Version: 580.65.06    CUDA {word}Version: 13.0     |
|   0  NVIDIA H100 80GB HBM3          On  |   00000000:04:00.0 Off |                    0 |
| N/A   33C    P0             71W /  700W |       0MiB /  81559MiB |      0%      Default |
|   1  NVIDIA H100 80GB HBM3          On  |   00000000:05:00.0 Off |                    0 |
| N/A   33C    P0             71W /  700W |     512MiB /  81559MiB |      0%      Default |
"""


def test_the_drivers_library_is_asked_first() -> None:
    """It tells version and GPUs, and nvidia-smi is not run."""
    answer = {"cuda": 12040, "gpus": 1, "name": "NVIDIA H100 80GB HBM3"}
    found = find_driver(lambda: answer, lambda: pytest.fail("nvidia-smi was run"))
    assert found == Driver(gpus=1, cuda=(12, 4), name="NVIDIA H100 80GB HBM3")


@pytest.mark.parametrize("word", ["", "UMD "])
def test_nvidia_smi_is_read_where_the_library_is_not_found(word: str) -> None:
    """Its table has the CUDA version, under its old name or its new one, and a line of memory for each GPU."""
    assert find_driver(dict, lambda: TABLE.format(word=word)) == Driver(gpus=2, cuda=(13, 0))


@pytest.mark.parametrize(("cuda", "file"), [((12, 0), "cuda12"), ((13, 1), "cuda13"), ((14, 2), "cuda13")])
def test_the_packages_are_not_newer_than_the_driver(cuda: tuple[int, int], file: str) -> None:
    """A driver serves every CUDA up to its own."""
    assert Driver(gpus=1, cuda=cuda).packages.name == f"requirements-{file}.txt"


def test_what_is_missing_is_said_with_what_to_do() -> None:
    """No driver, no GPU and an old driver are three things."""
    with pytest.raises(LocalServerError, match=r"neither libcuda\.so\.1 nor nvidia-smi .*--gpus=all.*on the CPU"):
        find_driver(dict, str)
    with pytest.raises(LocalServerError, match="shows no GPU"):
        find_driver(lambda: {"cuda": 13000, "gpus": 0})
    with pytest.raises(LocalServerError, match=r"needs a driver for CUDA 12 or later.* knows CUDA 11\.8"):
        _ = Driver(gpus=1, cuda=(11, 8)).packages
