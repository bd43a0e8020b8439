"""What the client is to reach, each as a ratio inside one run, and what it did."""

from collections.abc import Mapping

import attrs

from benchmarks.contest import Result, best_peer
from benchmarks.figures import Spread, ratio
from benchmarks.workloads import DECODE, FAST, FP32, NAIVE, PILLOW, PLAIN, RAW, STUB, UINT8

Results = Mapping[str, Mapping[str, Result]]


@attrs.frozen(kw_only=True)
class Aim:
    """A ratio to reach.

    Attributes:
        title: What it says.
        workload: Where it is measured.
        ours: Our group.
        theirs: The group to compare with; None means the fastest peer.
        bound: The ratio to reach.
        of: What is compared: ``"rate"``, at least the bound, or ``"cpu_per_thousand"``, at most.
        dtype: What the peers' model takes, where the fastest one is meant.
    """

    title: str
    workload: str
    ours: str
    theirs: str | None
    bound: float
    of: str = "rate"
    dtype: str = "FP32"


AIMS = (
    Aim(title="FP32 drop-in by the best peer", workload="small", ours=FP32, theirs=None, bound=1.5),
    Aim(title="uint8 by the best peer, which sends FP32", workload="small", ours=UINT8, theirs=None, bound=2.0),
    Aim(title="uint8 by tritonclient's naive loop", workload="small", ours=UINT8, theirs=NAIVE, bound=3.3),
    Aim(
        title="client CPU, uint8 by Pillow's decode and resize alone",
        workload="small",
        ours=UINT8,
        theirs=PILLOW,
        bound=1.1,
        of="cpu_per_thousand",
    ),
    Aim(title="12 megapixels, fast by the best peer", workload="large", ours=FAST, theirs=None, bound=3.0),
    Aim(title="prepared uint8 batches by a bare stub", workload="prepared", ours=UINT8, theirs=STUB, bound=0.95),
    Aim(title="MobileNetV2, uint8 by raw onnxruntime", workload="mobilenet", ours=UINT8, theirs=RAW, bound=0.95),
)
# For fairness: the client beside its own way to decode, and without the extra; and a peer on the uint8 contract too,
# which is the packaging's merit and not the client's.
BESIDE = (
    Aim(
        title="client CPU, uint8 by its own decode and resize alone",
        workload="small",
        ours=UINT8,
        theirs=DECODE,
        bound=0.0,
        of="cpu_per_thousand",
    ),
    Aim(title="uint8 without simd by the best peer", workload="small", ours=PLAIN, theirs=None, bound=0.0),
    Aim(
        title="uint8 by the best peer, which sends uint8 too",
        workload="small",
        ours=UINT8,
        theirs=None,
        bound=0.0,
        dtype="UINT8",
    ),
    Aim(title="MobileNetV2, uint8 by the best peer", workload="mobilenet", ours=UINT8, theirs=None, bound=0.0),
)


@attrs.frozen(kw_only=True)
class Outcome:
    """What became of an aim.

    Attributes:
        aim: Which one.
        against: The group that was compared with.
        reached: The ratio; None where one of the two did not run.
    """

    aim: Aim
    against: str
    reached: Spread | None

    @property
    def verdict(self) -> str:
        """Met or missed if every round says so; within noise if the rounds lie on both sides of the bound."""
        if self.reached is None:
            return "not measured"
        least, most = self.reached.low, self.reached.high
        if self.aim.of != "rate":
            least, most = -most, -least
        bound = self.aim.bound if self.aim.of == "rate" else -self.aim.bound
        return "met" if least >= bound else "missed" if most < bound else "within noise"


def judge(aim: Aim, results: Results) -> Outcome:
    """Compare what *aim* compares."""
    groups = results.get(aim.workload, {})
    against = aim.theirs or best_peer(groups, aim.dtype)
    if against is None or against not in groups or aim.ours not in groups:
        return Outcome(aim=aim, against=against or "no peer ran", reached=None)
    reached = ratio(groups[aim.ours].rounds, groups[against].rounds, of=aim.of)
    return Outcome(aim=aim, against=against, reached=reached)
