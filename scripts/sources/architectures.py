"""The true layers of ResNet50 and MobileNetV2 as ONNX nodes, with random weights."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import attrs
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

CLASSES = 1000
# Triton's ONNX Runtime lags behind PyPI's; every one since 1.14 reads this pair.
OPSET, IR_VERSION = 17, 8
# A residual branch of full size would double the variance at each of 16 blocks, and with it what rounding does.
RESIDUAL_SCALE = 0.4


@attrs.frozen(kw_only=True)
class Architecture:
    """One known network.

    Attributes:
        input: Name of its input, FP32 ``(n, 3, 224, 224)``.
        trunk: Emits the nodes from the input to the features, and returns the features' name, ``(n, features)``.
        shift: What normalisations add, in standard deviations, so that more activations lie on the straight part of
            the ReLU that follows: a random network is chaotic. Without it, noise of one level in the pixels changed the
            best class of 3 or 4 images in 10; with it, of 1 in 20 (ResNet50) and 1 in 8 (MobileNetV2). With more of
            it, images begin to share classes.
    """

    input: str
    trunk: Callable[["Layers", str], str]
    shift: float


class Layers:
    """Nodes and weights of a network that is being built."""

    def __init__(self, generator: np.random.Generator, *, shift: float) -> None:
        self.generator = generator
        self.shift = shift
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, NDArray[np.generic]] = {}

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Append a node and return the name of its one output."""
        output = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], output, **attributes))
        return output

    def weight(self, name: str, values: NDArray[np.generic]) -> str:
        """Keep *values* as an initializer and return its name."""
        self.weights[name] = values
        return name

    def conv(self, source: str, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> str:
        """Append a convolution without bias, ``same``-padded, and return its output's name."""
        fan_in = inputs // groups * kernel * kernel
        shape = (outputs, inputs // groups, kernel, kernel)
        values = self.generator.standard_normal(shape, dtype=np.float32) * np.float32((2 / fan_in) ** 0.5)
        return self.add(
            "Conv",
            source,
            self.weight(f"conv_{len(self.nodes)}.weight", values),
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[kernel // 2] * 4,
            group=groups,
        )

    def norm(self, source: str, channels: int, *, residual: bool = False) -> str:
        """Append a batch normalisation, its statistics still to be measured, and return its output's name.

        At the end of a *residual* branch it is smaller and not shifted.
        """
        name = f"norm_{len(self.nodes)}"
        spread = self.generator.standard_normal((2, channels), dtype=np.float32) * np.float32(0.1)
        scale, shift = (RESIDUAL_SCALE, 0) if residual else (1, self.shift)
        return self.add(
            "BatchNormalization",
            source,
            self.weight(f"{name}.scale", np.float32(scale) * (1 + spread[0])),
            self.weight(f"{name}.bias", spread[1] + np.float32(shift)),
            self.weight(f"{name}.mean", np.zeros(channels, np.float32)),
            self.weight(f"{name}.var", np.ones(channels, np.float32)),
            epsilon=1e-5,
        )

    def pooled(self, source: str) -> str:
        """Append the mean over height and width, and return the name of ``(n, channels)``."""
        return self.add("Flatten", self.add("GlobalAveragePool", source), axis=1)

    def initializers(self) -> list[onnx.TensorProto]:
        """Return the weights as tensors."""
        return [numpy_helper.from_array(values, name) for name, values in self.weights.items()]


def _bottleneck(layers: Layers, source: str, inputs: int, width: int, stride: int) -> str:
    """Append a block of ResNet50 with the stride in its 3 x 3 convolution, as torchvision has it."""
    outputs = 4 * width
    x = layers.add("Relu", layers.norm(layers.conv(source, inputs, width, 1), width))
    x = layers.add("Relu", layers.norm(layers.conv(x, width, width, 3, stride=stride), width))
    x = layers.norm(layers.conv(x, width, outputs, 1), outputs, residual=True)
    if inputs != outputs:
        source = layers.norm(layers.conv(source, inputs, outputs, 1, stride=stride), outputs)
    return layers.add("Relu", layers.add("Add", x, source))


def _resnet50(layers: Layers, source: str) -> str:
    """Append what He et al., arXiv 1512.03385, table 1, show up to the average pool."""
    x = layers.add("Relu", layers.norm(layers.conv(source, 3, 64, 7, stride=2), 64))
    x = layers.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            x = _bottleneck(layers, x, channels, width, stride if block == 0 else 1)
            channels = 4 * width
    return layers.pooled(x)


def _relu6(layers: Layers, source: str) -> str:
    for name, value in (("zero", 0.0), ("six", 6.0)):
        layers.weight(name, np.array(value, np.float32))
    return layers.add("Clip", source, "zero", "six")


def _inverted_residual(layers: Layers, source: str, inputs: int, outputs: int, expansion: int, stride: int) -> str:
    """Append a block of MobileNetV2: expand, convolve each channel, project."""
    x, width = source, inputs * expansion
    if expansion != 1:
        x = _relu6(layers, layers.norm(layers.conv(x, inputs, width, 1), width))
    x = _relu6(layers, layers.norm(layers.conv(x, width, width, 3, stride=stride, groups=width), width))
    skips = stride == 1 and inputs == outputs
    x = layers.norm(layers.conv(x, width, outputs, 1), outputs, residual=skips)
    return layers.add("Add", x, source) if skips else x


def _mobilenetv2(layers: Layers, source: str) -> str:
    """Append what Sandler et al., arXiv 1801.04381, table 2, show up to the average pool."""
    x, channels = _relu6(layers, layers.norm(layers.conv(source, 3, 32, 3, stride=2), 32)), 32
    for expansion, outputs, blocks, stride in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for block in range(blocks):
            x = _inverted_residual(layers, x, channels, outputs, expansion, stride if block == 0 else 1)
            channels = outputs
    return layers.pooled(_relu6(layers, layers.norm(layers.conv(x, channels, 1280, 1), 1280)))


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "resnet50": Architecture(input="data", trunk=_resnet50, shift=1.0),
        "mobilenetv2": Architecture(input="input", trunk=_mobilenetv2, shift=2.0),
    }
)
