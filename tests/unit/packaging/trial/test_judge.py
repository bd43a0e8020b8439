"""What an owner is told of the pictures."""

import numpy as np
from numpy.typing import ArrayLike

from scripts.graph.pixels import Pixels
from scripts.packaging.trial.judge import Known, Result, Trial, labelled
from scripts.packaging.trial.ways import Way
from scripts.repository.manifest import Tried
from triton_sdk.contract import Framing

FRAMING = Framing(resize=8, interpolation="bilinear", fit="squash")
WAYS = {
    1 / 255: Way(name="as packaged", pixels=Pixels(scale=1 / 255, mean=(0,), std=(1,)), framing=FRAMING, flags=""),
    1: Way(name="0..255", pixels=Pixels(scale=1, mean=(0,), std=(1,)), framing=FRAMING, flags="--scale 1"),
}


def judged(packaged: ArrayLike, other: ArrayLike, *, labels: ArrayLike, outputs: ArrayLike | None = None) -> Trial:
    """Return the verdict on the probability of the second of two classes, as packaged and prepared otherwise."""
    answers = [np.stack([1 - column, column], axis=1) for column in np.asarray([packaged, other], np.float32)]
    given = None if outputs is None else np.asarray(outputs, np.float32)
    known = Known(
        answers=answers[0],
        labels=np.asarray(labels, np.int64),
        outputs=None if given is None else np.stack([1 - given, given], axis=1),
        chosen=np.arange(len(answers[0])),
    )
    results = [Result(way=way, probabilities=rows, size=1) for way, rows in zip(WAYS.values(), answers, strict=True)]
    tried = Tried(pictures=len(answers[0]), kept=())
    return labelled(tried, results, known, least=None, assumed={"scale", "mean", "std"})


def test_the_owner_s_own_numbers_prove_more_than_the_labels_of_few_pictures() -> None:
    """Who gets them again prepares pictures alike, even where all are of one class; another way is told apart."""
    found = judged([0.1, 0.2, 0.3], [0.2, 0.3, 0.4], labels=[0, 0, 0], outputs=[0.1, 0.2, 0.3])
    assert (found.warning, found.refusal) == ("", "")


def test_other_numbers_than_the_owner_s_are_named_with_the_way_that_gives_them() -> None:
    """Neither few pictures nor equal classes hide that another way gives what the owner's program gives."""
    found = judged([0.15, 0.25, 0.35], [0.1, 0.2, 0.3], labels=[0, 0, 0], outputs=[0.1, 0.2, 0.3])
    assert "With 0..255: 100% as yours, and the probabilities are nearer to yours; as packaged: 100%" in found.warning
    assert "Package it with --scale 1." in found.warning


def test_numbers_that_no_way_gives_are_told() -> None:
    """Where the owner's program prepares pictures in a way that cannot be had, the difference is a warning."""
    found = judged([0.15, 0.3, 0.35], [0.5, 0.6, 0.9], labels=[0, 0, 0], outputs=[0.1, 0.2, 0.3])
    assert "differs from yours by 0.1, but programs that prepare pictures alike usually differ" in found.warning
    assert "None of the usual other ways to prepare pictures does better" in found.warning


def test_equal_shares_say_what_is_better() -> None:
    """If both ways are as often right, the message says that the right classes are more probable."""
    labels = np.arange(40) % 2
    sign = labels * 2 - 1
    uneven = 0.5 + sign * np.where(np.arange(40) % 4 < 2, 0.4, 0.001)
    found = judged(uneven, 0.5 + sign * 0.4, labels=labels)
    assert "100% right, and the right classes are more probable; as packaged: 100% right" in found.warning
