"""What the client makes of an image, or the words with which it refuses one."""

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from triton_sdk.errors import InvalidImageError
from triton_sdk.images import to_pixels


def pixels(image: Any, *, orient: bool = False) -> NDArray[np.uint8]:
    """Return what a common classifier sees of *image*."""
    return to_pixels(image, resize=256, height=224, width=224, orient=orient)


def refusal(image: Any) -> str:
    """Return the message with which *image* is refused; a warning on the way is a failure."""
    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always")
        with pytest.raises(InvalidImageError) as caught:
            pixels(image)
    assert [str(warning.message) for warning in leaked] == []
    return str(caught.value)
