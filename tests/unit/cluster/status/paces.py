"""Pods that answer requests of a simulated length, as their agents note it."""

from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from scripts.cluster.status.slow import Paces

MEDIAN_US = 5000.0


@attrs.frozen(kw_only=True)
class World:
    """A release.

    Attributes:
        times: How many times as slow as it could be each pod is.
        windows: How many windows there were.
        rates: How many requests each pod has in a window, on average; a single number is for all.
        sigma: Of the log-normal latencies.
        drift: How far nodes are faster and slower for half a minute or so, as a standard deviation of the logarithm.
        swing: The same of the load of all pods, from window to window, which makes requests longer.
        hiccups: What share of the requests takes thirty times as long.
    """

    times: Sequence[float]
    windows: int = 40
    rates: float | Sequence[float] = 10.0
    sigma: float = 0.6
    drift: float = 0.0
    swing: float = 0.0
    hiccups: float = 0.0

    def paces(self, generator: np.random.Generator) -> Paces:
        """Return what the agents note of the version 2 of the model ``cars``; pods are ``"0"``, ``"1"``, ..."""
        shape = (len(self.times), self.windows)
        load = np.exp(generator.normal(0, self.swing, self.windows))
        requests = generator.poisson(np.broadcast_to(np.transpose([np.ravel(self.rates)]), shape) * load)
        each = generator.lognormal(np.log(MEDIAN_US), self.sigma, requests.sum())
        each = np.append(np.where(generator.random(len(each)) < self.hiccups, 30 * each, each), 0)
        begins = np.append(0, requests.cumsum()[:-1])
        spent = np.where(requests > 0, np.add.reduceat(each, begins).reshape(shape), 0)
        spent = spent * load * np.exp(self._drifts(generator, shape)) * np.transpose([self.times])
        return {
            str(pod): {
                "cars": {
                    2: [
                        (at, int(count), int(us))
                        for at, (count, us) in enumerate(zip(requests[pod], spent[pod], strict=True))
                        if count
                    ]
                }
            }
            for pod in range(len(self.times))
        }

    def _drifts(self, generator: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
        """Return how slow each pod's node is in each window, as a logarithm: nine tenths of it stay."""
        news = generator.normal(0, self.drift, shape)
        drifts = news.copy()
        if not self.drift:
            return drifts
        for at in range(1, shape[1]):
            drifts[:, at] = 0.9 * drifts[:, at - 1] + np.sqrt(1 - 0.9**2) * news[:, at]
        return drifts


def steady(windows: range = range(40), /, **ms: float) -> Paces:
    """Return pods whose requests all take so many milliseconds, twenty in each window."""
    return {pod: {"cars": {2: [(at, 20, int(20_000 * one)) for at in windows]}} for pod, one in ms.items()}
