"""When a server's scores are right: on a CPU as they are served, on a GPU as probabilities, near ties left alone."""

import attrs
import numpy as np
import pytest
from numpy.typing import NDArray

from scripts.repository.golden import Golden
from scripts.server.numbers import GPU_TOLERANCE, agreement, check, probabilities, verdict
from scripts.server.result import Failed
from triton_sdk import ModelContract, ResNetClient, TensorSpec
from triton_sdk.testing import ScriptedTransport


def scores(*values: float) -> NDArray[np.float32]:
    """Return the scores of one image."""
    return np.array([values], np.float32)


def judged(
    expected: NDArray[np.float32], got: NDArray[np.float32], *, tolerance: float = 1e-4, arithmetic: str | None = None
) -> str:
    """Return the verdict over one image."""
    one = agreement(expected, got, tolerance=tolerance, on_gpu=arithmetic is not None)
    return verdict([one], arithmetic=arithmetic)


def test_a_near_tie_that_tf32_flips_is_right() -> None:
    """A probability moved by 0.099 and the best class is another one, as on a healthy H100: that is no failure."""
    figure = judged(scores(0.41, 0.33, 0.26), scores(0.311, 0.4, 0.289), arithmetic="TF32")
    assert "in TF32 on a GPU" in figure
    assert "1 near tie" in figure
    assert "same top-1" in judged(scores(0.41, 0.33), scores(0.42, 0.32), arithmetic="FP16")


def test_another_best_class_is_wrong_where_the_lead_is_clear() -> None:
    """A lead above the tolerance must hold."""
    with pytest.raises(Failed, match="best class is another"):
        judged(scores(0.6, 0.39, 0.01), scores(0.41, 0.58, 0.01), arithmetic="TF32")
    with pytest.raises(Failed, match="best class is another"):
        judged(scores(0.501, 0.499), scores(0.499, 0.501))
    assert "near tie" in judged(scores(0.50001, 0.49999), scores(0.49999, 0.50001))


def test_a_difference_above_the_tolerance_is_wrong() -> None:
    """On a CPU the packaged tolerance counts, on a GPU its own, which is wider."""
    with pytest.raises(Failed, match=r"above 0\.0001"):
        judged(scores(0.6, 0.4), scores(0.61, 0.39))
    assert judged(scores(0.6, 0.4), scores(0.61, 0.39), arithmetic="TF32")
    with pytest.raises(Failed, match=f"in TF32 on a GPU, 0.25, is above {GPU_TOLERANCE}"):
        judged(scores(0.7, 0.2, 0.1), scores(0.45, 0.35, 0.2), arithmetic="TF32")


def test_other_weights_are_found_where_no_class_has_much() -> None:
    """Where every probability is below the tolerance, losing half of the best one is too much."""
    spread = np.full((1, 100), 0.009, np.float32)
    spread[0, :2] = 0.1, 0.018
    with pytest.raises(Failed, match="best class"):
        judged(spread, np.roll(spread, 5, axis=1), arithmetic="TF32")


def test_logits_are_compared_as_probabilities_on_a_gpu() -> None:
    """Logits of 20 differ by more than any probability can, and the answer is the same."""
    assert judged(scores(20.0, 3.0), scores(20.6, 3.2), arithmetic="TF32")
    with pytest.raises(Failed, match="above"):
        judged(scores(20.0, 3.0), scores(20.6, 3.2))
    np.testing.assert_allclose(probabilities(scores(0, np.log(3))), [[0.25, 0.75]], rtol=1e-6)
    np.testing.assert_array_equal(probabilities(scores(0.25, 0.75)), [[0.25, 0.75]])


@pytest.mark.parametrize("arithmetic", [None, "TF32"])
@pytest.mark.parametrize("got", [scores(np.nan, 0.4), scores(0.5, 0.3, 0.2), scores(np.inf, 0)])
def test_what_is_no_score_never_agrees(got: NDArray[np.float32], arithmetic: str | None) -> None:
    """Not-a-number, infinity and another number of classes fail, near tie or not."""
    with pytest.raises(Failed), np.errstate(invalid="ignore"):
        judged(scores(0.5, 0.5), got, arithmetic=arithmetic)


def test_a_batch_is_asked_as_well() -> None:
    """Answers that are right for each image alone and wrong in a batch are found, and said to be of a batch."""
    right = Golden(input=np.zeros((3, 4, 4, 3), np.uint8), output=np.array([[0.9, 0.1]] * 3, np.float32))
    contract = ModelContract(
        model="m",
        input=TensorSpec(name="image", dtype="UINT8", shape=(4, 4, 3)),
        output=TensorSpec(name="probabilities", dtype="FP32", shape=(2,)),
        layout="NHWC",
        max_batch=8,
        resize=4,
        scores="probabilities",
    )

    def asked(*, max_batch: int, together: float) -> str:
        answers = [[0.9, 0.1]] * 3 + [[together, 1 - together]] * 3
        served = attrs.evolve(contract, max_batch=max_batch)
        transport = ScriptedTransport(answers, contract=served, labels=["a", "b"])
        with ResNetClient("scripted:1", model="m", transport=transport) as client:
            return check(client, right, version=1, tolerance=1e-4, arithmetic=None)

    with pytest.raises(Failed, match="in a batch, but each image alone is right"):
        asked(max_batch=8, together=0.7)
    assert "3 images, alone and in a batch, largest" in asked(max_batch=8, together=0.9)
    assert "3 images, largest" in asked(max_batch=1, together=0.7)


@pytest.mark.parametrize("values", [(0.98, 0.97, 0.02), (0.2, 0.1, 0.05)])
def test_several_labels_are_compared_as_they_are(values: tuple[float, ...]) -> None:
    """Probabilities that are each for themselves are no logits, whatever they sum to."""
    assert probabilities(scores(*values)).tolist() == scores(*values).tolist()
