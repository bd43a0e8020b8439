"""Which revisions of a release were good: their pods were once ready. Helm does not know, so it is written down."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import attrs

from scripts.cluster.helm import Revision
from scripts.cluster.kubectl import Kubectl
from scripts.cluster.says import ClusterFailure
from scripts.cluster.target import Target

# Annotations of the release's Deployments, which go with them. Helm leaves alone what is not in the chart.
READY, ATTEMPTED = "triton-serving/ready-revisions", "triton-serving/attempted-revision"
# By which name they are written, so that nobody takes them for a change by hand.
MANAGER = "deploy-triton"
# As many as Helm can have in its history, and more.
_KEPT = 40


@attrs.frozen(kw_only=True)
class Record:
    """What is written down about a release.

    Attributes:
        good: The revisions whose pods were once ready.
        attempted: The revision that a deployment began to make; None after it ended well.
        known: Whether anything is written down.
    """

    good: frozenset[int] = frozenset()
    attempted: int | None = None
    known: bool = False

    @classmethod
    def parse(cls, deployments: Iterable[Mapping[str, Any]]) -> Self:
        """Read it from the release's Deployments."""
        notes = [(each.get("metadata") or {}).get("annotations") or {} for each in deployments]
        good = {int(n) for note in notes for n in note.get(READY, "").split(",") if n.isdecimal()}
        attempted = [int(note[ATTEMPTED]) for note in notes if note.get(ATTEMPTED, "").isdecimal()]
        known = any(READY in note or ATTEMPTED in note for note in notes)
        return cls(good=frozenset(good), attempted=max(attempted, default=None), known=known)

    @classmethod
    def read(cls, kubectl: Kubectl, target: Target) -> Self:
        """Read it from the cluster; what this login may not see counts as not written.

        Raises:
            ClusterFailure: If the cluster cannot be asked.
        """
        try:
            found = kubectl.json("get", "deployments", f"--selector={target.owned}", doing="look at the Deployments")
        except ClusterFailure as error:
            if error.cause != "forbidden":
                raise
            return cls()
        return cls.parse(found.get("items") or ())

    def is_good(self, revision: Revision) -> bool:
        """Say whether a revision was good; one that went back to a good one is the same."""
        return revision.number in self.good or revision.goes_back_to in self.good

    def last_good(self, history: Sequence[Revision]) -> Revision | None:
        """Return the last revision of *history* that was good; without any record, the last that Helm deployed."""
        found = next((revision for revision in reversed(history) if self.is_good(revision)), None)
        # Helm forgets old revisions, and may have forgotten those.
        return found or (None if self.known and not self.good else last_deployed(history))

    def with_good(self, number: int) -> Self:
        """Return it after the pods of a revision were ready."""
        return attrs.evolve(self, good=self.good | {number}, known=True)

    @property
    def numbers(self) -> str:
        """The good revisions as they are written down."""
        return ",".join(map(str, sorted(self.good)[-_KEPT:]))

    def write(self, kubectl: Kubectl, target: Target) -> None:
        """Write it down.

        Raises:
            ClusterFailure: If the cluster does not take it.
        """
        attempted = f"{ATTEMPTED}={self.attempted}" if self.attempted is not None else f"{ATTEMPTED}-"
        options = ("--overwrite", f"--field-manager={MANAGER}")
        chosen = f"--selector={target.owned}"
        kubectl.text(
            "annotate", "deployments", chosen, f"{READY}={self.numbers}", attempted, *options, doing="write down"
        )


def last_deployed(history: Sequence[Revision]) -> Revision | None:
    """Return the last revision that Helm deployed as a whole, the one that is by preference."""
    now = (revision for revision in reversed(history) if revision.status == "deployed")
    return next(now, next((revision for revision in reversed(history) if revision.was_good), None))
