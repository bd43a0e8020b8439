"""Asking two versions about pictures, through the real client and a server in memory."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from scripts.compare.answers import ask_all
from scripts.compare.sides import Side
from scripts.compare.timing import Length, measure
from scripts.host.errors import TaskFailure
from scripts.packaging.trial.pictures import Pictures
from triton_sdk import ModelContract, ResNetClient, RetryPolicy, TensorSpec, TritonError
from triton_sdk.contract import Framing
from triton_sdk.testing import ScriptedTransport

NAMES = ("dark", "light", "other")
CONTRACT = ModelContract(
    model="shades",
    input=TensorSpec(name="image", dtype="UINT8", shape=(8, 8, 3)),
    output=TensorSpec(name="probabilities", dtype="FP32", shape=(3,)),
    layout="NHWC",
    max_batch=8,
    resize=8,
    scores="probabilities",
)


def answer(pixels: NDArray[Any], version: int) -> Mapping[str, float]:
    """Say how light a picture is; the second version is less sure of it, and wrong about the lightest ones."""
    light = float(pixels.mean()) / 255
    if version == 2:
        light = 0.2 if light > 0.9 else 0.8 * light
    return {"light": light, "dark": 1 - light}


@pytest.fixture
def transport() -> ScriptedTransport:
    """Return the server."""
    return ScriptedTransport(answer, versions=(1, 2), labels=NAMES, contract=CONTRACT)


@pytest.fixture
def sides(transport: ScriptedTransport) -> Iterator[tuple[Side, Side]]:
    """Return two versions that one client asks."""
    with ResNetClient("memory:1", model="shades", transport=transport, retry=RetryPolicy(max_attempts=1)) as client:
        one, other = (
            Side(model="shades", version=number, client=client, contract=CONTRACT, names=NAMES) for number in (1, 2)
        )
        yield one, other


def pictures(folder: Path, *shades: int) -> Pictures:
    """Write a gray picture for each shade; the odd ones are called light."""
    for shade in shades:
        Image.new("RGB", (20, 10), (shade, shade, shade)).save(folder / f"{shade:03}.png")
    paths = tuple(sorted(folder.iterdir()))
    return Pictures(paths=paths, labels=np.array([int(path.stem) % 2 for path in paths]))


def test_each_picture_gets_the_answers_of_both(tmp_path: Path, sides: tuple[Side, Side]) -> None:
    """In the order of the pictures, with their classes, how far a probability moved, and what was counted."""
    counted: list[tuple[int, int]] = []
    shades = (0, 51, 102, 153, 255)
    found = ask_all(pictures(tmp_path, *shades), *sides, progress=lambda *done: counted.append(done))
    assert [pair.path.name for pair in found] == [f"{shade:03}.png" for shade in shades]
    assert [pair.label for pair in found] == [0, 1, 0, 1, 1]
    assert [pair.same for pair in found] == [True, True, True, False, False]
    assert [round(pair.shift, 4) for pair in found] == [0.0, 0.04, 0.08, 0.12, 0.8]
    assert [round(pair.kept, 4) for pair in found] == [1.0, 0.84, 0.68, 0.48, 0.2]
    assert [pair.right for pair in found][-1] == (True, False)
    assert (found[-1].baseline[0].label, found[-1].candidate[0].label) == ("light", "dark")
    assert counted == [(done, 5) for done in range(1, 6)]


def test_each_version_gets_the_picture_as_it_wants_it(tmp_path: Path, sides: tuple[Side, Side]) -> None:
    """A version that squashes sees the bright edges that another one crops."""
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, :8] = wide[:, 16:] = 255
    Image.fromarray(wide).save(tmp_path / "wide.png")
    own = attrs.evolve(CONTRACT, framing_by_version={2: Framing(resize=8, fit="squash")})
    one, other = sides[0], attrs.evolve(sides[1], contract=own)
    pixels = [side.pixels(tmp_path / "wide.png") for side in (one, other)]
    assert (pixels[0].max(), round(pixels[1].mean())) == (0, 170)
    (found,) = ask_all(Pictures(paths=(tmp_path / "wide.png",)), one, other, progress=lambda *_: None)
    assert (found.baseline[0].label, found.candidate[0].label, found.label) == ("dark", "light", None)


def test_all_pictures_that_cannot_be_used_are_named(tmp_path: Path, sides: tuple[Side, Side]) -> None:
    """In one message, so that nobody has to start again for each."""
    listed = pictures(tmp_path, *range(20))
    for number in (3, 11, 19):
        (tmp_path / f"{number:03}.png").write_bytes(b"no picture")
    with pytest.raises(TaskFailure, match=r"^3 of 20 pictures cannot be used\. Take them out of --images:") as failure:
        ask_all(listed, *sides, progress=lambda *_: None)
    assert [name in str(failure.value) for name in ("003.png", "011.png", "019.png", "004.png")] == [True] * 3 + [False]


def test_a_server_that_fails_ends_it(tmp_path: Path, sides: tuple[Side, Side], transport: ScriptedTransport) -> None:
    """With the client's own error, and without asking about the rest of many."""
    transport.fail("failed", times=1)
    listed = pictures(tmp_path, *range(100))
    with pytest.raises(TritonError, match="the model failed"):
        ask_all(listed, *sides, progress=lambda *_: None)
    assert len(transport.requests) < 100


def test_times_are_measured_in_turn(sides: tuple[Side, Side], transport: ScriptedTransport) -> None:
    """As many calls of each as asked for, who is first takes turns, and each version has its turns under load."""
    tensor = sides[0].tensor(np.zeros((8, 8, 3), np.uint8))
    told: list[str] = []
    length = Length(most=4, least=1, turns=6, turn_s=0)
    timing = measure(*sides, [(tensor, tensor)], callers=1, length=length, step=told.append)
    assert timing.latencies_ms.shape == (2, 4)
    assert timing.latencies_ms.min() > 0
    assert timing.rates.shape == (2, 6)
    assert timing.more_interval[0] <= timing.more <= timing.more_interval[1]
    order = [request.version for request in transport.requests]
    assert order[:6] == [1, 1, 1, 2, 2, 2]
    assert order[6:14] == [2, 1, 1, 2, 2, 1, 1, 2]
    assert [order[14:].count(version) for version in (1, 2)] == [6, 6]
    assert len(told) == 2


def test_the_throughput_can_be_left_out(sides: tuple[Side, Side]) -> None:
    """Without callers only the latency is measured."""
    tensor = sides[0].tensor(np.zeros((8, 8, 3), np.uint8))
    told: list[str] = []
    timing = measure(*sides, [(tensor, tensor)], callers=0, length=Length(most=9, least=2, seconds=0), step=told.append)
    assert (timing.rates.size, len(told), timing.latencies_ms.shape) == (0, 1, (2, 2))
