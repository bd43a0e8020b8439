"""What a HorizontalPodAutoscaler does, and what it goes by."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Self

import attrs

Object = Mapping[str, Any]


@attrs.frozen(kw_only=True)
class Autoscaler:
    """What decides how many pods there are.

    Attributes:
        name: Its name.
        current: How many there are.
        wanted: How many there shall be.
        least: How many at least.
        most: How many at most.
        metrics: What it goes by, each ``NAME NOW of TARGET``.
        trouble: Why it cannot decide; empty where it can.
    """

    name: str
    current: int
    wanted: int
    least: int
    most: int
    metrics: tuple[str, ...]
    trouble: str

    @classmethod
    def parse(cls, item: Object) -> Self:
        """Read a HorizontalPodAutoscaler of autoscaling/v2."""
        spec, status = item["spec"], item.get("status") or {}
        now = [_measure(metric, "current") for metric in status.get("currentMetrics") or ()]
        targets = [_measure(metric, "target") for metric in spec.get("metrics") or ()]
        known = dict(filter(None, now))
        inactive = [
            c for c in status.get("conditions") or () if c["status"] == "False" and c["type"] != "ScalingLimited"
        ]
        return cls(
            name=item["metadata"]["name"],
            current=status.get("currentReplicas") or 0,
            wanted=status.get("desiredReplicas") or 0,
            least=spec.get("minReplicas") or 1,
            most=spec["maxReplicas"],
            metrics=tuple(f"{name} {known.get(name, '?')} of {most}" for name, most in filter(None, targets)),
            trouble="; ".join(f"{c.get('reason', c['type'])}: {c.get('message', '')}" for c in inactive),
        )


def autoscaler_of(deployments: Collection[str], found: Iterable[Object]) -> Autoscaler | None:
    """Return the first of *found* that scales one of *deployments*; None where none does."""
    # KEDA makes one as well, under a name of its own.
    return next((Autoscaler.parse(hpa) for hpa in found if hpa["spec"]["scaleTargetRef"]["name"] in deployments), None)


def _measure(metric: Object, side: str) -> tuple[str, str] | None:
    """Return the name of a metric and its value, of a target or of what is measured now."""
    kind = metric["type"]  # empty for one that could not be measured
    source = metric.get(f"{kind[:1].lower()}{kind[1:]}") or {}
    name = source.get("name") or (source.get("metric") or {}).get("name")
    value = source.get(side) or {}
    number = next((value[key] for key in ("averageValue", "value", "averageUtilization") if key in value), None)
    percent = "%" if "averageUtilization" in value and "averageValue" not in value else ""
    return (str(name), f"{number}{percent}") if name and number is not None else None
