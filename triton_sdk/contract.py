"""What a served image classifier takes and gives, read from its Triton model configuration."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self, get_args

import attrs

from triton_sdk._bounds import MOST_CLASSES, MOST_PIXELS, MOST_RESIZE, MOST_SCALE
from triton_sdk.errors import ContractError

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "RESIZE_PER_CROP",
    "RGB",
    "Batch",
    "Fit",
    "Framing",
    "Interpolation",
    "Layout",
    "ModelContract",
    "Scores",
    "TensorSpec",
]

Layout = Literal["NHWC", "NCHW"]
Scores = Literal["probabilities", "multi-label", "logits", "unknown"]
RGB = tuple[float, float, float]
Batch = Literal["n", "1", ""]
Interpolation = Literal["bilinear", "bicubic", "nearest"]
Fit = Literal["crop", "squash", "pad"]

# What ImageNet classifiers are trained with, for pixels scaled to [0, 1]: torchvision's reference and the ONNX zoo's.
IMAGENET_MEAN: RGB = (0.485, 0.456, 0.406)
IMAGENET_STD: RGB = (0.229, 0.224, 0.225)
# The reference resizes the shorter side to 256 and crops 224.
RESIZE_PER_CROP = 256 / 224


@attrs.frozen(kw_only=True)
class TensorSpec:
    """One tensor of a model.

    Attributes:
        name: Its name on the wire.
        dtype: KServe v2 data type: ``"UINT8"``, ``"FP32"``, ...
        shape: Its dimensions without the batch axis; -1 means any.
        batch: The batch axis before them: ``"n"`` for any number of images, ``"1"`` where there is one image and the
            axis all the same, ``""`` where there is none.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    batch: Batch = "n"

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} ({', '.join(filter(None, [self.batch, *map(str, self.shape)]))})"


@attrs.frozen(kw_only=True)
class Framing:
    """What is done to a picture before a model sees its pixels.

    Attributes:
        resize: Length of the shorter side of the resized picture, before the centre crop, in pixels; ``"pad"`` crops
            nothing and does not look at it.
        interpolation: How it is resized; all three as Pillow does it, smoothed where the picture becomes smaller
            (``"nearest"`` is not).
        fit: What happens to proportions that are not the model's: ``"crop"`` keeps the middle, ``"squash"`` changes
            the proportions to the model's, ``"pad"`` puts black bars around the whole picture.
    """

    resize: int
    interpolation: Interpolation = "bilinear"
    fit: Fit = "crop"

    def __str__(self) -> str:
        return f"resize {self.resize}, {self.interpolation}, {self.fit}"


@attrs.frozen(kw_only=True)
class ModelContract:
    """What a model takes and gives.

    Attributes:
        model: The model's name.
        input: The image tensor: UINT8 or FP32, ``(height, width, 3)`` or ``(3, height, width)``.
        output: The scores, FP32 ``(classes,)``.
        layout: The order of the input's axes behind the batch axis.
        max_batch: Most images in one request; 0 when the server knows of no batch axis, and takes one image.
        resize: Length of the shorter side before the centre crop, in pixels; more of it is said by `Framing`.
        interpolation: How pictures are resized.
        fit: What happens to a picture of other proportions than the model's.
        framing_by_version: All three for the versions that differ.
        mean: Mean of each channel, for pixels in [0, 1]; used for FP32 inputs only.
        std: Standard deviation of each channel, likewise.
        scores: What the output holds: ``"probabilities"`` of an image sum to 1, ``"multi-label"`` ones are each for
            itself, so that several classes may be true.
        labelled: Whether the server knows the names of the classes.
    """

    model: str
    input: TensorSpec
    output: TensorSpec
    layout: Layout
    max_batch: int
    resize: int
    interpolation: Interpolation = "bilinear"
    fit: Fit = "crop"
    framing_by_version: Mapping[int, Framing] = attrs.field(factory=dict)
    mean: RGB = IMAGENET_MEAN
    std: RGB = IMAGENET_STD
    scores: Scores = "unknown"
    labelled: bool = False

    @property
    def height(self) -> int:
        """Height of the image that the model sees, in pixels."""
        return self.input.shape[0 if self.layout == "NHWC" else 1]

    @property
    def width(self) -> int:
        """Width of the image that the model sees, in pixels."""
        return self.input.shape[1 if self.layout == "NHWC" else 2]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.output.shape[0]

    def framing_for(self, version: int | None) -> Framing:
        """Return what is done to a picture for *version*; None means the versions that say nothing of their own."""
        own = Framing(resize=self.resize, interpolation=self.interpolation, fit=self.fit)
        return own if version is None else self.framing_by_version.get(version, own)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Read the contract from a Triton model configuration.

        Args:
            config: The configuration as JSON-like data with the field names of ``model_config.proto``: what
                ``GET /v2/models/NAME/config`` answers, or a parsed ``config.pbtxt``.

        Raises:
            ContractError: If the model is no image classifier; the message says what it is instead.
        """
        name = str(config.get("name", ""))
        inputs, outputs = config.get("input", []), config.get("output", [])
        if len(inputs) != 1 or len(outputs) != 1:
            raise ContractError(
                f"Model {name!r} is no image classifier: it has {len(inputs)} inputs and {len(outputs)} outputs, "
                "but one image tensor and one score tensor were expected."
            )
        batched = int(config.get("max_batch_size", 0)) > 0
        image, scores = _tensor(inputs[0], batched=batched, rank=3), _scores_of(outputs[0], batched=batched)
        layout = _layout(inputs[0], image)
        if layout is None or image.dtype not in ("UINT8", "FP32"):
            raise ContractError(
                f"Model {name!r} is no image classifier: its input is {image}, but UINT8 or FP32 images of fixed "
                "size, (height, width, 3) or (3, height, width), were expected."
            )
        if scores.dtype != "FP32" or len(scores.shape) != 1 or scores.shape[0] < 2:
            raise ContractError(
                f"Model {name!r} is no image classifier: its output is {scores}, but FP32 scores (classes,) were "
                "expected."
            )
        if math.prod(image.shape) > 3 * MOST_PIXELS or scores.shape[0] > MOST_CLASSES:
            raise ContractError(
                f"Model {name!r} is larger than this client takes: its input is {image} and its output {scores}, "
                f"but at most {MOST_PIXELS:,} pixels and {MOST_CLASSES:,} classes were expected."
            )
        parameters = _parameters(config)
        sides = image.shape[:2] if layout == "NHWC" else image.shape[1:]
        try:
            framing = _framing(parameters, "", default=None, sides=sides)
            return cls(
                model=name,
                input=image,
                output=scores,
                layout=layout,
                max_batch=int(config.get("max_batch_size", 0)),
                resize=framing.resize,
                interpolation=framing.interpolation,
                fit=framing.fit,
                framing_by_version={
                    version: _framing(parameters, f".{version}", default=framing, sides=sides)
                    for version in _versions(parameters)
                },
                mean=_rgb(parameters.get("image.mean"), IMAGENET_MEAN),
                std=_positive(_rgb(parameters.get("image.std"), IMAGENET_STD)),
                scores=_scores(parameters.get("image.scores")),
                labelled=bool(outputs[0].get("label_filename")),
            )
        except ValueError as error:
            raise ContractError(f"Model {name!r} has an 'image.*' parameter that cannot be read: {error}.") from error


def _tensor(tensor: Mapping[str, Any], *, batched: bool, rank: int) -> TensorSpec:
    """Return a tensor; where the server batches nothing, one dimension more than *rank* is a batch axis of the model's.

    Triton's own first example is of that kind: ``max_batch_size: 0`` and ``dims: [ 1, 3, 224, 224 ]``.
    """
    name, dtype = str(tensor.get("name", "")), str(tensor.get("data_type", "TYPE_INVALID")).removeprefix("TYPE_")
    shape = tuple(int(dim) for dim in tensor.get("dims", []))
    batch: Batch = "n" if batched else ""
    if not batched and len(shape) == rank + 1 and shape[0] in (1, -1):
        shape, batch = shape[1:], "1" if shape[0] == 1 else "n"
    return TensorSpec(name=name, dtype=dtype, shape=shape, batch=batch)


def _scores_of(tensor: Mapping[str, Any], *, batched: bool) -> TensorSpec:
    """Return the scores, ``(classes,)`` where only axes of length 1 stand behind them."""
    axes = [int(dim) for dim in tensor.get("dims", [])]
    behind = next((place for place in range(len(axes), 0, -1) if axes[place - 1] != 1), len(axes))
    return _tensor({**tensor, "dims": axes[:behind] or axes}, batched=batched, rank=1)


def _layout(tensor: Mapping[str, Any], spec: TensorSpec) -> Layout | None:
    """Return the order of the axes of an image tensor, or None if it is none; the format decides where both fit."""
    if len(spec.shape) != 3 or min(spec.shape) < 1:
        return None
    wanted = str(tensor.get("format", "FORMAT_NONE")).removeprefix("FORMAT_")
    if spec.shape[0] == 3 and wanted != "NHWC":
        return "NCHW"
    return "NHWC" if spec.shape[2] == 3 and wanted != "NCHW" else None


def _parameters(config: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value.get("string_value", "")) for key, value in config.get("parameters", {}).items()}


def _versions(parameters: Mapping[str, str]) -> list[int]:
    """Return the versions that have a parameter of their own."""
    own = ("image.resize.", "image.interpolation.", "image.fit.")
    return sorted({int(key.rpartition(".")[2]) for key in parameters if key.startswith(own)})


def _framing(parameters: Mapping[str, str], suffix: str, *, default: Framing | None, sides: tuple[int, ...]) -> Framing:
    """Return what the parameters with *suffix* say, and *default* for what they leave out.

    Args:
        parameters: All parameters.
        suffix: Of the keys: nothing, or a dot and a version.
        default: Of the model, for one of its versions.
        sides: Height and width of what the model sees, in pixels.
    """
    fit = _word(parameters, f"image.fit{suffix}", get_args(Fit), default.fit if default else "crop")
    if default is not None and fit == default.fit:
        resize = default.resize
    else:
        resize = round(max(sides) * RESIZE_PER_CROP) if fit == "crop" else min(sides)
    return Framing(
        resize=_resize(parameters.get(f"image.resize{suffix}", str(resize)), fit, sides),
        interpolation=_word(
            parameters,
            f"image.interpolation{suffix}",
            get_args(Interpolation),
            default.interpolation if default else "bilinear",
        ),
        fit=fit,
    )


def _word(parameters: Mapping[str, str], key: str, known: tuple[str, ...], default: str) -> Any:
    word = parameters.get(key, default)
    if word not in known:
        raise ValueError(f"{key} is {word!r}, none of {', '.join(known)}")
    return word


def _resize(text: str, fit: Fit, sides: Sequence[int]) -> int:
    resize, least = int(text), {"crop": max(sides), "squash": min(sides), "pad": 1}[fit]
    if not least <= resize <= MOST_RESIZE:
        raise ValueError(f"image.resize is {resize}, not from {least} to {MOST_RESIZE}")
    return resize


def _rgb(text: str | None, default: RGB) -> RGB:
    if text is None:
        return default
    red, green, blue = (float(part) for part in text.split(","))
    if not all(abs(part) <= MOST_SCALE for part in (red, green, blue)):
        raise ValueError(f"a mean or a deviation is {text}, and at most {MOST_SCALE:g} was expected")
    return red, green, blue


def _positive(std: RGB) -> RGB:
    if not min(std) >= 1 / MOST_SCALE:
        raise ValueError(f"image.std is {std}, and pixels are divided by it")
    return std


def _scores(text: str | None) -> Scores:
    if text is None:
        return "unknown"
    if text in ("probabilities", "multi-label", "logits"):
        return text  # type: ignore[return-value]  # narrowed by the line above
    raise ValueError(f"image.scores is {text!r}, not 'probabilities', 'multi-label' or 'logits'")
