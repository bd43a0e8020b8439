"""Build a known network with seeded weights, so that everything but its accuracy is real."""

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from scripts.graph.session import Session
from scripts.host.errors import TaskFailure
from scripts.repository import golden
from scripts.sources.architectures import ARCHITECTURES, CLASSES, IR_VERSION, OPSET, Architecture, Layers
from triton_sdk.contract import IMAGENET_MEAN, IMAGENET_STD
from triton_sdk.images import normalise

SIDE = 224
# Images that the statistics and the last layer are measured on; with fewer, answers to other images are unsure.
_IMAGES = 32
# Median probability of the best class on them: sure, and far enough from 1 that a small error still shows.
_CONFIDENCE = 0.9
# How many principal directions of the features are damped to the length of the next one. Brightness and contrast make
# up most of the first few: with only one damped, 40 images shared 30 to 35 classes over three seeds, with 8 31 to 37.
_DAMPED = 8


def build(name: str, *, seed: int, progress: Callable[[str], None]) -> onnx.ModelProto:
    """Build the network *name* with weights drawn from *seed*: the same bytes each time on one machine.

    Every normalisation holds the statistics of generated images, so that activations keep their size through all
    layers; the last layer is scaled until different images get different classes, most with a probability above 0.5.

    Args:
        name: ``"resnet50"`` or ``"mobilenetv2"``.
        seed: Any integer >= 0; another one gives other answers.
        progress: Takes a line for each stage.

    Returns:
        A model from images, FP32 ``(n, 3, 224, 224)``, normalised as for ImageNet, to logits FP32 ``(n, 1000)``.

    Raises:
        TaskFailure: If no such network is known, or onnxruntime cannot run it.
    """
    if name not in ARCHITECTURES:
        raise TaskFailure(f"There are no layers of {name!r}; seeded weights exist for {', '.join(ARCHITECTURES)}.")
    architecture, started = ARCHITECTURES[name], time.monotonic()
    layers = Layers(np.random.default_rng(seed), shift=architecture.shift)
    progress(f"Drawing the weights of {name} (seed {seed})")
    pooled = architecture.trunk(layers, architecture.input)
    progress(f"Measuring its activations on {_IMAGES} generated images")
    features = _settle(layers, architecture, pooled)
    progress("Scaling its last layer")
    weight, bias = _last_layer(features, layers.generator)
    layers.weight("fc.weight", weight)
    layers.weight("fc.bias", bias)
    layers.nodes.append(helper.make_node("Gemm", [pooled, "fc.weight", "fc.bias"], ["output"], "fc", transB=1))
    model = _model(layers.nodes, architecture, {"output": ["batch", CLASSES]}, layers.initializers())
    onnx.checker.check_model(model)
    progress(f"Built {name} with {parameters(model):,} parameters in {time.monotonic() - started:.1f} s")
    return model


def parameters(model: onnx.ModelProto) -> int:
    """Count the trainable weights of *model*: neither statistics of normalisations nor constants."""
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer}
    return sum(
        sizes.get(name, 0)
        for node in model.graph.node
        if node.op_type in ("Conv", "Gemm", "BatchNormalization")
        for name in node.input[1:3]
    )


def _settle(layers: Layers, architecture: Architecture, pooled: str) -> NDArray[np.float32]:
    """Write the statistics of generated images into the normalisations; return the features, ``(images, features)``.

    One pass does it: a normalisation in training mode uses the statistics of its batch, and gives them away.
    """
    nodes, statistics = [], []
    for node in layers.nodes:
        if node.op_type == "BatchNormalization":
            trained = onnx.NodeProto()
            trained.CopyFrom(node)
            # With momentum 0 nothing of the statistics that were there before stays.
            trained.attribute.extend(
                [helper.make_attribute("training_mode", 1), helper.make_attribute("momentum", 0.0)]
            )
            measured = [f"{name}.measured" for name in node.input[3:]]
            trained.output.extend(measured)
            statistics += list(zip(node.input[3:], measured, strict=True))
            node = trained
        nodes.append(node)
    names = [pooled, *(measured for _, measured in statistics)]
    model = _model(nodes, architecture, dict.fromkeys(names), layers.initializers())
    images = golden.images(_IMAGES, height=SIDE, width=SIDE)
    batch = normalise(images, mean=IMAGENET_MEAN, std=IMAGENET_STD, layout="NCHW")
    features, *values = Session(model, optimise=False).outputs({architecture.input: batch}, names=names)
    for (name, _), value in zip(statistics, values, strict=True):
        layers.weight(name, value)
    return features


def _last_layer(
    features: NDArray[np.float32], generator: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return weight ``(classes, features)`` and bias ``(classes,)`` that tell the images behind *features* apart.

    The weights are random directions, seen from the mean of the features: what all images have in common would
    otherwise decide, and one class win every time. The scale is searched for `_CONFIDENCE`.
    """
    middle = features.mean(axis=0, dtype=np.float64)
    spread = features - middle
    _, lengths, axes = np.linalg.svd(spread, full_matrices=False)
    excess = 1 - lengths[_DAMPED] / lengths[:_DAMPED]
    directions = generator.standard_normal((CLASSES, features.shape[1]))
    directions -= (directions @ axes[:_DAMPED].T * excess) @ axes[:_DAMPED]
    logits = spread @ directions.T
    # Bisection by factors: the median grows with the scale, from 1 / classes to 1.
    low, high = 1e-6, 1e6
    for _ in range(60):
        scale = (low * high) ** 0.5
        if _confidence(scale * logits) < _CONFIDENCE:
            low = scale
        else:
            high = scale
    weight = (scale * directions).astype(np.float32)
    return weight, (-weight @ middle).astype(np.float32)


def _confidence(logits: NDArray[np.float64]) -> float:
    """Return the median over the images of the best class's probability."""
    return float(np.median(1 / np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)))


def _model(
    nodes: list[onnx.NodeProto],
    architecture: Architecture,
    outputs: Mapping[str, Sequence[int | str] | None],
    initializers: list[onnx.TensorProto],
) -> onnx.ModelProto:
    image = helper.make_tensor_value_info(architecture.input, TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
    graph = helper.make_graph(nodes, "classifier", [image], given, initializers)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="triton-sdk seeded"
    )
