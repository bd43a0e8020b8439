"""What a handful of pictures proves: numbers with known answers, and what must not be believed."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from scripts.packaging.trial import verdict
from scripts.packaging.trial.verdict import Certainty


def answers(classes: list[int], *, of: int, sure: float = 0.9) -> NDArray[np.float32]:
    """Return probabilities whose best classes are these."""
    made = np.full((len(classes), of), (1 - sure) / (of - 1), np.float32)
    made[np.arange(len(classes)), classes] = sure
    return made


def test_chance_is_the_binomial_s_tail() -> None:
    """Two classes, half each, answers in halves too: 8 of 8 right has the probability 1/256, 4 of 8 163/256."""
    labels = np.array([0, 1] * 4)
    assert verdict.chance(answers([0, 1] * 4, of=2), labels) == pytest.approx(1 / 256)
    assert verdict.chance(answers([0, 1, 1, 0] * 2, of=2), labels) == pytest.approx(163 / 256)


def test_the_same_answer_every_time_proves_nothing() -> None:
    """A model that always says the class of 90 of 100 pictures is right 90 times, and that is chance."""
    labels = np.array([0] * 90 + [1] * 10)
    assert verdict.chance(answers([0] * 100, of=2), labels) > 0.5


@pytest.mark.parametrize(("count", "classes", "expected"), [(3, 2, False), (8, 2, True), (40, 6, True), (9, 1, False)])
def test_some_pictures_cannot_tell(count: int, classes: int, expected: bool) -> None:
    """Too few, or all of one class, prove nothing even if all are right."""
    assert verdict.could_tell(np.arange(count) % classes) is expected


def test_better_counts_only_where_the_two_differ() -> None:
    """Ten gains and no loss have the probability 1/1024, which is significant for one comparison and not for twenty."""
    one, other = np.array([True] * 30), np.array([True] * 20 + [False] * 10)
    assert verdict.better(one, other, of=1)
    assert not verdict.better(one, other, of=20)
    assert not verdict.better(other, one, of=1)
    assert not verdict.better(one, one, of=1)


def test_sureness_alone_is_no_merit() -> None:
    """Answers that differ only in temperature have the same losses; better ordered ones have smaller ones."""
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    logits = random.normal(size=(60, 3)) + 2 * np.eye(3)[labels]

    def softmax(values: NDArray[np.float64]) -> NDArray[np.float32]:
        powers = np.exp(values - values.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)

    plain, sharp = (verdict.losses(softmax(logits * factor), labels) for factor in (1, 6))
    assert plain.mean() == pytest.approx(sharp.mean(), rel=0.02)
    assert not verdict.apart(plain, sharp)
    worse = verdict.losses(softmax(logits + random.normal(size=(60, 3)) * 4), labels)
    assert verdict.apart(plain, worse)
    assert not verdict.apart(worse, plain)


def test_one_picture_sets_nothing_apart() -> None:
    """A single difference has no spread that could be judged."""
    assert not verdict.apart(np.array([0.0]), np.array([5.0]))


def test_certainty_counts_only_of_different_things() -> None:
    """The same sure answer to all pictures tells nothing; sure answers of four classes tell two bits."""
    same = Certainty.of(answers([2] * 8, of=4, sure=0.999))
    different = Certainty.of(answers([0, 1, 2, 3] * 2, of=4, sure=0.999))
    unsure = Certainty.of(answers([0, 1, 2, 3] * 2, of=4, sure=0.3))
    assert same.told == pytest.approx(0, abs=1e-6)
    assert different.told == pytest.approx(math.log(4), abs=0.02)
    most = math.log(4)
    assert verdict.far_more_certain(different, unsure, most=most, larger=True)
    assert not verdict.far_more_certain(same, unsure, most=most, larger=False)
    assert not verdict.far_more_certain(different, different, most=most, larger=False)


def test_larger_inputs_have_to_show_more() -> None:
    """Multiplied inputs are surer of anything: that counts only where the packaged way tells next to nothing."""
    half = Certainty(top=0.5, told=0.4)
    assert verdict.far_more_certain(Certainty(top=0.99, told=1.3), half, most=1.4, larger=False)
    assert not verdict.far_more_certain(Certainty(top=0.99, told=1.3), half, most=1.4, larger=True)
