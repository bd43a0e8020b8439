"""``manifest.json``: what a packaged version is, where it came from, and what was measured when it was made."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import attrs

from scripts.host import files
from scripts.host.errors import TaskFailure
from scripts.repository.preprocessing import Preprocessing
from triton_sdk.contract import RGB, ModelContract, TensorSpec

if TYPE_CHECKING:  # who reads a manifest needs no onnx
    from scripts.graph.inspect import Quantisation

FILE = "manifest.json"
_SCHEMA = 1

Precision = Literal["fp32", "fp16"]
SourceKind = Literal["zoo", "seeded", "onnx"]


@attrs.frozen(kw_only=True)
class Origin:
    """Where a model came from.

    Attributes:
        kind: A known model from the zoo, one with seeded weights, or an ONNX file of the user's.
        name: The zoo's file stem, the architecture, or the file's name.
        sha256: Of the ONNX file before packaging, in hexadecimal; None for seeded weights.
        url: Where the zoo keeps it.
        seed: What the seeded weights were drawn from.
    """

    kind: SourceKind
    name: str
    sha256: str | None = None
    url: str | None = None
    seed: int | None = None

    def __str__(self) -> str:
        if self.kind == "seeded":
            return f"{self.name} with weights from seed {self.seed}"
        return f"{self.name} ({self.url or 'a local file'})"


@attrs.frozen(kw_only=True)
class Measured:
    """What was measured at packaging, as the largest absolute difference of a probability.

    Attributes:
        images: Number of generated images that everything was measured on.
        proof: The packaged graph on pixels, against the original on preprocessed pixels.
        proof_limit: What *proof* had to stay within.
        batching: An image among others in a batch, against the image alone.
        tolerance: What a server may differ from the golden output, for the scores as they are served.
    """

    images: int
    proof: float
    proof_limit: float
    batching: float
    tolerance: float


@attrs.frozen(kw_only=True)
class Kept:
    """A picture of the owner's that the version answered, for whoever has that file.

    Attributes:
        sha256: Of the picture's file, in hexadecimal.
        index: The best class.
        probability: Of that class.
    """

    sha256: str
    index: int
    probability: float


@attrs.frozen(kw_only=True)
class Tried:
    """What the owner's own pictures showed.

    Attributes:
        pictures: How many there were.
        kept: Some of them.
        accuracy: The share of right answers, or of answers like the owner's; None where nobody told them.
        difference: How far a probability is from the owner's, at most; None where there are none.
    """

    pictures: int
    kept: tuple[Kept, ...]
    accuracy: float | None = None
    difference: float | None = None


@attrs.frozen(kw_only=True)
class GpuGraph:
    """The graph that GPUs get, beside the one for CPUs.

    Attributes:
        precision: Of its convolutions and products of matrices.
        buckets: The batch sizes that have a branch of constant shapes; none where the graph is plain.
        difference: How far its answers lay from those of the graph for CPUs, on a CPU, in a probability.
        tolerance: What a server with it may differ from the golden output.
    """

    precision: Precision
    buckets: tuple[int, ...]
    difference: float
    tolerance: float


@attrs.frozen(kw_only=True)
class Manifest:
    """One packaged version.

    Attributes:
        model: The model's name.
        version: Its number.
        origin: Where the model came from.
        sha256: Of each file of the version, by name, in hexadecimal.
        contract: What it takes and gives; its resize, interpolation and fit are this version's own, and the mean and
            std of a UINT8 input are those in its graph.
        quantisation: How the graph is quantised.
        opset: Version of the operator set of its graph.
        ir_version: Version of the ONNX format.
        measured: What was measured when it was packaged.
        tools: Versions of what packaged it, by name.
        preprocessing: What was decided about its pictures and scores; None for what was packaged before that was kept.
        tried: What its owner's pictures showed; None where there were none.
        gpu: Its graph for GPUs; None where GPUs get the same graph as CPUs.
    """

    model: str
    version: int
    origin: Origin
    sha256: dict[str, str]
    contract: ModelContract
    quantisation: "Quantisation"
    opset: int
    ir_version: int
    measured: Measured
    tools: dict[str, str]
    preprocessing: Preprocessing | None = None
    tried: Tried | None = None
    gpu: GpuGraph | None = None

    @property
    def tolerance(self) -> float:
        """What a server may differ from the golden output, for the scores as they are served."""
        return self.measured.tolerance

    def to_json(self) -> str:
        """Return the text of ``manifest.json``."""
        data = attrs.asdict(self)
        del data["contract"]["model"], data["contract"]["framing_by_version"]
        return json.dumps({"schema": _SCHEMA, **data}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, *, where: str) -> Self:
        """Read a manifest; *where* names the file in messages.

        Raises:
            TaskFailure: If it is none, or one of a later version of this tool.
        """
        try:
            data = json.loads(text)
            schema = data.pop("schema")
            if schema != _SCHEMA:
                raise TaskFailure(
                    f"{where} has schema {schema!r}; this version of the tool reads {_SCHEMA}. Update it."
                )
            contract, measured = data.pop("contract"), data.pop("measured")
            record, tried = data.pop("preprocessing", None), data.pop("tried", None)
            data.pop("labels", None)  # stood here before the record did
            gpu = data.pop("gpu", None)
            return cls(
                model=str(data["model"]),
                version=int(data.pop("version")),
                origin=Origin(**data.pop("origin")),
                sha256={str(name): str(digest) for name, digest in data.pop("sha256").items()},
                contract=ModelContract(
                    model=str(data.pop("model")),
                    input=_tensor(contract.pop("input")),
                    output=_tensor(contract.pop("output")),
                    mean=_rgb(contract.pop("mean")),
                    std=_rgb(contract.pop("std")),
                    **contract,
                ),
                preprocessing=None if record is None else Preprocessing.from_json(record),
                tried=None if tried is None else _tried(**tried),
                measured=Measured(images=int(measured.pop("images")), **{k: float(v) for k, v in measured.items()}),
                gpu=None if gpu is None else GpuGraph(buckets=tuple(gpu.pop("buckets")), **gpu),
                **data,
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise TaskFailure(f"{where} is no manifest of a packaged version: {error}.") from error


def read(path: Path) -> Manifest:
    """Read ``manifest.json``.

    Raises:
        TaskFailure: If the file cannot be read or is no manifest.
    """
    try:
        text = files.read_text(path)
    except OSError as error:
        raise TaskFailure(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise TaskFailure(f"{path} is no text in UTF-8: {error}. Package the version again.") from error
    return Manifest.from_json(text, where=str(path))


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with files.opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tensor(data: dict[str, Any]) -> TensorSpec:
    return TensorSpec(name=str(data["name"]), dtype=str(data["dtype"]), shape=tuple(int(d) for d in data["shape"]))


def _tried(*, kept: list[dict[str, Any]], pictures: int, **shares: float | None) -> Tried:
    return Tried(
        pictures=int(pictures),
        kept=tuple(Kept(**picture) for picture in kept),
        **{name: None if share is None else float(share) for name, share in shares.items()},
    )


def _rgb(data: list[Any]) -> RGB:
    red, green, blue = (float(part) for part in data)
    return red, green, blue
