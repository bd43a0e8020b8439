"""What the agent knows of each version, for whoever asks."""

import time
from dataclasses import dataclass, field
from typing import Any, Literal

Phase = Literal["waiting", "fetching", "loading", "checking", "serving", "failed"]
# Waits between tries, in seconds: they double from the first to the last.
_FIRST_WAIT_S, _LONGEST_WAIT_S = 5.0, 600.0


@dataclass
class VersionState:
    """How far one version is.

    Attributes:
        phase: What happens to it.
        why: Why it failed, in words; empty while nothing is wrong.
        digest: What names its bytes, once known.
        source: Where they came from, once known: ``"image"`` or ``"store"``.
        seconds: How long each phase took.
        fetched_bytes: How many bytes came from the store.
        failures: How often it failed since it last worked.
        next_try: When it may be tried again, on the monotonic clock.
        poisoned: Whether Triton keeps the number from loading, since it failed to load in its model.
    """

    phase: Phase = "waiting"
    why: str = ""
    digest: str = ""
    source: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    fetched_bytes: int = 0
    failures: int = 0
    next_try: float = 0.0
    poisoned: bool = False
    _since: float = field(default_factory=time.monotonic)

    def enter(self, phase: Phase) -> None:
        """Begin *phase*, and note how long the one before took."""
        now = time.monotonic()
        if self.phase not in ("waiting", "serving", "failed"):
            self.seconds[self.phase] = round(now - self._since, 3)
        self.phase, self._since = phase, now
        if phase == "serving":
            self.why, self.failures, self.next_try, self.poisoned = "", 0, 0.0, False

    def fail(self, why: str) -> None:
        """Note a failure, and when the next try is due."""
        self.enter("failed")
        self.why = why
        self.failures += 1
        self.next_try = time.monotonic() + min(_FIRST_WAIT_S * 2 ** (self.failures - 1), _LONGEST_WAIT_S)

    @property
    def is_due(self) -> bool:
        """Whether it may be tried now."""
        return time.monotonic() >= self.next_try

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-like data."""
        return {
            "phase": self.phase,
            "why": self.why or None,
            "sha256": self.digest or None,
            "source": self.source or None,
            "seconds": dict(self.seconds),
            "fetched_bytes": self.fetched_bytes,
            "failures": self.failures,
            "next_try_s": max(0, round(self.next_try - time.monotonic(), 1)) if self.phase == "failed" else None,
        }


@dataclass
class ModelState:
    """What one model serves.

    Attributes:
        wanted: The versions that the plan serves.
        versions: The state of each version that is planned or served.
        candidate: The number and the state of the candidate; None: there is none.
        fault: What is wrong with the model as a whole; empty: nothing.
    """

    wanted: tuple[int, ...] = ()
    versions: dict[int, VersionState] = field(default_factory=dict)
    candidate: tuple[int, VersionState] | None = None
    fault: str = ""

    def want(self, versions: tuple[int, ...]) -> None:
        """Let the plan serve *versions*; of the others, those that are served are still known."""
        self.wanted = versions
        known = {number: one for number, one in self.versions.items() if one.phase == "serving" or number in versions}
        self.versions = {number: known.get(number) or VersionState() for number in {*versions, *known}}

    @property
    def missing(self) -> set[int]:
        """The versions that are planned and not served."""
        wanted = {number for number in self.wanted if self.versions[number].phase != "serving"}
        return wanted | ({self.candidate[0]} if self.candidate and self.candidate[1].phase != "serving" else set())

    @property
    def stable(self) -> int | None:
        """The version that callers who name none get: the highest that is served."""
        return max(self.serving, default=None)

    @property
    def serving(self) -> set[int]:
        """The versions that are served."""
        return {number for number, state in self.versions.items() if state.phase == "serving"}

    @property
    def settled(self) -> bool:
        """Whether just what is planned is served."""
        return (
            not self.fault
            and self.serving == set(self.wanted)
            and (self.candidate is None or self.candidate[1].phase == "serving")
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-like data."""
        return {
            "stable": self.stable,
            "fault": self.fault or None,
            "versions": {str(number): state.to_dict() for number, state in sorted(self.versions.items())},
            "candidate": self.candidate and {"version": self.candidate[0], **self.candidate[1].to_dict()},
        }
