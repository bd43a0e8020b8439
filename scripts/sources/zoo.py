"""The published models that are known by name, and how to get their files."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import attrs

from scripts.host.errors import TaskFailure
from scripts.sources.download import Patience, download
from triton_sdk.contract import IMAGENET_MEAN, IMAGENET_STD, RGB

_HOST = "https://huggingface.co/onnxmodelzoo"


@attrs.frozen(kw_only=True)
class ZooModel:
    """A published ONNX image classifier and the preprocessing that it was trained with.

    Attributes:
        name: The architecture, which is also the usual name of the Triton model: ``"resnet50"``.
        stem: Its file name without ``.onnx``; names one model of the zoo exactly.
        url: Where the file is.
        sha256: The file's hash, in hexadecimal.
        size_bytes: The file's length.
        resize: Length of the shorter side before the crop, in pixels.
        mean: Mean of each channel, for pixels in [0, 1].
        std: Standard deviation of each channel, likewise.
    """

    name: str
    stem: str
    url: str
    sha256: str
    size_bytes: int
    resize: int = 256
    mean: RGB = IMAGENET_MEAN
    std: RGB = IMAGENET_STD


def _model(name: str, stem: str, size_bytes: int, sha256: str, *, revision: str = "main") -> ZooModel:
    # A branch may move; the hash says whether the file is still the one that was meant.
    url = f"{_HOST}/{stem}/resolve/{revision}/{stem}.onnx"
    return ZooModel(name=name, stem=stem, url=url, sha256=sha256, size_bytes=size_bytes)


# The first of each name is what the bare name means.
_MODELS = (
    _model(
        "resnet50",
        "resnet50-v1-12",
        102576593,
        "3f03fdef724b22947eed826f1eef1dc5c34151bb4c37d634f1db89dfa2dd1526",
        revision="1f95315d8bd3b3ca2ceabe54d274e0cdf5a83bbe",
    ),
    _model(
        "resnet50",
        "resnet50-v2-7",
        102442452,
        "79102261eb6e5fd7af5d27f41316293e388c5cb691e5d25bfb035c4f64fefe31",
    ),
    _model(
        "resnet50",
        "resnet50-v1-12-int8",
        25816052,
        "c234f30975989788b4405f25253275aae247ab6dbdd34aaa69ab0a59ff76f6d0",
    ),
    _model(
        "mobilenetv2",
        "mobilenetv2-12",
        13964571,
        "c0c3f76d93fa3fd6580652a45618618a220fced18babf65774ed169de0432ad5",
    ),
    _model(
        "mobilenetv2",
        "mobilenetv2-12-int8",
        3655033,
        "cc028fe6cae7bc11a4ff53cfc9b79c920e8be65ce33a904ec3e2a8f66d77f95f",
    ),
    _model(
        "mobilenetv2",
        "mobilenetv2-7",
        14246826,
        "c1c513582d56afceff8516c73804e484c81c6a830712ab6d682253f4a3cd042f",
    ),
)

ZOO: Mapping[str, ZooModel] = MappingProxyType(
    {model.name: model for model in reversed(_MODELS)} | {model.stem: model for model in _MODELS}
)
ARCHITECTURES = frozenset(model.name for model in _MODELS)


def lookup(name: str) -> ZooModel:
    """Return the model that an architecture's name (its usual file) or a stem means.

    Raises:
        TaskFailure: If no such model is known; the message lists those that are.
    """
    try:
        return ZOO[name]
    except KeyError:
        raise TaskFailure(
            f"No model named {name!r} is known. Known are: {', '.join(sorted(ZOO))}. "
            "For a model of your own give its file: --onnx PATH."
        ) from None


def fetch(
    model: ZooModel,
    *,
    cache: Path,
    progress: Callable[[int, int], None],
    retrying: Callable[[str], None] = lambda _: None,
    patience: Patience | None = None,
) -> Path:
    """Return the path of the model's file in the folder *cache*, downloaded where it is not there yet.

    Args:
        model: The model to get.
        cache: Folder that keeps downloaded files.
        progress: Called with the bytes that are there and the bytes that there will be.
        retrying: Called before each wait with what went wrong and how long the wait is.
        patience: How long to wait for the server and how often to try again.

    Raises:
        TaskFailure: If the file cannot be had or stored, or has another hash.
    """
    return download(
        model.url,
        sha256=model.sha256,
        size_bytes=model.size_bytes,
        destination=cache / f"{model.stem}.onnx",
        progress=progress,
        retrying=retrying,
        patience=patience,
        otherwise="Without this download: build the architecture with --weights seeded, name a file with --onnx PATH",
    )
