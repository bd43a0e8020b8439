"""A version's golden images and scores, read without NumPy, and how a server's scores agree with them."""

import ast
import json
import math
import zipfile
from array import array
from dataclasses import dataclass
from pathlib import Path

from scripts.agent.errors import AgentError

# As in scripts/server/numbers.py: what TF32 and FP16 may move a probability by on a GPU.
GPU_TOLERANCE = 0.2
_LARGEST = 2**28
_MAGIC = b"\x93NUMPY"


@dataclass(frozen=True)
class Tensor:
    """An array in row-major order.

    Attributes:
        kind: NumPy's name of its elements: ``"|u1"`` or ``"<f4"``.
        shape: Its lengths.
        data: Its bytes.
    """

    kind: str
    shape: tuple[int, ...]
    data: bytes

    @property
    def dtype(self) -> str:
        """Triton's name of its elements."""
        return {"|u1": "UINT8", "<f4": "FP32"}[self.kind]

    def row(self, index: int) -> bytes:
        """Return the bytes of one row."""
        length = len(self.data) // self.shape[0]
        return self.data[index * length : (index + 1) * length]


@dataclass(frozen=True)
class Golden:
    """What a version must answer.

    Attributes:
        input: The images, one a row.
        output: FP32 scores ``(n, classes)``.
        tolerance: What a score may differ on a CPU.
    """

    input: Tensor
    output: Tensor
    tolerance: float

    def agrees(self, index: int, scores: bytes, *, on_gpu: bool) -> str | None:
        """Return what is wrong with the scores of one image, FP32 ``(1, classes)``, or None."""
        expected, got = _floats(self.output.row(index)), _floats(scores)
        if len(expected) != len(got):
            return f"{len(got)} scores came, not {len(expected)}"
        if not all(map(math.isfinite, got)):
            return "a score is not a finite number"
        limit = self.tolerance
        if on_gpu:
            expected, got = _probabilities(expected), _probabilities(got)
            limit = min(GPU_TOLERANCE, max(expected) / 2)
        worst = max(abs(a - b) for a, b in zip(expected, got, strict=True))
        if not worst <= limit:
            return f"a score differs by {worst:.2g} from the packaged one, but only {limit:.2g} is allowed"
        first, second = sorted(expected, reverse=True)[:2] if len(expected) > 1 else (math.inf, 0.0)
        if first - second > limit and expected.index(first) != got.index(max(got)):
            return "the best class is another one than packaged"
        return None


def load(version: Path) -> Golden | None:
    """Read the golden data of the version in the folder *version*; None where it was packaged without any.

    Raises:
        AgentError: If it is damaged.
    """
    path = version / "golden.npz"
    if not path.is_file():
        return None
    try:
        tolerance = float(json.loads((version / "manifest.json").read_text("utf-8"))["measured"]["tolerance"])
        with zipfile.ZipFile(path) as archive:
            sent, scores = _tensor(archive, "input.npy"), _tensor(archive, "output.npy")
    except (OSError, ValueError, KeyError, TypeError, SyntaxError, zipfile.BadZipFile, EOFError) as error:
        raise AgentError(f"{path} cannot be read as golden data: {error!r}.") from error
    if scores.kind != "<f4" or len(scores.shape) != 2 or scores.shape[0] != sent.shape[0] or not sent.shape[0]:
        raise AgentError(f"{path} holds images {sent.shape} and scores {scores.shape}.")
    return Golden(sent, scores, tolerance)


def _tensor(archive: zipfile.ZipFile, name: str) -> Tensor:
    """Read one array of an npz file: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html."""
    info = archive.getinfo(name)
    if info.file_size > _LARGEST:
        raise ValueError(f"{name} has {info.file_size} bytes")
    data = archive.read(info)
    if data[:6] != _MAGIC:
        raise ValueError(f"{name} is no array")
    width = 2 if data[6] == 1 else 4
    start = 8 + width
    length = int.from_bytes(data[8:start], "little")
    header = ast.literal_eval(data[start : start + length].decode("latin-1"))
    kind, shape = header["descr"], tuple(int(side) for side in header["shape"])
    body = data[start + length :]
    if kind not in ("|u1", "<f4") or header["fortran_order"] or not shape:
        raise ValueError(f"{name} holds {kind} {shape}")
    if len(body) != math.prod(shape) * (1 if kind == "|u1" else 4):
        raise ValueError(f"{name} is cut short")
    return Tensor(kind, shape, body)


def _floats(data: bytes) -> list[float]:
    values = array("f")
    values.frombytes(data)
    return values.tolist()


def _probabilities(scores: list[float]) -> list[float]:
    if min(scores) >= 0 and abs(sum(scores) - 1) <= 1e-2:
        return scores
    top = max(scores)
    powers = [math.exp(score - top) for score in scores]
    total = sum(powers)
    return [power / total for power in powers]
