"""Pixels become a model's tensor: normalised to the very bits of the formula, in its type and layout."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties import examples
from triton_sdk.contract import IMAGENET_MEAN, IMAGENET_STD, Layout, ModelContract, TensorSpec
from triton_sdk.images import normalise, to_tensor


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@examples(30)
@given(
    mean=st.tuples(*[st.floats(0, 1)] * 3) | st.just(IMAGENET_MEAN),
    std=st.tuples(*[st.floats(0.01, 1)] * 3) | st.just(IMAGENET_STD),
)
def test_normalising_is_bit_identical_to_the_formula(
    layout: Layout, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> None:
    """Looking up each of the 256 levels of each channel gives the very bits of the formula in float32."""
    levels = np.arange(2 * 16 * 24 * 3, dtype=np.uint32).reshape(2, 16, 24, 3)
    batch = ((levels * 7 + levels // 768) % 256).astype(np.uint8)
    assert all(len(np.unique(batch[..., channel])) == 256 for channel in range(3))
    expected = (batch.astype(np.float32) / np.float32(255) - np.array(mean, np.float32)) / np.array(std, np.float32)
    if layout == "NCHW":
        expected = expected.transpose(0, 3, 1, 2)
    found = normalise(batch, mean=mean, std=std, layout=layout)
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", ["UINT8", "FP32"])
def test_pixels_become_what_a_model_takes(dtype: str, layout: Layout) -> None:
    """Its type, normalised where that is no type of pixels, and its order of axes."""
    batch = np.random.default_rng(1).integers(0, 256, (2, 5, 4, 3), np.uint8)
    shape = (5, 4, 3) if layout == "NHWC" else (3, 5, 4)
    contract = ModelContract(
        model="m",
        input=TensorSpec(name="x", dtype=dtype, shape=shape),
        output=TensorSpec(name="y", dtype="FP32", shape=(2,)),
        layout=layout,
        max_batch=2,
        resize=5,
        mean=(0.1, 0.2, 0.3),
        std=(0.4, 0.5, 0.6),
    )
    found = to_tensor(batch, contract)
    assert found.dtype == {"UINT8": np.uint8, "FP32": np.float32}[dtype]
    assert found.shape == (2, *shape)
    assert found.flags.c_contiguous
    expected = batch if dtype == "UINT8" else (batch / 255 - contract.mean) / contract.std
    np.testing.assert_allclose(found.transpose(0, 2, 3, 1) if layout == "NCHW" else found, expected, atol=1e-5)
