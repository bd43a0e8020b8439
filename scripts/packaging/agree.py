"""What several sources say of one field: all the same, or an error that shows both and names the flag that decides."""

from collections.abc import Callable, Sequence
from typing import Any

from scripts.host.errors import TaskFailure
from scripts.repository.preprocessing import Channels, Decided, Scaling, shown, written
from scripts.sources.claims import Claim


def decided(claim: Claim) -> Decided[Any]:
    """Return what *claim* says as decided."""
    return Decided(value=claim.value, source=claim.kind, where=claim.where)


def agreed(
    claims: Sequence[Claim], *, flag: str, same: Callable[[Any, Any], bool] = lambda one, other: one == other
) -> Claim:
    """Return what all *claims* say, in the words of the first.

    Raises:
        TaskFailure: If they do not agree, or one cannot be followed.
    """
    first = claims[0]
    for claim in claims:
        if claim.problem:
            raise TaskFailure(f"{claim.problem}. A flag decides: {flag}.")
        if not same(first.value, claim.value):
            raise TaskFailure(
                f"Two sources contradict each other: {first.where} says {_told(first)}, and {claim.where} says "
                f"{_told(claim)}. A flag decides: {flag}."
            )
    return first


def _told(claim: Claim) -> str:
    value = claim.value
    if isinstance(value, Scaling):
        return f"(pixel * {written(value.scale)} - {plain(value.mean)}) / {plain(value.std)}"
    if claim.field == "labels":
        return f"{len(value)} names ({', '.join(value[:3])}{', ...' if len(value) > 3 else ''})"
    return shown(value, claim.field)


def plain(numbers: Channels) -> str:
    """Return numbers with commas between them, as a flag takes them."""
    return ",".join(f"{number:g}" for number in numbers)
