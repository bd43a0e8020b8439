"""The usual ways to prepare pictures: each once, in the model's own order of channels, with the flags that mean it."""

import attrs
import pytest

from scripts.graph.pixels import COLOURS, Pixels
from scripts.packaging.trial import ways
from scripts.tasks import flags
from tests.unit.packaging.test_decide import BYTES, CLASSIFIER, GRAY
from triton_sdk.contract import IMAGENET_MEAN, IMAGENET_STD, Framing

IMAGENET = Pixels(mean=IMAGENET_MEAN, std=IMAGENET_STD)
CROP = Framing(resize=256)


def parsed(text: str) -> Pixels:
    """Return what the flags of a way say, as the task reads them."""
    words = text.split()
    given = dict(zip([word.removeprefix("--") for word in words[::2]], words[1::2], strict=True))
    scale, mean, std = (
        flags.fraction(given["scale"], name=""),
        *(flags.channels(given[n], name="") for n in ("mean", "std")),
    )
    assert scale is not None
    assert mean is not None
    assert std is not None
    return Pixels(colour=flags.word(given["colour"], COLOURS, name="colour"), scale=scale, mean=mean, std=std)


def test_each_usual_way_is_tried_once_in_both_orders_of_channels() -> None:
    """Beside the packaged one: four other numbers, BGR, and BGR with those four; none is the packaged one again."""
    found = list(ways.other_numbers(ways.packaged(IMAGENET, CROP), CLASSIFIER))
    names = [way.name for way in found]
    assert names == [
        "x/255",
        "0.5/0.5",
        "0..255",
        "0..255 less ImageNet's mean",
        "BGR",
        "BGR and x/255",
        "BGR and 0.5/0.5",
        "BGR and 0..255",
        "BGR and 0..255 less ImageNet's mean",
    ]
    turned = next(way for way in found if way.name == "BGR")
    assert (turned.pixels.mean, turned.pixels.std) == (IMAGENET_MEAN[::-1], IMAGENET_STD[::-1])


@pytest.mark.parametrize("base", [IMAGENET, attrs.evolve(IMAGENET, colour="bgr", mean=IMAGENET_MEAN[::-1])])
def test_the_flags_of_a_way_mean_it(base: Pixels) -> None:
    """Who gives the flags that the table shows gets the numbers that were tried."""
    for way in ways.other_numbers(ways.packaged(base, CROP), CLASSIFIER):
        found = parsed(way.flags if "--colour" in way.flags else f"--colour {base.colour} {way.flags}")
        assert found.colour == way.pixels.colour
        assert found.scale == pytest.approx(way.pixels.scale)
        assert found.mean == pytest.approx(way.pixels.mean, rel=1e-5)
        assert found.std == pytest.approx(way.pixels.std, rel=1e-5)


def test_a_model_of_one_channel_has_no_order_of_channels() -> None:
    """One number each, and MNIST's among them."""
    base = ways.packaged(Pixels(colour="gray", mean=(0.5,), std=(0.5,)), Framing(resize=32))
    found = list(ways.other_numbers(base, GRAY))
    assert [way.name for way in found] == ["x/255", "0..255", "MNIST's mean and std"]
    assert {len(way.pixels.mean) for way in found} == {1}


def test_a_graph_that_takes_bytes_is_tried_in_the_other_order_alone() -> None:
    """It normalises by itself, so that only the order of its channels may be another."""
    base = ways.packaged(Pixels(scale=1.0, mean=(0.0,) * 3, std=(1.0,) * 3), CROP)
    assert [(way.name, way.flags) for way in ways.other_numbers(base, BYTES)] == [("BGR", "--colour bgr")]


def test_other_fits_keep_the_numbers() -> None:
    """A cropped model is tried squashed, a squashed one cropped, and a padded one both."""
    for fit, expected in (("crop", ["--fit squash"]), ("squash", ["--fit crop --resize 256"])):
        base = ways.packaged(IMAGENET, Framing(resize=224, fit=fit))  # type: ignore[arg-type]
        found = list(ways.other_fits(base, height=224, width=224))
        assert [way.flags for way in found] == expected
        assert {way.pixels for way in found} == {IMAGENET}
    padded = ways.packaged(IMAGENET, Framing(resize=224, fit="pad"))
    assert len(list(ways.other_fits(padded, height=224, width=224))) == 2
