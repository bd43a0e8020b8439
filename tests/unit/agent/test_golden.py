"""Golden data read without NumPy, and what counts as the same scores."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.agent import golden
from scripts.agent.errors import AgentError

SCORES = np.array([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]], np.float32)


def written(folder: Path, **arrays: Any) -> Path:
    """Write golden data into *folder*."""
    usual: dict[str, Any] = {"input": np.arange(2 * 12, dtype=np.uint8).reshape(2, 2, 2, 3), "output": SCORES}
    np.savez_compressed(folder / "golden.npz", **usual | arrays)
    (folder / "manifest.json").write_text(json.dumps({"measured": {"tolerance": 1e-3}}), encoding="utf-8")
    return folder


@pytest.mark.parametrize(("kind", "name"), [("|u1", "UINT8"), ("<f4", "FP32")])
def test_arrays_are_read_as_numpy_wrote_them(tmp_path: Path, kind: str, name: str) -> None:
    """Rows, shapes and kinds come back."""
    images: Any = np.arange(2 * 12).reshape(2, 2, 2, 3).astype(kind)
    found = golden.load(written(tmp_path, input=images))
    assert found is not None
    assert (found.input.shape, found.input.dtype) == ((2, 2, 2, 3), name)
    assert found.input.row(1) == images[1].tobytes()
    assert found.output.row(0) == SCORES[0].tobytes()


def test_a_version_without_golden_data_has_none(tmp_path: Path) -> None:
    """It was packaged by something else."""
    assert golden.load(tmp_path) is None


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("input", np.zeros((2, 3), np.float64)),
        ("output", np.zeros((3, 3), np.float32)),
        ("output", np.zeros(3, np.float32)),
        ("input", np.array([{}, {}], object)),
        ("output", np.asfortranarray(np.zeros((2, 3), np.float32))),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, name: str, array: Any) -> None:
    """Nothing is unpickled, and nothing is guessed."""
    with pytest.raises(AgentError):
        golden.load(written(tmp_path, **{name: array}))


def test_damaged_data_is_refused(tmp_path: Path) -> None:
    """A file that is cut short is no golden data."""
    path = written(tmp_path) / "golden.npz"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(AgentError, match="cannot be read as golden data"):
        golden.load(tmp_path)


@pytest.mark.parametrize(
    ("scores", "on_gpu", "wrong"),
    [
        (SCORES[0], False, None),
        (SCORES[0] + 5e-4, False, None),
        (SCORES[0] + 2e-3, False, "a score differs"),
        (SCORES[0] + 5e-2, True, None),
        (SCORES[0][::-1], True, "a score differs"),
        (SCORES[0][:2], False, "2 scores came, not 3"),
        (np.array([np.nan, 0, 1]), False, "not a finite number"),
    ],
)
def test_scores_agree_within_what_the_hardware_allows(
    tmp_path: Path, scores: Any, on_gpu: bool, wrong: str | None
) -> None:
    """On a CPU as near as it was packaged, on a GPU as near as its arithmetic allows."""
    found = golden.load(written(tmp_path))
    assert found is not None
    said = found.agrees(0, scores.astype(np.float32).tobytes(), on_gpu=on_gpu)
    assert said is None if wrong is None else wrong in (said or "")
