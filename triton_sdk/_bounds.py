"""How large what a server says may be: it is not believed beyond what a classifier needs and a machine can hold."""

import re
from typing import Final

# 4096 x 4096: one image is made ready in half a second, and is 50 MB as UINT8 and 200 MB as FP32.
MOST_PIXELS: Final = 2**24
# Fifty times ImageNet-21k.
MOST_CLASSES: Final = 2**20
# The shorter side before the crop, in pixels.
MOST_RESIZE: Final = 2**16
# For mean and standard deviation of pixels in [0, 1], and their inverses.
MOST_SCALE: Final = 1e6
# No request is made larger than one bound, nor one whose answer would be larger than the other. A message of protobuf
# cannot have 2 GiB.
REQUEST_BYTES: Final = 2**30
REPLY_BYTES: Final = 2**26
# Triton counts versions from 1, in 64 bits.
_VERSION: Final = re.compile(r"[1-9][0-9]{0,18}")


def version(text: str) -> int | None:
    """Return the version that *text* says; None where it says none."""
    return int(text) if _VERSION.fullmatch(text) else None
