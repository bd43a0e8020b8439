"""All versions of all models: in the store, in the image, planned, served."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs

from scripts.agent.outcomes import QUANTILES, Tally
from scripts.agent.store import Store
from scripts.host.figures import brief
from scripts.server.endpoint import Endpoint
from scripts.server.seen import State
from scripts.versions.stores import failing

COLUMNS = (
    *("model", "version", "store", "image", "planned", "served", "sha256", "published", "requests", "failed"),
    *("callers: p50 / p95 / p99", ""),
)


@attrs.frozen(kw_only=True)
class Known:
    """A version of a model, wherever it is known.

    Attributes:
        model: The model's name.
        version: Its number.
        in_store: Whether it is published; None where no store was asked.
        published: When it was published; None where it was not.
        in_image: Whether the image, or the repository that is served, has it; None where no server was asked.
        planned: ``"serve"``, ``"candidate"`` or None.
        stable: Whether callers who name no version get it.
        served: On how many servers it is served.
        servers: How many servers there are that follow the same plan.
        sha256: What names its bytes, where that is known.
        source: Where the servers have it from, where that is known.
        requests: How many requests it has answered since it was loaded.
        failures: How many it has failed.
        callers: What became of the calls of clients that follow a traffic plan; None: there were none.
        why: What is wrong with it; None: nothing.
    """

    model: str
    version: int
    in_store: bool | None = None
    published: datetime | None = None
    in_image: bool | None = None
    planned: str | None = None
    stable: bool = False
    served: int = 0
    servers: int = 0
    sha256: str | None = None
    source: str | None = None
    requests: int = 0
    failures: int = 0
    callers: Tally | None = None
    why: str | None = None

    @property
    def row(self) -> tuple[str, ...]:
        """Its row in the table."""
        said = {True: "yes", False: "", None: "?"}
        return (
            self.model,
            str(self.version),
            said[self.in_store],
            said[self.in_image],
            self.planned or "",
            f"{self.served} of {self.servers}" if self.served else "",
            (self.sha256 or "")[:12],
            self.published.astimezone(UTC).strftime("%Y-%m-%d %H:%M") if self.published else "",
            str(self.requests) if self.served else "",
            str(self.failures) if self.served else "",
            _words(self.callers) if self.callers else "",
            self.why or ("callers who name none get it" if self.stable else ""),
        )


def look(
    store: Store | None, servers: Sequence[tuple[State, Endpoint]], *, absent: int = 0, model: str = ""
) -> list[Known]:
    """Return every version that the store or a server knows, by model and number.

    Args:
        store: The model store; None: there is none.
        servers: What each server's agent says, and the server itself.
        absent: How many more servers there are that could not be asked.
        model: Only this model's; empty: all.

    Raises:
        TaskFailure: If the store or a server cannot be asked.
    """
    with failing():
        stored = {
            (name, number): store
            for name in (store.models() if store else ())
            if store is not None and model in ("", name)
            for number in store.versions(name)
        }
        found = {key: Known(model=key[0], version=key[1], **_in_store(store, *key)) for key in stored} if store else {}
    unpublished = None if store is None else False
    for state, triton in servers:
        # In an umbrella the pods of another chart follow another plan, and serve other models.
        alike = sum(other.plan == state.plan for other, _ in servers)
        for name, seen in state.models.items():
            if model not in ("", name):
                continue
            part, counts, told = state.part(name), _counts(triton, name), state.outcomes.get(name)
            numbers = {*seen.image, *seen.versions, *part.serve, *([part.candidate] if part.candidate else [])}
            for number in numbers | {version for of, version in found if of == name}:
                known = found.get((name, number)) or Known(model=name, version=number, in_store=unpublished)
                one = seen.versions.get(number)
                if seen.candidate is not None and seen.candidate[0] == number and number not in part.serve:
                    one = seen.candidate[1]
                requests, failures = counts.get(number, (0, 0))
                found[name, number] = attrs.evolve(
                    known,
                    in_image=number in seen.image,
                    planned="serve" if number in part.serve else "candidate" if number == part.candidate else None,
                    stable=known.stable or number == seen.stable,
                    served=known.served + (one is not None and one.phase == "serving"),
                    servers=alike + absent,
                    sha256=known.sha256 or (one.digest if one else None),
                    source=known.source or (one.source if one else None),
                    requests=known.requests + requests,
                    failures=known.failures + failures,
                    callers=_sum(known.callers, told.versions.get(str(number)) if told else None),
                    why=known.why or (one.why if one else None),
                )
    return [found[key] for key in sorted(found)]


def as_json(found: Sequence[Known]) -> str:
    """Return all of it for scripts."""

    def plain(_: type, __: Any, value: Any) -> Any:
        if isinstance(value, Tally):
            return value.to_dict()
        return value.isoformat() if isinstance(value, datetime) else value

    return json.dumps([attrs.asdict(one, value_serializer=plain) for one in found], indent=2)


def _sum(known: Tally | None, more: Tally | None) -> Tally | None:
    """Return what several agents were told, together."""
    if known is None or more is None:
        return known or more
    both = Tally()
    both.add(known)
    both.add(more)
    return both


def _words(callers: Tally) -> str:
    """Return in words what callers saw."""
    failed = f"{callers.failed} of {callers.calls} failed"
    quantiles = [callers.latency.quantile(share) for share in QUANTILES]
    if None in quantiles:
        return failed
    return f"{' / '.join(brief(1e3 * (seconds or 0)) for seconds in quantiles)} ms, {failed}"


def _in_store(store: Store, model: str, version: int) -> Mapping[str, Any]:
    """Return what the store says of a published version."""
    stored = store.find(model, version)
    return {
        "in_store": True,
        "published": store.published(model, version),
        "sha256": stored.digest if stored else None,
    }


def _counts(triton: Endpoint, model: str) -> Mapping[int, tuple[int, int]]:
    """Return how many requests each loaded version has answered and failed."""
    answer = triton.get(f"/v2/models/{model}/stats")
    return {
        int(entry["version"]): (
            int(entry["inference_stats"]["success"]["count"]),
            int(entry["inference_stats"]["fail"]["count"]),
        )
        for entry in answer.body.get("model_stats", ())
    }
