"""Which pods are slower than the others by more than chance.

Clients cannot tell, for behind a Service they do not know which pod answered them. Each agent notes how many requests
its server answered in each window of 3 s, and how long these took together. Pods are compared in the same windows, so
that busy hours count for none of them.

The windows in which a pod and the others had requests are cut into twelve pieces or more, one after the other, with
about as many requests each. If the pod were just `SLOWER` times as slow, each piece would show it above that as often
as below, and as far: all ways to turn the signs of the pieces around would be equally likely (Fisher's test by
permutation). As large a share of the ways speaks against the pod as clearly as the real one, as often chance does this.
Nothing is assumed of how latencies are distributed. Pieces last as long as there are windows for, so that a bad moment
does not count as several pieces. All windows are looked at, and those of the last three minutes alone: a pod that has
just become slow is found by these.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from scripts.agent.pace import EVERY_S, MOST, Window
from scripts.host.figures import brief

# So many times as slow as the others a pod has to be, beyond what chance may do.
SLOWER = 1.2
# How often, of all looks at pods that are alike, one is named by chance, at most.
ALPHA = 0.01
# How many pieces there shall be, and the fewest requests of the pod and of the others in each of them.
_PIECES, _REQUESTS = 12, 10
# So many of the last windows are looked at: all that agents keep, and three minutes.
_LAST = (MOST, 60)
# How many windows lie between the first and the last at least: what is slow for a minute may be fast in the next one.
_SPAN = 30
# A pod that has more than so many times the requests of all the others together is not compared with them.
_BUSIER = 2
# From so many times the requests of each other pod on, the requests are the first suspect, and not the node.
_MORE = 1.5

# What may lie between two sums of the same numbers.
_ROUNDING = 1e-9

# Requests and the microseconds that they took together, shape ``[2, windows]``.
_Figures = NDArray[np.float64]
# Of each pod by name: its windows by model and version.
Paces = Mapping[str, Mapping[str, Mapping[int, Sequence[Window]]]]


@attrs.frozen(kw_only=True)
class Slow:
    """A pod that is slower than the others.

    Attributes:
        pod: Its name.
        node: The node that it runs on.
        model: The model that it is slower with.
        version: The version.
        ms: The mean time of a request in the server, in milliseconds.
        others_ms: The same of the other pods.
        rate: How many requests a second it answers.
        others_rate: How many each of the others answers, on average.
        seconds: How long they were compared.
        chance: In what share of looks chance alone names a pod, at most, if all are alike.
    """

    pod: str
    node: str
    model: str
    version: int
    ms: float
    others_ms: float
    rate: float
    others_rate: float
    seconds: float
    chance: float

    def __str__(self) -> str:
        said = (
            f"Pod {self.pod} on node {self.node} is slower than the others: with {self.model} version {self.version}, "
            f"Triton takes {brief(self.ms / self.others_ms, 2)} times as long there ({brief(self.ms)} ms for a request "
            f"on average, {brief(self.others_ms)} ms in the others, within {brief(self.seconds / 60, 2)} min of "
            f"requests). If all pods were alike, chance would name one in at most 1 of {1 / self.chance:,.0f} looks. "
        )
        if self.rate > _MORE * self.others_rate:
            return said + (
                f"The pod gets {brief(self.rate)} requests/s, and each of the others {brief(self.others_rate)}. That "
                "may be the reason: let the clients spread their calls over all pods (docs/operations.md, Look)."
            )
        return said + f"To see what else the node runs: kubectl describe node {self.node}"


def slow_pods(paces: Paces, nodes: Mapping[str, str]) -> tuple[Slow, ...]:
    """Return the pods that are slower than the others, by model, version and name.

    Args:
        paces: What the agent of each pod noted.
        nodes: The node of each pod.
    """
    versions = sorted({(model, version) for pace in paces.values() for model in pace for version in pace[model]})
    pairs = [(version, *pair) for last in _LAST for version in versions for pair in _pairs(paces, *version, last=last)]
    found: dict[tuple[str, int, str], Slow] = {}
    for (model, version), pod, pods, own, others in pairs:
        seconds = EVERY_S * own.shape[1]
        slow = Slow(
            pod=pod,
            node=nodes.get(pod, ""),
            model=model,
            version=version,
            ms=float(_ms(own.sum(axis=1))),
            others_ms=float(_ms(others.sum(axis=1))),
            rate=float(own[0].sum()) / seconds,
            others_rate=float(others[0].sum()) / seconds / (pods - 1),
            seconds=seconds,
            chance=_chance(own, others, tests=len(pairs)),
        )
        if slow.chance <= ALPHA and slow.ms > SLOWER * slow.others_ms:
            found.setdefault((model, version, pod), slow)
    return tuple(found[one] for one in sorted(found))


def _pairs(paces: Paces, model: str, version: int, *, last: int) -> Iterator[tuple[str, int, _Figures, _Figures]]:
    """Give each pod that can be compared, how many pods there are, and the windows of it and of all others together."""
    windows = {pod: found for pod, pace in paces.items() if (found := pace.get(model, {}).get(version))}
    numbers = np.array(sorted({number for found in windows.values() for number, *_ in found}))
    place = {int(number): at for at, number in enumerate(numbers)}
    figures = np.zeros((len(windows), 2, len(numbers)))
    for pod, found in enumerate(windows.values()):
        for number, requests, spent_us in found:
            figures[pod, :, place[number]] += requests, spent_us
    together = figures.sum(axis=0)
    for name, own in zip(windows, figures, strict=True):
        others = together - own
        used = np.minimum(own[0], others[0]) > 0
        if used.any():
            used &= numbers > numbers[used].max() - last
        long_enough = used.any() and np.ptp(numbers[used]) >= _SPAN
        if long_enough and own[0].sum() <= _BUSIER * others[0].sum():
            yield name, len(windows), own[:, used], others[:, used]


def _chance(own: _Figures, others: _Figures, *, tests: int) -> float:
    """Return how often chance names one of so many that are alike, at most; 1 where there is too little to tell.

    Args:
        own: The windows of a pod.
        others: The same windows of the others.
        tests: How many pods and versions are looked at.
    """
    count = max(_PIECES, math.ceil(math.log2(tests / ALPHA)))
    before = np.minimum(own[0], others[0]).cumsum()
    begins = np.unique(np.searchsorted(before, before[-1] * np.arange(count) / count, side="right"))
    mine, theirs = (np.add.reduceat(figures, begins, axis=1) for figures in (own, others))
    if min(mine[0].min(), theirs[0].min()) < _REQUESTS:
        return 1.0
    times = np.log(_ms(mine) / _ms(theirs) / SLOWER)
    if times.sum() <= 0:
        return 1.0
    # A way is as good as the real one if the pieces that it turns around do not speak against the pod together.
    turned = np.zeros(1)
    for one in times:
        turned = np.concatenate([turned, turned + one])
    return min(1.0, tests * float((turned <= _ROUNDING).mean()))


def _ms(figures: _Figures) -> NDArray[np.float64]:
    """Return the mean time of a request, in milliseconds."""
    return np.asarray(np.maximum(figures[1], 1) / figures[0] / 1e3)
