"""Which revision of the source this is."""

import re
from pathlib import Path

import attrs

from scripts.host.errors import TaskFailure
from scripts.host.shell import Command, Runner

_UNKNOWN = "unknown"
# The line with a commit and its time: a wrapper around git may print more.
_ANSWER = re.compile(r"^([0-9a-f]{40}|[0-9a-f]{64}) (\d{4}-\d\d-\d\dT\S+)$", re.MULTILINE)
# 1980-01-01, the time of the files in the image's layers.
_NO_TIME = "1980-01-01T00:00:00+00:00"


@attrs.frozen(kw_only=True)
class Revision:
    """The source that something was made from.

    Attributes:
        commit: The commit in full; with ``-dirty`` where files differ from it; ``unknown`` outside a git repository.
        created: When the commit was made, as RFC 3339. The time of a build would make another image of the same content
            each time, which a registry with immutable tags refuses.
    """

    commit: str = _UNKNOWN
    created: str = _NO_TIME

    @property
    def short(self) -> str:
        """The commit in 12 digits, fit for an image's tag."""
        commit, _, dirty = self.commit.partition("-")
        return commit[:12] + (f"-{dirty}" if dirty else "")


def of(root: Path, *, runner: Runner) -> Revision:
    """Return the revision of the folder *root*."""
    try:
        # Some people let git show signatures too, in the same stream.
        last = runner.capture(Command(("git", "-C", str(root), "log", "-1", "--no-show-signature", "--format=%H %cI")))
        changed = runner.capture(Command(("git", "-C", str(root), "status", "--porcelain")))
    except TaskFailure:  # no git here
        return Revision()
    told = _ANSWER.findall(last.output)
    if last.status or changed.status or not told:
        return Revision()
    commit, created = told[-1]
    return Revision(commit=commit + ("-dirty" if changed.output.strip() else ""), created=created)
