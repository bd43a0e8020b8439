"""Generated images, and the answers that belong to them."""

from pathlib import Path

import attrs
import numpy as np
import pytest

from scripts.host.errors import TaskFailure
from scripts.repository import golden
from scripts.repository.golden import Golden
from triton_sdk.contract import ModelContract, TensorSpec

CONTRACT = ModelContract(
    model="m",
    input=TensorSpec(name="image", dtype="UINT8", shape=(20, 30, 3)),
    output=TensorSpec(name="probabilities", dtype="FP32", shape=(4,)),
    layout="NHWC",
    max_batch=8,
    resize=23,
)


def test_the_same_images_come_every_time() -> None:
    """Images depend on their number and size only, and asking for more keeps the first ones."""
    few, many = golden.images(2, height=20, width=30), golden.images(6, height=20, width=30)
    assert few.shape == (2, 20, 30, 3)
    assert few.dtype == np.uint8
    np.testing.assert_array_equal(few, many[:2])


def test_images_differ_much() -> None:
    """Any two images are tens of levels apart, so that a classifier can tell them apart."""
    made = golden.images(8, height=64, width=64).astype(float)
    apart = [np.abs(made[i] - made[j]).mean() for i in range(8) for j in range(i)]
    assert min(apart) > 10


def test_pictures_are_what_the_contract_takes() -> None:
    """For an FP32 NCHW contract they are the same images, scaled, normalised and turned."""
    spec = TensorSpec(name="data", dtype="FP32", shape=(3, 20, 30))
    floats = golden.pictures(attrs.evolve(CONTRACT, input=spec, layout="NCHW"), 2)
    assert floats.shape == (2, 3, 20, 30)
    assert floats.dtype == np.float32
    pixels = golden.pictures(CONTRACT, 2)
    expected = (pixels / 255 - np.array(CONTRACT.mean)) / np.array(CONTRACT.std)
    np.testing.assert_allclose(floats, expected.transpose(0, 3, 1, 2), atol=1e-5)


def test_pictures_for_planes_of_bytes_are_turned() -> None:
    """For a UINT8 NCHW contract only the order of the axes changes."""
    spec = TensorSpec(name="image", dtype="UINT8", shape=(3, 20, 30))
    turned = golden.pictures(attrs.evolve(CONTRACT, input=spec, layout="NCHW"), 2)
    np.testing.assert_array_equal(turned.transpose(0, 2, 3, 1), golden.pictures(CONTRACT, 2))


def stored(path: Path) -> Golden:
    """Save golden data and return them."""
    kept = Golden(input=golden.pictures(CONTRACT), output=np.eye(4, dtype=np.float32))
    golden.save(kept, path=path)
    return kept


def test_golden_data_survive_being_saved(tmp_path: Path) -> None:
    """What is loaded equals what was saved, bit for bit."""
    kept = stored(tmp_path / "golden.npz")
    read = golden.load(tmp_path / "golden.npz")
    np.testing.assert_array_equal(read.input, kept.input)
    np.testing.assert_array_equal(read.output, kept.output)


def test_the_same_data_are_the_same_bytes(tmp_path: Path) -> None:
    """The file holds no time, so that packaging the same model twice gives the same hashes."""
    stored(tmp_path / "one.npz")
    stored(tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_a_damaged_file_is_a_clear_error(tmp_path: Path) -> None:
    """Cut short anywhere, or with a byte changed anywhere, the file loads or is refused by our error."""
    path = tmp_path / "golden.npz"
    stored(path)
    content, refused = path.read_bytes(), 0
    for position in range(0, len(content), max(len(content) // 60, 1)):
        flipped = content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :]
        for damaged in (content[:position], flipped):
            path.write_bytes(damaged)
            try:
                golden.load(path)
            except TaskFailure:
                refused += 1
    assert refused > 60


@pytest.mark.parametrize(
    ("sent", "scores"),
    [
        (np.zeros((2, 4, 4, 3), np.uint8), np.zeros((3, 5), np.float32)),
        (np.zeros((0, 4, 4, 3), np.uint8), np.zeros((0, 5), np.float32)),
        (np.zeros((2, 4, 4), np.uint8), np.zeros((2, 5), np.float32)),
        (np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 5), np.float64)),
        (np.array([{}]), np.zeros((2, 5), np.float32)),
    ],
    ids=["counts", "empty", "rank", "dtype", "pickle"],
)
def test_other_arrays_are_refused(tmp_path: Path, sent: np.ndarray, scores: np.ndarray) -> None:
    """Arrays that cannot be an input and its scores are refused, pickled objects unread."""
    np.savez(tmp_path / "golden.npz", input=sent, output=scores)
    with pytest.raises(TaskFailure, match=r"golden\.npz"):
        golden.load(tmp_path / "golden.npz")


def test_compare_gives_the_largest_difference() -> None:
    """The largest absolute difference counts, and the best class of every image has to agree."""
    expected = np.array([[0.1, 0.9], [0.6, 0.4]], np.float32)
    same = golden.compare(expected, np.array([[0.12, 0.88], [0.55, 0.45]], np.float32))
    assert same.difference == pytest.approx(0.05)
    assert same.same_top1
    assert not golden.compare(expected, np.array([[0.1, 0.9], [0.49, 0.51]], np.float32)).same_top1


@pytest.mark.parametrize(
    "got",
    [np.full((2, 2), np.nan, np.float32), np.zeros((1, 2), np.float32), np.array([[np.inf, 0], [0, 0]], np.float32)],
    ids=["nan", "shape", "infinity"],
)
def test_nonsense_never_agrees(got: np.ndarray) -> None:
    """NaN, infinity and another shape are infinitely far away, whatever the tolerance."""
    compared = golden.compare(np.zeros((2, 2), np.float32), got)
    assert compared == golden.Compared(difference=float("inf"), same_top1=False)
