"""Find out what kind of image classifier an ONNX model is, by reading its graph and by running it."""

from typing import Any, Literal

import attrs
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from scripts.graph import flat
from scripts.graph import scores as meaning
from scripts.graph.choose import choose_output, earlier_values
from scripts.graph.declared import DTYPES, described, dims_of, may_be_scores, shaped_as_scores
from scripts.graph.noise import CHANNELS, NUMPY, random_batch, varied_scores
from scripts.graph.scores import Kind, Told
from scripts.graph.session import Session
from scripts.graph.walk import all_nodes, images_of, opset_of, tensors
from scripts.host.errors import TaskFailure
from triton_sdk.contract import Layout, TensorSpec

Quantisation = Literal["none", "static", "dynamic"]
_HALVES = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})
# The operators that fuse() adds have meant the same since this one; onnxruntime promises nothing below it either.
OLDEST_OPSET = 7
# Of the pictures that a model takes: more is hundreds of megabytes for each answer, and none of its proofs ends.
MOST_PIXELS = 4096 * 4096
LONGEST_SIDE = 32_768


@attrs.frozen(kw_only=True)
class Classifier:
    """What an ONNX image classifier takes and gives.

    Attributes:
        input: The image tensor, UINT8, FP16, FP32 or FP64, with 3 channels or 1; an open height or width is filled in.
        output: The scores, FP16, FP32 or FP64: one axis of the classes, maybe among axes of length 1.
        layout: The order of the input's axes behind the batch axis.
        batch: 1 where the graph takes one image at a time, None where it takes any number.
        scores: What the output holds.
        quantisation: ``"dynamic"`` when the scales of activations are taken from the batch itself.
        half: Whether some of it is computed in half precision.
        opset: Version of the standard operator set.
        ir_version: Version of the file format.
    """

    input: TensorSpec
    output: TensorSpec
    layout: Layout
    batch: int | None
    scores: Kind
    quantisation: Quantisation
    half: bool
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
    def channels(self) -> int:
        """Number of channels, 1 or 3."""
        return self.input.shape[CHANNELS[self.layout]]

    @property
    def single(self) -> bool:
        """Whether the graph gives one score: how probable the second of two classes is."""
        return int(np.prod(self.output.shape)) == 1

    @property
    def numpy_input(self) -> np.dtype[np.generic]:
        """Element type of the image tensor."""
        return np.dtype(NUMPY[self.input.dtype])

    @property
    def classes(self) -> int:
        """Number of classes."""
        return 2 if self.single else int(np.prod(self.output.shape))


def image_size(model: onnx.ModelProto) -> tuple[int | None, int | None]:
    """Return height and width of the images that *model* fixes, in pixels; None for what it leaves open.

    Raises:
        TaskFailure: If it takes no image, or something beside it.
    """
    dims, layouts = _image_dims(_image_input(model), way_on=flat.way_on(model))
    height, width = (dims[axis] for axis in ((2, 3) if layouts[0][0] == "NCHW" else (1, 2)))
    return height if isinstance(height, int) else None, width if isinstance(width, int) else None


def inspect(model: onnx.ModelProto, *, size: tuple[int, int] | None = None, told: Told | None = None) -> Classifier:
    """Find out what *model* takes and gives, by reading its graph and by running it on random images.

    Args:
        model: A complete model, weights included.
        size: Height and width to use where the graph leaves them open, in pixels.
        told: What its owner says of the scores.

    Raises:
        TaskFailure: If it is no image classifier, does not run, or leaves open what nobody told; the message says what
            was found and what to say.
    """
    opset = opset_of(model)
    if opset < OLDEST_OPSET:
        raise TaskFailure(
            f"The model uses operator set {opset}, and {OLDEST_OPSET} is the oldest supported one. Convert it with "
            "onnx.version_converter or export it again."
        )
    value, scores = _image_input(model), _score_output(model)
    _image_dims(value)
    session = Session(model)
    layout, batch, spec, given = _tried(session, value, size)
    output = _scores(model, scores, given, spec, batch)
    return Classifier(
        input=spec,
        output=output,
        layout=layout,
        batch=batch,
        scores=meaning.decide(model, varied_scores(session, spec, layout, output=output.name), told=told),
        quantisation=_quantisation(model),
        half=any(tensor.data_type in _HALVES for tensor in tensors(model)) or "FP16" in (spec.dtype, output.dtype),
        opset=opset,
        ir_version=model.ir_version,
    )


def _no_classifier(found: str) -> TaskFailure:
    return TaskFailure(f"The model is no image classifier that can be packaged: {found}.")


def _image_input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    """Return the one input."""
    inputs = images_of(model.graph)
    if len(inputs) == 1:
        return inputs[0]
    found = f"it takes {described(inputs)}, but one image was expected"
    images = [value for value in inputs if len(dims_of(value)) == 4 and value.type.tensor_type.elem_type in DTYPES]
    if len(images) != 1:
        raise _no_classifier(found)
    others = " ".join(f"--freeze {value.name}=VALUE" for value in inputs if value is not images[0])
    raise TaskFailure(
        f"The model has more than an image to be asked: {found}. Make constants of the others, with the values that "
        f"they have when it is used: {others}."
    )


def _score_output(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    """Return the one output."""
    outputs = list(model.graph.output)
    if len(outputs) != 1:
        likely = [value for value in outputs if may_be_scores(value)]
        if not likely:
            raise _no_classifier(f"it gives {described(outputs)}, but one tensor of scores (n, classes) was expected")
        choices = ", ".join(f"--output {value.name}" for value in likely)
        raise TaskFailure(
            f"The model gives {described(outputs)}, but one tensor of scores was expected. Choose it: {choices}."
        )
    if not outputs[0].type.HasField("tensor_type"):
        raise TaskFailure(
            f"The model's output {outputs[0].name!r} is no tensor. If a ZipMap makes it, --output {outputs[0].name} "
            "takes the scores that go into it."
        )
    return outputs[0]


def _image_dims(value: onnx.ValueInfoProto, *, way_on: str = "") -> tuple[list[int | str], list[tuple[Layout, int]]]:
    """Return the dimensions of the image input, and the layouts with channels that they allow, the likeliest first.

    Args:
        value: The input.
        way_on: What its owner may say where it has no channels.

    Raises:
        TaskFailure: If it holds no images.
    """
    dims = dims_of(value)
    layouts = list[tuple[Layout, int]]()
    if len(dims) == 4 and value.type.tensor_type.elem_type in DTYPES:
        every = [(layout, axis + 1, count) for count in (3, 1) for layout, axis in CHANNELS.items()]
        layouts = [(layout, count) for layout, axis, count in every if dims[axis] == count] or [
            (layout, count) for layout, axis, count in every if isinstance(dims[axis], str)
        ]
    if not layouts:
        raise _no_classifier(
            f"its input is {described([value])}, but UINT8, FLOAT16, FLOAT or DOUBLE images (n, 3, height, width) "
            f"or (n, height, width, 3), or with one channel, were expected{f'. {way_on}' if way_on else ''}"
        )
    if isinstance(dims[0], int) and dims[0] != 1:
        raise TaskFailure(
            f"The model takes exactly {dims[0]} images at once: its input is {described([value])}. Export it with a "
            "dynamic batch dimension, or with one of 1."
        )
    return dims, layouts


def _tried(
    session: Session, value: onnx.ValueInfoProto, size: tuple[int, int] | None
) -> tuple[Layout, int | None, TensorSpec, NDArray[Any]]:
    """Return layout, batch and shape of the image input, and what the model answers to three random images."""
    dims, layouts = _image_dims(value)
    batch = 1 if dims[0] == 1 else None
    dtype = DTYPES[value.type.tensor_type.elem_type]
    if isinstance(dims[CHANNELS[layouts[0][0]] + 1], int):
        layouts = layouts[:1]
    for place, (layout, channels) in enumerate(layouts, 1):
        axes = (2, 3) if layout == "NCHW" else (1, 2)
        if size is None and any(isinstance(dims[axis], str) for axis in axes):
            raise TaskFailure(
                f"The model leaves height or width of its images open: its input is {described([value])}. Say what it "
                "was trained for: --size HEIGHTxWIDTH, for example --size 224x224."
            )
        chosen = dict(zip(axes, size or (), strict=False)) | {CHANNELS[layout] + 1: channels}
        shape = tuple(dim if isinstance(dim, int) else chosen[axis] for axis, dim in enumerate(dims) if axis)
        _check_area(*(shape[axis - 1] for axis in axes))
        spec = TensorSpec(name=value.name, dtype=dtype, shape=shape)
        try:
            return layout, batch, spec, _try(session, spec, batch)
        except TaskFailure:
            # Only where the graph leaves the channels open there is another layout to try.
            if place == len(layouts):
                raise
    raise AssertionError("unreachable: there is at least one layout")


def _check_area(height: int, width: int) -> None:
    """Check that pictures are of a size that this machine can make and a request can carry.

    Raises:
        TaskFailure: If they are larger.
    """
    if height * width > MOST_PIXELS or max(height, width) > LONGEST_SIDE:
        raise TaskFailure(
            f"The model takes pictures of {height} x {width} (height x width). The largest that can be packaged have "
            f"{MOST_PIXELS:,} pixels, as 4096 x 4096 have, and sides of at most {LONGEST_SIDE:,}. Export the model for "
            "smaller pictures, or with height and width left open and --size."
        )


def _try(session: Session, spec: TensorSpec, batch: int | None) -> NDArray[Any]:
    """Run the model on three random images, together where it takes them so, and return its output."""
    images = random_batch(spec, 3)
    if batch is None:
        return session.outputs({spec.name: images})[0]
    return np.concatenate([np.atleast_1d(session.outputs({spec.name: images[i : i + 1]})[0]) for i in range(3)])


def _earlier_scores(model: onnx.ModelProto, name: str, image: TensorSpec, batch: int | None) -> list[str]:
    """Return the flags that choose what the value *name* was made from, where such a value may hold scores."""
    found = []
    for value, flag in earlier_values(model, name).items():
        try:
            given = _try(Session(choose_output(model, value)), image, batch)
        except TaskFailure:
            continue
        if shaped_as_scores(given):
            found.append(flag)
    return found


def _scores(
    model: onnx.ModelProto, value: onnx.ValueInfoProto, given: NDArray[Any], image: TensorSpec, batch: int | None
) -> TensorSpec:
    """Return the specification of the output, judged by what it gave for three images."""
    shape = given.shape
    if not shaped_as_scores(given):
        earlier = ", ".join(_earlier_scores(model, value.name, image, batch))
        raise _no_classifier(
            f"its output {value.name!r} is {given.dtype} {shape} for 3 images, but float scores (3, classes) "
            f"were expected{f'. If an earlier value holds them, choose it: {earlier}' if earlier else ''}"
        )
    if not np.isfinite(given).all():
        raise TaskFailure(f"The model answers NaN or infinity in {value.name!r} for random images.")
    dtype = next(name for name, kind in NUMPY.items() if kind == given.dtype)
    return TensorSpec(name=value.name, dtype=dtype, shape=shape[1:])


def _quantisation(model: onnx.ModelProto) -> Quantisation:
    """Say how activations are quantised; weights alone, unpacked before use, leave a float model."""
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    operators = {node.op_type for node in all_nodes(nodes)}
    if any(operator.startswith("DynamicQuantize") for operator in operators):
        return "dynamic"
    integer = {"QuantizeLinear", "ConvInteger", "MatMulInteger"}
    return "static" if operators & integer or any(op.startswith("QLinear") for op in operators) else "none"
