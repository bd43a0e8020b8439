"""Say, as JSON, what NVIDIA's driver is; a script of its own, so only the standard library."""

import ctypes
import json

# <cuda.h>
CUDA_SUCCESS = 0
CUDA_ERROR_NO_DEVICE = 100


def driver() -> dict[str, int | str]:
    """Return the CUDA version as the driver writes it (12040 is 12.4), the number of GPUs, and the first one's name.

    Nothing is returned where there is no driver.
    """
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return {}
    version, gpus = ctypes.c_int(), ctypes.c_int()
    if library.cuDriverGetVersion(ctypes.byref(version)) != CUDA_SUCCESS:
        return {}
    status = library.cuInit(0)
    if status not in (CUDA_SUCCESS, CUDA_ERROR_NO_DEVICE):
        return {}
    name = ctypes.create_string_buffer(100)
    if status == CUDA_SUCCESS:
        library.cuDeviceGetCount(ctypes.byref(gpus))
        library.cuDeviceGetName(name, len(name), 0)
    return {"cuda": version.value, "gpus": gpus.value, "name": name.value.decode(errors="replace")}


if __name__ == "__main__":
    print(json.dumps(driver()))  # noqa: T201 - it is what this script is for
