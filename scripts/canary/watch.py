"""What is new since the last look: what clients told the agents of all servers, and what the servers counted."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self, TypeVar

import attrs

from scripts.agent.outcomes import STABLE, Latency, Tally
from scripts.server.seen import State, Told

# So much more than the servers counted may clients tell of before it cannot be true, and so few more do not matter:
# a report comes up to 2 s after a call, and counters that began anew lack what came just before.
_TOO_MUCH, _FEW = 1.25, 100
# Of so many requests a larger share that servers failed, and clients tell nothing of, is a contradiction.
_MANY, _HIDDEN = 30, 0.05
_K = TypeVar("_K")


@attrs.frozen(kw_only=True)
class Counted:
    """What a server itself has counted of the candidate since that was loaded.

    Attributes:
        images: How many images it has answered.
        requests: How many requests it has answered or failed.
        failed: How many of these it failed, a caller's faults too.
    """

    images: int = 0
    requests: int = 0
    failed: int = 0

    @classmethod
    def of(cls, body: Mapping[str, Any], version: int) -> Self:
        """Read an answer of Triton's statistics; a version that is not loaded has counted nothing."""
        for entry in body.get("model_stats") or ():
            if entry.get("version") == str(version):
                stats = entry["inference_stats"]
                good, bad = int(stats["success"]["count"]), int(stats["fail"]["count"])
                return cls(images=int(entry["inference_count"]), requests=good + bad, failed=bad)
        return cls()

    def since(self, last: Self) -> Self | None:
        """Return what came after *last*; None: the counters have begun anew since."""
        new = attrs.evolve(
            self,
            images=self.images - last.images,
            requests=self.requests - last.requests,
            failed=self.failed - last.failed,
        )
        return None if min(new.images, new.requests, new.failed) < 0 else new

    def plus(self, other: Self) -> Self:
        """Return both together."""
        return attrs.evolve(
            self,
            images=self.images + other.images,
            requests=self.requests + other.requests,
            failed=self.failed + other.failed,
        )


@attrs.frozen(kw_only=True)
class News:
    """What is new since the last look, of all servers together.

    Attributes:
        stable: Of the calls of the stable version.
        candidate: Of the calls of the candidate.
        calls: How many calls clients told of, of whatever version.
        notes: What is worth knowing, a sentence for each.
    """

    stable: Tally
    candidate: Tally
    calls: int
    notes: tuple[str, ...] = ()


@attrs.define
class _Known:
    """What one server said last.

    Attributes:
        since: When its agent began to count.
        tallies: What clients had told it, by version.
        counted: What it had counted itself; None: nothing is known.
    """

    since: str = ""
    tallies: Mapping[str, Tally] = attrs.field(factory=dict)
    counted: Counted | None = None


@attrs.define(kw_only=True)
class Watch:
    """Adds up what is new, whatever happens to agents, pods and counters meanwhile.

    Attributes:
        model: The model's name.
        stable: The version that callers get who name none.
        candidate: The version that is tried.
        begun: When this began, by the agents' clocks: what an agent counts that started later counts from its start.
    """

    model: str
    stable: int
    candidate: int
    begun: datetime
    _known: dict[str, _Known] = attrs.field(factory=dict)
    _claimed: int = 0
    _told: Tally = attrs.field(factory=Tally)
    _counted: Counted = attrs.field(factory=Counted)

    def look(self, states: Mapping[str, State], counted: Mapping[str, Counted]) -> News:
        """Return what is new; the first look of all only notes where things stand.

        Args:
            states: What each agent says that could be asked, by the server's name.
            counted: What each server says that could be asked.
        """
        stable, candidate, calls, notes = Tally(), Tally(), 0, []
        first = not self._known
        for name, state in states.items():
            told = state.outcomes.get(self.model) or Told(since="", dropped=0, versions={})
            known = self._known.get(name)
            if known is None:
                new_one = not first and self._is_new(told)
                known = _Known(counted=Counted()) if new_one else _Known(told.since, told.versions)
            elif known.since and told.since != known.since:
                notes.append(f"The agent of {name} has started anew; what it counts is counted from there on")
            anew = told.since != known.since
            for version, tally in told.versions.items():
                new = tally if anew else _minus(tally, known.tallies.get(version, Tally()))
                calls += new.calls
                if version in (str(self.stable), STABLE):
                    stable.add(new)
                elif version == str(self.candidate):
                    candidate.add(new)
            self._known[name] = _Known(told.since, told.versions, known.counted)
        self._told.add(candidate)
        self._claimed += candidate.images + candidate.shadow["images"]
        for name, now in counted.items():
            if (note := self._count(name, now)) is not None:
                notes.append(note)
        return News(stable=stable, candidate=candidate, calls=calls, notes=tuple(notes))

    def _count(self, name: str, now: Counted) -> str | None:
        """Note what a server counted itself; return what is worth knowing of that."""
        known = self._known.setdefault(name, _Known())
        last, known.counted = known.counted, now
        if last is None:
            return None
        if (new := now.since(last)) is not None:
            self._counted = self._counted.plus(new)
            return None
        self.compare_anew()
        self._counted = now
        return f"The counters of {name} have begun anew: its Triton was restarted, or has loaded the candidate again"

    def compare_anew(self) -> None:
        """Hold what clients tell and what servers count against each other from here on: golden images count too."""
        self._counted, self._claimed, self._told = Counted(), 0, Tally()

    def before(self) -> Latency:
        """Return what the calls of the stable version took until the last look, as far as agents know."""
        found = Latency()
        for known in self._known.values():
            for version in (str(self.stable), STABLE):
                if version in known.tallies:
                    found.buckets += known.tallies[version].latency.buckets
        return found

    def contradictions(self) -> list[str]:
        """Return where what clients tell of the candidate and what the servers counted do not go together."""
        found = []
        if self._claimed > _TOO_MUCH * self._counted.images + _FEW:
            found.append(
                f"clients tell of {self._claimed:,} images that version {self.candidate} answered, and the servers "
                f"counted {self._counted.images:,}: either other servers answered them, or somebody tells what is not "
                "true"
            )
        told = self._told.failures.total() + self._told.shadow_failures.total()
        hidden = self._counted.failed - told
        if self._counted.requests >= _MANY and hidden > _HIDDEN * self._counted.requests:
            found.append(
                f"the servers failed {self._counted.failed:,} of {self._counted.requests:,} requests of version "
                f"{self.candidate}, and clients tell of {told:,}: retries hide the others"
            )
        if not self._told.calls and not self._claimed and self._counted.requests >= _FEW:
            found.append(
                f"the servers had {self._counted.requests:,} requests of version {self.candidate}, and no client tells "
                "what became of them: are the consumers' TrafficPlans made with report=False, or from a file?"
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-like data, so that another run goes on."""
        return {
            "begun": self.begun.isoformat(),
            "known": {
                name: {
                    "since": one.since,
                    "versions": {version: tally.to_dict() for version, tally in one.tallies.items()},
                    "counted": one.counted and attrs.asdict(one.counted),
                }
                for name, one in self._known.items()
            },
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, model: str, stable: int, candidate: int) -> Self:
        """Read what `to_dict` gave; what servers counted is held against what clients told from then on."""
        made = cls(model=model, stable=stable, candidate=candidate, begun=datetime.fromisoformat(data["begun"]))
        made._known = {
            name: _Known(
                one["since"],
                {version: Tally.from_dict(tally) for version, tally in one["versions"].items()},
                one["counted"] and Counted(**one["counted"]),
            )
            for name, one in data["known"].items()
        }
        return made

    def _is_new(self, told: Told) -> bool:
        """Return whether an agent began to count after this began."""
        return not told.since or datetime.fromisoformat(told.since) >= self.begun


def _minus(now: Tally, last: Tally) -> Tally:
    """Return what came after *last*."""
    return Tally(
        calls=now.calls - last.calls,
        images=now.images - last.images,
        passed_over=now.passed_over - last.passed_over,
        failures=_less(now.failures, last.failures),
        incidents=now.incidents - last.incidents,
        latency=Latency(_less(now.latency.buckets, last.latency.buckets)),
        shadow=_less(now.shadow, last.shadow),
        shadow_failures=_less(now.shadow_failures, last.shadow_failures),
        shadow_latency=Latency(_less(now.shadow_latency.buckets, last.shadow_latency.buckets)),
    )


def _less(now: Counter[_K], last: Counter[_K]) -> Counter[_K]:
    return Counter({key: count - last[key] for key, count in now.items() if count != last[key]})
