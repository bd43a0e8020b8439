import attrs
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from numpy.typing import NDArray

from triton_sdk.contract import Scores
from triton_sdk.errors import ConfigurationError, InferenceFailedError
from triton_sdk.predictions import ClassScore, Prediction, to_probabilities, top_k


def rows(*values: list[float]) -> NDArray[np.float32]:
    """Return a batch of scores."""
    return np.array(values, np.float32)


FINITE_ROWS = st_numpy.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(2, 20)),
    elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
)


@given(FINITE_ROWS)
@example(rows([3e38, -3e38]))  # their difference is no float32
def test_logits_become_distributions(logits: NDArray[np.float32]) -> None:
    """Any finite logits, up to the largest float, become non-negative rows that sum to 1 and keep their best class."""
    probabilities = to_probabilities(logits, scores="logits")
    assert probabilities.dtype == np.float32
    assert probabilities.shape == logits.shape
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    best = np.take_along_axis(probabilities, logits.argmax(axis=1)[:, None], axis=1)[:, 0]
    assert (best == probabilities.max(axis=1)).all()


def test_softmax_has_the_known_values() -> None:
    """Logits of ln 1, ln 2 and ln 5 are one, two and five eighths, wherever their zero lies."""
    logits = np.log(np.array([[1, 2, 5]], np.float32))
    for shift in (0, 80, -80):
        found = to_probabilities(logits + np.float32(shift), scores="logits")
        np.testing.assert_allclose(found, rows([0.125, 0.25, 0.625]), rtol=1e-5)


def test_a_masked_class_gets_nothing() -> None:
    """A logit of minus infinity is a class that the model rules out, not a failure."""
    assert to_probabilities(rows([0, -np.inf, 0]), scores="logits").tolist() == [[0.5, 0, 0.5]]


def test_probabilities_stay_as_they_are() -> None:
    """What the contract calls probabilities is passed on to the bit, even where its sum is rough."""
    given_rows = rows([0.5, 0.25], [0.9, 0.3])
    assert to_probabilities(given_rows, scores="probabilities").tobytes() == given_rows.tobytes()


def test_unknown_scores_are_judged_row_by_row() -> None:
    """Of unknown scores, a row that already is a distribution stays; any other, however close, is taken for logits."""
    values = rows([0.25, 0.75, 0], [0.25, 0.7505, 0], [0.25, 0.76, 0], [-0.25, 1.25, 0], [3, 1, 2])
    found = to_probabilities(values, scores="unknown")
    assert found[:2].tobytes() == values[:2].tobytes()
    assert found[2:].tobytes() == to_probabilities(values[2:], scores="logits").tobytes()


@pytest.mark.parametrize("scores", ["logits", "probabilities", "unknown"])
@pytest.mark.parametrize(
    "bad", [[np.nan, 1.0, 0.0], [np.inf, 1.0, 0.0], [-np.inf, -np.inf, -np.inf]], ids=["nan", "inf", "all-minus-inf"]
)
def test_scores_that_are_no_numbers_are_a_failed_inference(scores: Scores, bad: list[float]) -> None:
    """Scores that rank nothing are the model's failure, and the message says which image met it."""
    with pytest.raises(InferenceFailedError, match=r"1 of 3 images, first at position 1"):
        to_probabilities(rows([0.5, 0.5, 0], bad, [0, 0.5, 0.5]), scores=scores)


@given(
    # Few distinct values: most rows hold ties, also at the edge of the top.
    st_numpy.arrays(np.float32, st.integers(1, 40), elements=st.sampled_from([0.0, 0.125, 0.25, 0.5])),
    st.integers(1, 50),
)
def test_top_k_equals_a_full_stable_sort(probabilities: NDArray[np.float32], k: int) -> None:
    """The best k are those of a full sort that puts the lower index first among equals."""
    expected = sorted(range(probabilities.size), key=lambda index: (-probabilities[index], index))[:k]
    found = top_k(probabilities, k=k)
    assert [score.index for score in found] == expected
    assert [score.probability for score in found] == [float(probabilities[index]) for index in expected]


def test_top_k_names_classes() -> None:
    """Classes carry their label, or their number where labels are unknown."""
    probabilities = np.array([0.2, 0.7, 0.1], np.float32)
    named = top_k(probabilities, k=2, labels=("cat", "dog", "egg"))
    assert [score.label for score in named] == ["dog", "cat"]
    assert [score.label for score in top_k(probabilities, k=2)] == ["class 1", "class 0"]
    # Plain numbers, so that a prediction can be written as JSON.
    assert {type(value) for score in named for value in (score.index, score.probability)} == {int, float}


def test_top_k_refuses_what_it_cannot_do() -> None:
    """No class to return and labels for another model are configuration errors that say both numbers."""
    probabilities = np.array([0.2, 0.7, 0.1], np.float32)
    with pytest.raises(ConfigurationError, match="top_k is 0"):
        top_k(probabilities, k=0)
    with pytest.raises(ConfigurationError, match="2 labels, but the model has 3 classes"):
        top_k(probabilities, k=1, labels=("cat", "dog"))


def test_a_prediction_speaks_for_its_best_class() -> None:
    """A prediction's own label, index and probability are its first class's, and it reads as a sentence would."""
    top = (
        ClassScore(index=1, label="goldfish", probability=0.9987),
        ClassScore(index=0, label="tench", probability=0.0013),
    )
    prediction = Prediction(top=top, model="resnet50", model_version=2)
    assert (prediction.index, prediction.label, prediction.probability) == (1, "goldfish", 0.9987)
    assert str(prediction) == "goldfish 99.9% (resnet50 version 2)"
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        prediction.model = "other"  # type: ignore[misc]  # what is tested


def test_every_class_above_a_threshold_is_told() -> None:
    """Of several labels more may be true than the best few, or none; equals and the threshold itself count."""
    probabilities = np.array([0.9, 0.1, 0.75, 0.5, 0.75], np.float32)
    labels = ("sea", "snow", "sky", "sand", "sun")
    top = top_k(probabilities, k=1, labels=labels)
    prediction = Prediction(top=top, model="m", model_version=1, probabilities=probabilities, labels=labels)
    assert [score.label for score in prediction.above(0.5)] == ["sea", "sky", "sun", "sand"]
    assert prediction.above(0.91) == ()
    assert prediction == Prediction(top=top, model="m", model_version=1)
    # Made by hand, it knows of its best classes only.
    assert Prediction(top=top, model="m", model_version=1).above(0.5) == top


@pytest.mark.parametrize("scores", ["probabilities", "multi-label"])
def test_probabilities_are_left_as_they_are(scores: Scores) -> None:
    """Neither what sums to 1 nor what is true class by class is softmaxed."""
    values = rows([0.9, 0.8, 0.05])
    assert to_probabilities(values, scores=scores) is values
