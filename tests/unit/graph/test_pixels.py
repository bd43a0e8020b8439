"""What a graph is given for a pixel: the nodes against the reference, and the reference against Pillow and numpy."""

import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from scripts.graph.compare import fused_difference
from scripts.graph.inspect import image_size, inspect
from scripts.graph.pixels import Pixels
from scripts.graph.rewrite import fuse
from scripts.graph.session import Session
from scripts.host.errors import TaskFailure
from tests.doubles.score_heads import node
from tests.doubles.tiny_models import constant, model, value
from triton_sdk.contract import IMAGENET_MEAN, IMAGENET_STD, Layout
from triton_sdk.images import normalise

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
PLAIN = {"mean": (0.0,), "std": (1.0,)}


def means(layout: Layout, *, channels: int = 3, dtype: int = TensorProto.FLOAT, opset: int = 17) -> onnx.ModelProto:
    """Return a model whose scores are the mean of each channel: what it was given, in short, and its negative."""
    dims = [channels, 6, 5] if layout == "NCHW" else [6, 5, channels]
    axes = [2, 3] if layout == "NCHW" else [1, 2]
    nodes = [
        node("Cast", "data", "floats", to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["mean"], axes=axes, keepdims=0),
        node("MatMul", "mean spread", "scores"),
    ]
    spread = np.eye(channels, 3, dtype=np.float32) * 0.01
    spread[0, 2] -= 0.02
    return model(
        nodes,
        inputs=[value("data", ["n", *dims], dtype)],
        outputs=[value("scores", ["n", 3])],
        weights=[constant("spread", spread.tolist(), np.float32)],
        opset=opset,
    )


def given(
    layout: Layout, pixels: Pixels, *, channels: int = 3, opset: int = 17
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return what the nodes in front of a graph make of the images: the input of its first node."""
    tiny = means(layout, channels=channels, opset=opset)
    fused = fuse(tiny, inspect(tiny), pixels=pixels)
    del fused.graph.output[:]
    fused.graph.output.append(value("data", ["n", "a", "b", "c"]))
    return np.asarray(Session(fused).outputs({"image": IMAGES}, names=["data"])[0])


def test_imagenet_s_normalisation_is_the_client_s_bit_for_bit() -> None:
    """Reference, nodes and the SDK's own normalise() give the same floats."""
    pixels = Pixels(mean=IMAGENET_MEAN, std=IMAGENET_STD)
    for layout in ("NCHW", "NHWC"):
        expected = normalise(IMAGES, mean=IMAGENET_MEAN, std=IMAGENET_STD, layout=layout)
        np.testing.assert_array_equal(pixels.tensor(IMAGES, layout=layout, dtype=np.dtype(np.float32)), expected)
        np.testing.assert_array_equal(given(layout, pixels), expected)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        (1.0, IMAGES.astype(np.float64)),
        (1 / 127.5, IMAGES / 127.5),
        (0.017, IMAGES * 0.017),
        (1 / 256, IMAGES / 256),
    ],
)
def test_any_scale_is_in_the_graph(
    layout: Layout, scale: float, expected: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
) -> None:
    """0..255, halves and odd factors reach the model's input as said, in either layout."""
    pixels = Pixels(scale=scale, mean=(1.0, 0.5, 0.0), std=(1.0, 2.0, 0.5))
    right = (expected - np.array([1.0, 0.5, 0.0])) / np.array([1.0, 2.0, 0.5])
    got = given(layout, pixels)
    np.testing.assert_allclose(got if layout == "NHWC" else got.transpose(0, 2, 3, 1), right, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(got, pixels.tensor(IMAGES, layout=layout, dtype=np.dtype(np.float32)))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_bgr_is_turned_in_the_graph(layout: Layout) -> None:
    """The first channel of the model's input is blue; mean and std are in its own order."""
    got = given(layout, Pixels(colour="bgr", scale=1.0, mean=(1.0, 2.0, 3.0), std=(1.0, 1.0, 1.0)))
    last = got if layout == "NHWC" else got.transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(last, IMAGES[..., ::-1].astype(np.float32) - np.array([1, 2, 3], np.float32))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("opset", [11, 13, 17])
def test_gray_is_pillow_s(layout: Layout, opset: int) -> None:
    """One channel holds what Pillow's convert("L") gives, to the last level."""
    got = given(layout, Pixels(colour="gray", scale=1.0, **PLAIN), channels=1, opset=opset)
    pillow = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in IMAGES])
    np.testing.assert_array_equal(got.reshape(pillow.shape), pillow.astype(np.float32))


def test_every_gray_is_pillow_s() -> None:
    """Rounding is right for a picture of many colours, pure ones among them."""
    levels = np.array([0, 1, 2, 63, 127, 128, 200, 254, 255], np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, 27, 27, 3)
    got = Pixels(colour="gray", scale=1.0, **PLAIN).tensor(colours, layout="NHWC", dtype=np.dtype(np.uint8))
    np.testing.assert_array_equal(got[0, ..., 0], np.asarray(Image.fromarray(colours[0]).convert("L")))


@pytest.mark.parametrize("dtype", [TensorProto.UINT8, TensorProto.FLOAT16, TensorProto.DOUBLE])
@pytest.mark.parametrize("colour", ["rgb", "bgr", "gray"])
def test_a_model_of_any_type_is_fused(dtype: int, colour: str) -> None:
    """Bytes, half and double precision take every order of colours, and the proof sees a wrong one."""
    tiny = means("NCHW", channels=1 if colour == "gray" else 3, dtype=dtype)
    found = inspect(tiny)
    channels = (0.3,) if colour == "gray" else (0.1, 0.3, 0.7)
    pixels = Pixels(colour=colour, mean=channels, std=channels)  # type: ignore[arg-type]
    fused = fuse(tiny, found, pixels=pixels)
    assert fused_difference(tiny, fused, found, images=IMAGES, pixels=pixels) < 1e-3
    if colour == "bgr":
        wrong = Pixels(mean=channels, std=channels)
        coloured = IMAGES // np.array([1, 2, 4], np.uint8)
        assert fused_difference(tiny, fused, found, images=coloured, pixels=wrong) > 2e-3


def test_open_height_and_width_are_asked_for() -> None:
    """Nothing is taken for granted: the refusal names --size, and with one the model is described."""
    tiny = means("NCHW")
    for axis, name in ((2, "height"), (3, "width")):
        tiny.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    assert image_size(tiny) == (None, None)
    with pytest.raises(TaskFailure, match=r"--size HEIGHTxWIDTH") as refusal:
        inspect(tiny)
    advised = re.search(r"--size (\d+)x(\d+)", str(refusal.value))
    assert advised
    found = inspect(tiny, size=(int(advised[1]), int(advised[2])))
    assert (found.height, found.width) == (224, 224)
    assert (inspect(tiny, size=(6, 5)).input.shape, image_size(means("NHWC"))) == ((3, 6, 5), (6, 5))


@pytest.mark.parametrize(("layout", "channels"), [("NCHW", 3), ("NHWC", 3), ("NCHW", 1)])
def test_open_channels_are_found_by_trying(layout: Layout, channels: int) -> None:
    """Hugging Face's exports leave all four dimensions open: the order that runs is taken."""
    tiny = means(layout, channels=channels)
    for dim in tiny.graph.input[0].type.tensor_type.shape.dim:
        dim.dim_param = "open"
    found = inspect(tiny, size=(6, 5))
    assert (found.layout, found.channels, found.height, found.width) == (layout, channels, 6, 5)
