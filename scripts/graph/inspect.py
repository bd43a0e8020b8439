"""Read an ONNX file, and say what kind of image classifier it holds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from scripts.graph.session import Session, first_line
from scripts.graph.walk import all_nodes, images_of, opset_of, tensors
from scripts.host.errors import TaskFailure
from triton_sdk.contract import Layout, TensorSpec

Quantisation = Literal["none", "static", "dynamic"]
# KServe's names of the element types that an image or its scores may have.
_DTYPES: Mapping[int, str] = {TensorProto.FLOAT: "FP32", TensorProto.FLOAT16: "FP16", TensorProto.UINT8: "UINT8"}
# The operators that fuse() adds have meant the same since this one; onnxruntime promises nothing below it either.
OLDEST_OPSET = 7
# A ModelProto cannot be serialised beyond this.
_PROTOBUF_LIMIT = 2**31 - 1
# Operators that move scores without changing what they are.
_TRANSPARENT = frozenset(
    {"Reshape", "Flatten", "Squeeze", "Identity", "Cast", "QuantizeLinear", "DequantizeLinear", "Dropout"}
)


@attrs.frozen(kw_only=True)
class Classifier:
    """What an ONNX image classifier takes and gives.

    Attributes:
        input: The image tensor, UINT8, FP16 or FP32; an open height or width is filled in.
        output: The scores, FP16 or FP32, ``(classes,)``, maybe followed by axes of length 1.
        layout: The order of the input's axes behind the batch axis.
        batch: 1 where the graph takes one image at a time, None where it takes any number.
        scores: What the output holds.
        quantisation: ``"dynamic"`` when the scales of activations are taken from the batch itself.
        opset: Version of the standard operator set.
        ir_version: Version of the file format.
    """

    input: TensorSpec
    output: TensorSpec
    layout: Layout
    batch: int | None
    scores: Literal["logits", "probabilities"]
    quantisation: Quantisation
    opset: int
    ir_version: int

    @property
    def height(self) -> int:
        """Height of the image, in pixels."""
        return self.input.shape[0 if self.layout == "NHWC" else 1]

    @property
    def width(self) -> int:
        """Width of the image, in pixels."""
        return self.input.shape[1 if self.layout == "NHWC" else 2]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.output.shape[0]


def load(path: Path) -> onnx.ModelProto:
    """Read a whole ONNX model, with the weights that stand in files beside it.

    Raises:
        TaskFailure: If *path* is no complete ONNX model; the message says in what way.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise TaskFailure(f"{path} does not exist. Name an ONNX file.") from error
    except IsADirectoryError as error:
        raise TaskFailure(f"{path} is a folder. Name the ONNX file in it.") from error
    except OSError as error:
        raise TaskFailure(f"{path} cannot be read: {error.strerror}.") from error
    if not content:
        raise TaskFailure(f"{path} is empty. Fetch or export it again.")
    damaged = TaskFailure(f"{path} is not a complete ONNX model: it is truncated or damaged. Fetch or export it again.")
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's DecodeError, which is not ours to import
        # Every ONNX file begins with the field ir_version.
        raise damaged if content[0] == 0x08 else TaskFailure(f"{path} is not an ONNX model.") from error
    if not model.graph.output:
        raise damaged
    _load_beside(model, path)
    if model.ByteSize() > _PROTOBUF_LIMIT:
        raise TaskFailure(f"{path} holds more than 2 GiB with its weights, which no single ONNX file can.")
    try:
        # Sees nodes whose inputs nothing makes, weights shorter than their shape, and a missing operator set.
        onnx.checker.check_model(model)
    except Exception as error:  # the checker raises more than its ValidationError
        raise TaskFailure(
            f"{path} is not a valid ONNX model: {first_line(error)}. Fetch or export it again."
        ) from error
    return model


def inspect(model: onnx.ModelProto, *, size: int = 224) -> Classifier:
    """Find out what *model* takes and gives, by reading its graph and by running it on random images.

    Args:
        model: A complete model, weights included.
        size: Height and width to use where the graph leaves them open, in pixels.

    Raises:
        TaskFailure: If it is no image classifier, or does not run; the message says what was found.
    """
    opset = opset_of(model)
    if opset < OLDEST_OPSET:
        raise TaskFailure(
            f"The model uses operator set {opset}, and {OLDEST_OPSET} is the oldest supported one. Convert it with "
            "onnx.version_converter or export it again."
        )
    image, scores = images_of(model.graph), list(model.graph.output)
    if len(image) != 1 or len(scores) != 1:
        raise _no_classifier(
            f"it takes {_described(image)} and gives {_described(scores)}, where one image and one score tensor "
            "were expected"
        )
    layout, batch, spec = _image(image[0], size)
    given = _try(model, spec, batch)
    return Classifier(
        input=spec,
        output=_scores(scores[0], given),
        layout=layout,
        batch=batch,
        scores=_meaning(model.graph, given),
        quantisation=_quantisation(model),
        opset=opset,
        ir_version=model.ir_version,
    )


def random_batch(spec: TensorSpec, count: int) -> NDArray[Any]:
    """Return *count* random images as a model with the input *spec* takes them, normalised ones where it is a float."""
    random = np.random.default_rng(0)
    shape = (count, *spec.shape)
    if spec.dtype == "UINT8":
        return random.integers(0, 256, shape, dtype=np.uint8)
    return random.standard_normal(shape, np.float32).astype(np.float16 if spec.dtype == "FP16" else np.float32)


def _load_beside(model: onnx.ModelProto, path: Path) -> None:
    """Read the weights that *model* keeps in other files of its folder.

    Raises:
        TaskFailure: If one of the files is missing or too short.
    """
    outside = [tensor for tensor in tensors(model) if onnx.external_data_helper.uses_external_data(tensor)]
    files = {entry.value for tensor in outside for entry in tensor.external_data if entry.key == "location"}
    if missing := sorted(name for name in files if not (path.parent / name).is_file()):
        raise TaskFailure(
            f"{path} keeps weights in other files, and {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} "
            "missing. Put them beside it, or export the model as one file."
        )
    try:
        for tensor in outside:
            onnx.external_data_helper.load_external_data_for_tensor(tensor, str(path.parent))
            tensor.ClearField("external_data")
            tensor.data_location = TensorProto.DEFAULT
    except Exception as error:  # onnx guards the paths by errors of several kinds
        raise TaskFailure(f"The weights beside {path} cannot be read: {first_line(error)}.") from error


def _no_classifier(found: str) -> TaskFailure:
    return TaskFailure(f"The model is no image classifier that can be packaged: {found}.")


def _dims(value: onnx.ValueInfoProto) -> list[int | str]:
    """Return the declared dimensions; a name, or "?", where one is open."""
    # Some exporters write 0 or -1 for an open dimension.
    return [dim.dim_value if dim.dim_value > 0 else dim.dim_param or "?" for dim in value.type.tensor_type.shape.dim]


def _described(values: Sequence[onnx.ValueInfoProto]) -> str:
    if not values:
        return "nothing"
    parts = []
    for value in values[:6]:
        if not value.type.HasField("tensor_type"):
            parts.append(f"{value.name!r} (no tensor)")
            continue
        dtype = TensorProto.DataType.Name(value.type.tensor_type.elem_type)
        parts.append(f"{value.name!r} {dtype} ({', '.join(map(str, _dims(value)))})")
    return ", ".join(parts) + (f" and {len(values) - 6} more" if len(values) > 6 else "")


def _image(value: onnx.ValueInfoProto, size: int) -> tuple[Layout, int | None, TensorSpec]:
    """Return layout, batch and shape of the image input."""
    dims = _dims(value)
    dtype = _DTYPES.get(value.type.tensor_type.elem_type)
    channels = [axis for axis in (1, 3) if len(dims) == 4 and dims[axis] == 3]
    if dtype is None or not channels:
        raise _no_classifier(
            f"its input is {_described([value])}, where UINT8, FLOAT16 or FLOAT images (n, 3, height, width) or "
            "(n, height, width, 3) were expected"
        )
    layout: Layout = "NCHW" if channels[0] == 1 else "NHWC"
    batch = dims[0] if isinstance(dims[0], int) else None
    if batch not in (None, 1):
        raise TaskFailure(
            f"The model takes exactly {batch} images at once: its input is {_described([value])}. Export it with a "
            "dynamic batch dimension, or with one of 1."
        )
    shape = tuple(dim if isinstance(dim, int) else size for dim in dims[1:])
    return layout, batch, TensorSpec(name=value.name, dtype=dtype, shape=shape)


def _try(model: onnx.ModelProto, spec: TensorSpec, batch: int | None) -> NDArray[Any]:
    """Run *model* on three random images, together where it takes them so, and return its output."""
    session, images = Session(model), random_batch(spec, 3)
    if batch is None:
        return session.outputs({spec.name: images})[0]
    return np.concatenate([session.outputs({spec.name: images[i : i + 1]})[0] for i in range(3)])


def _scores(value: onnx.ValueInfoProto, given: NDArray[Any]) -> TensorSpec:
    """Return the specification of the output, judged by what it gave for three images."""
    shape = given.shape
    if len(shape) < 2 or shape[0] != 3 or shape[1] < 2 or set(shape[2:]) - {1} or given.dtype.kind != "f":
        raise _no_classifier(
            f"its output {value.name!r} is {given.dtype} {shape} for 3 images, where float scores (3, classes) "
            "were expected"
        )
    if not np.isfinite(given).all():
        raise TaskFailure(f"The model answers NaN or infinity in {value.name!r} for random images.")
    dtype = _DTYPES.get(value.type.tensor_type.elem_type)
    if dtype not in ("FP16", "FP32"):
        raise _no_classifier(f"its output is {_described([value])}, where FLOAT or FLOAT16 scores were expected")
    return TensorSpec(name=value.name, dtype=dtype, shape=shape[1:])


def _meaning(graph: onnx.GraphProto, given: NDArray[Any]) -> Literal["logits", "probabilities"]:
    """Say what the scores are, by the operator that makes them and by the numbers themselves."""
    makers = {output: node for node in graph.node for output in node.output}
    name = graph.output[0].name
    while (node := makers.get(name)) is not None and node.op_type in _TRANSPARENT:
        name = node.input[0]
    last = "" if node is None else node.op_type
    if last in ("Sigmoid", "HardSigmoid"):
        raise _no_classifier(f"it ends in a {last}, which scores every class by itself, so that several may be true")
    # Probabilities that were rounded to 8 bits behind the softmax are off by a little for each class.
    tolerance = 0.1 if last == "Softmax" else 1e-3
    rows = given.reshape(len(given), -1).astype(np.float64)
    certain = rows.min() >= 0 and np.abs(rows.sum(axis=1) - 1).max() <= tolerance
    return "probabilities" if certain else "logits"


def _quantisation(model: onnx.ModelProto) -> Quantisation:
    """Say how activations are quantised; weights alone, unpacked before use, leave a float model."""
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    operators = {node.op_type for node in all_nodes(nodes)}
    if any(operator.startswith("DynamicQuantize") for operator in operators):
        return "dynamic"
    integer = {"QuantizeLinear", "ConvInteger", "MatMulInteger"}
    return "static" if operators & integer or any(op.startswith("QLinear") for op in operators) else "none"
