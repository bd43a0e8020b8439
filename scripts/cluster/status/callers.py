"""What callers saw, of all pods together: clients tell any pod's agent, whichever pod answered them."""

from collections.abc import Iterable, Mapping
from typing import Self

import attrs

from scripts.agent.outcomes import QUANTILES, Tally
from scripts.server.seen import State


@attrs.frozen(kw_only=True)
class Callers:
    """What clients that follow a traffic plan saw of a version.

    Attributes:
        model: The model.
        version: The version; ``"stable"`` of calls that failed while none was served.
        calls: How many calls were answered or failed.
        failures: How many failed, by the kind that the caller saw.
        latency_ms: What so many of the answered calls took at most, by ``"p50"`` and so on; empty where there was none.
    """

    model: str
    version: str
    calls: int
    failures: Mapping[str, int]
    latency_ms: Mapping[str, float]

    @classmethod
    def of(cls, model: str, version: str, tally: Tally) -> Self:
        """Read what agents have summed up."""
        shares = {f"p{100 * share:g}": tally.latency.quantile(share) for share in QUANTILES}
        return cls(
            model=model,
            version=version,
            calls=tally.calls,
            failures=dict(sorted(tally.failures.items())),
            latency_ms={name: round(1e3 * seconds, 3) for name, seconds in shares.items() if seconds is not None},
        )


def callers(states: Iterable[State]) -> tuple[Callers, ...]:
    """Return what clients told all these agents, by model and version."""
    found: dict[tuple[str, str], Tally] = {}
    for state in states:
        for model, told in state.outcomes.items():
            for version, tally in told.versions.items():
                found.setdefault((model, version), Tally()).add(tally)
    return tuple(Callers.of(*one, found[one]) for one in sorted(found, key=_order) if found[one].calls)


def _order(one: tuple[str, str]) -> tuple[str, int]:
    model, version = one
    return model, int(version) if version.isdigit() else 0
