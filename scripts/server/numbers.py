"""Compare a server's scores with those that a version was packaged with."""

from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from scripts.repository import golden
from scripts.repository.golden import Golden
from scripts.server.result import Failed
from triton_sdk import ResNetClient

# A GPU multiplies in TF32, with 10 bits of mantissa, unless told otherwise, and FP16 has as many. On an H100, TF32
# moved a probability of the seeded MobileNetV2 by 0.099 and of the seeded ResNet50 by 0.011. The same models with other
# weights, which this must tell apart, lie 0.68 to 1.0 from each other.
GPU_TOLERANCE = 0.2


@attrs.frozen(kw_only=True)
class Agreement:
    """How one image's scores agree with the packaged ones.

    Attributes:
        difference: The largest absolute difference of a score.
        limit: What it may be.
        same_best: Whether the best class is the packaged one.
        clear: Whether the packaged best class leads by more than *limit*, so that no other one may take its place.
    """

    difference: float
    limit: float
    same_best: bool
    clear: bool

    @property
    def room(self) -> float:
        """How far *difference* is within *limit*; negative outside of it."""
        return self.limit - self.difference

    @property
    def right(self) -> bool:
        """Whether these may be the packaged scores."""
        return self.difference <= self.limit and (self.same_best or not self.clear)


def agreement(expected: NDArray[np.float32], got: NDArray[np.float32], *, tolerance: float, on_gpu: bool) -> Agreement:
    """Compare the scores *got* with those *expected*, both FP32 ``(1, classes)``.

    On a CPU they are compared as they are served. On a GPU they are compared as probabilities, whatever is served, and
    where no class has much, none may lose half of it: no more shows that these are the same weights.

    Args:
        expected: The packaged scores.
        got: The server's.
        tolerance: What was measured at packaging, for the scores as they are served.
        on_gpu: Whether a GPU computed them.
    """
    limit = tolerance
    if on_gpu and expected.shape == got.shape:
        expected, got = probabilities(expected), probabilities(got)
        limit = min(GPU_TOLERANCE, float(expected.max()) / 2)
    compared = golden.compare(expected, got)
    first, second = np.sort(expected[0])[:-3:-1] if expected.shape[1] > 1 else (np.inf, 0.0)
    return Agreement(
        difference=compared.difference,
        limit=limit,
        same_best=compared.same_top1,
        clear=bool(float(first) - float(second) > limit),
    )


def probabilities(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the probabilities that *scores* ``(n, classes)`` are or stand for: FP32 of the same shape."""
    # Of several labels each has a probability by itself; logits never keep within [0, 1] for all classes of an image.
    if (scores >= 0).all() and (scores <= 1 + 1e-3).all():
        return scores
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    softmax: NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
    return softmax


def check(client: ResNetClient, right: Golden, *, version: int, tolerance: float, arithmetic: str | None) -> str:
    """Ask *version* for every image of *right* and return how its scores agree, in words.

    Args:
        client: Of the model.
        right: The packaged images and scores.
        version: Who must answer.
        tolerance: What was measured at packaging, for the scores as they are served.
        arithmetic: What a GPU multiplies in; None on a CPU.

    Raises:
        Failed: If another version answers or a score is not right.
    """
    # One by one, and then as a batch holds them, where each image has batch-mates.
    asked = [right.input[i : i + 1] for i in range(len(right.input))]
    asked += [right.input] if client.contract().max_batch > 1 else []
    scores = []
    for batch in asked:
        answer = client.infer(batch, version=version)
        if answer.model_version != version:
            raise Failed(f"version {answer.model_version} answered, not {version}")
        scores += list(answer.scores)
    images = len(right.input)
    found = [
        agreement(right.output[np.newaxis, i % images], got[np.newaxis], tolerance=tolerance, on_gpu=bool(arithmetic))
        for i, got in enumerate(scores)
    ]
    return verdict(found[:images], together=found[images:], arithmetic=arithmetic)


def verdict(alone: list[Agreement], *, together: Sequence[Agreement] = (), arithmetic: str | None) -> str:
    """Return what was found, for each image alone and for each in a batch of all, in words.

    Raises:
        Failed: If a score or a best class is not right.
    """
    found = [*alone, *together]
    worst = min(found, key=lambda one: one.room)
    where = f" in {arithmetic} on a GPU" if arithmetic else ""
    if all(one.right for one in alone) and not all(one.right for one in together):
        where = f" in a batch, but each image alone is right{where}"
    if not all(one.same_best for one in found if one.clear):
        raise Failed(f"the best class is another one than packaged (largest difference {worst.difference:.2g}{where})")
    if not worst.difference <= worst.limit:
        raise Failed(f"the largest difference{where}, {worst.difference:.2g}, is above {worst.limit:.2g}")
    ties = sum(not one.same_best for one in found)
    classes = f"the best class differs in {ties} near tie{'s' if ties > 1 else ''}" if ties else "same top-1"
    asked = f"{len(alone)} images{', alone and in a batch' if together else ''}{where}"
    return f"{asked}, largest difference {worst.difference:.1e} <= {worst.limit:.1e}, {classes}"
