"""A Triton for the agent's tests: it serves what lies in its folder, without a process or a socket."""

import dataclasses
import json
from pathlib import Path

import numpy as np

from scripts.agent.compose import Served
from scripts.agent.golden import Tensor
from scripts.agent.triton import AwayError, RefusedError, Triton

BAD, WRONG, GOOD = b"does not load", b"answers wrong", b"answers right"
SCORES = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], np.float32)


def version(folder: Path, model: bytes = GOOD) -> None:
    """Write a version with two golden images; *model* says what becomes of it."""
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model + folder.name.encode())
    np.savez(folder / "golden.npz", input=np.zeros((2, 4, 4, 3), np.uint8), output=SCORES)
    (folder / "manifest.json").write_text(json.dumps({"measured": {"tolerance": 1e-4}}), encoding="utf-8")


def repository(folder: Path, *versions: int, model: str = "cars") -> Path:
    """Write a model with good versions."""
    for number in versions:
        version(folder / model / str(number))
    (folder / model).mkdir(parents=True, exist_ok=True)
    (folder / model / "config.pbtxt").write_text(
        f'name: "{model}"\nbackend: "onnxruntime"\nmax_batch_size: 8\n', encoding="utf-8"
    )
    (folder / model / "labels.txt").write_text("a\nb\nc\n", encoding="utf-8")
    return folder


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiskTriton(Triton):
    """Serves the folder of *served*.

    Attributes:
        served: Its folder.
        loaded: The versions that answer, by model.
        log: What was asked that changes something, in order.
        broken: Versions that load by themselves alone: ``("cars", 3)``.
        faults: ``"away"`` while the server is not there.
        counted: How many requests each version has answered, and the ns that they took together.
    """

    served: Served
    host: str = ""
    port: int = 0
    metrics_port: int = 0
    loaded: dict[str, set[int]] = dataclasses.field(default_factory=dict)
    log: list[str] = dataclasses.field(default_factory=list)
    broken: set[tuple[str, int]] = dataclasses.field(default_factory=set)
    faults: set[str] = dataclasses.field(default_factory=set)
    counted: dict[tuple[str, int], tuple[int, int]] = dataclasses.field(default_factory=dict)

    def ready(self) -> dict[str, set[int]]:
        """Return what answers."""
        self._there()
        return {name: set(versions) for name, versions in self.loaded.items()}

    def is_ready(self, model: str, version: int) -> bool:
        """Return whether the version answers."""
        self._there()
        return version in self.loaded.get(model, ())

    def load(self, model: str) -> None:
        """Serve what the configuration names."""
        self._there()
        wanted = set(self.served.policy(model))
        self.log.append(f"load {model} {sorted(wanted)}")
        links = self.served.versions(model)
        for number in wanted - self.loaded.get(model, set()):
            if (links[number] / "model.onnx").read_bytes().startswith(BAD) or (model, number) in self.broken:
                raise RefusedError(f"version {number} is no model")
        self.loaded[model] = wanted & links.keys()

    def unload(self, model: str) -> None:
        """Serve the model no more."""
        self._there()
        self.log.append(f"unload {model}")
        self.loaded.pop(model, None)

    def infer(self, model: str, version: int, image: Tensor, index: int, **_: object) -> bytes:
        """Return the golden scores, or others."""
        assert image.row(index)
        self._there()
        if not self.is_ready(model, version):
            raise RefusedError("not found")
        content = (self.served.versions(model)[version] / "model.onnx").read_bytes()
        scores = SCORES[index : index + 1]
        return (scores[:, ::-1] if content.startswith(WRONG) else scores).tobytes()

    def successes(self, model: str) -> dict[int, tuple[int, int]]:
        """Return that nobody asked."""
        self._there()
        return dict.fromkeys(self.loaded.get(model, ()), (0, 0))

    def answered(self) -> dict[tuple[str, int], tuple[int, int]]:
        """Return what was counted."""
        self._there()
        return dict(self.counted)

    def has_gpu(self) -> bool:
        """Return that there is none."""
        return False

    def restart(self) -> None:
        """Forget what was loaded, as a new process does."""
        self.loaded.clear()

    def _there(self) -> None:
        if "away" in self.faults:
            raise AwayError("Triton does not answer: connection refused.")
