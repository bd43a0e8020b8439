"""What the checks of a server come to, as a person reads it."""

from collections.abc import Sequence

import attrs

from scripts.host.errors import TaskFailure
from scripts.server.result import GOLDEN, Result


@attrs.frozen(kw_only=True)
class Verdict:
    """The results of a smoke test, all of them.

    Attributes:
        of: What was checked.
        results: What each check found, in the order in which they came.
        each_pod: Whether every pod of a deployment was asked, so that each row names its own.
    """

    of: str
    results: Sequence[Result]
    each_pod: bool = False

    @property
    def title(self) -> str:
        """Say in a line what was checked, with the one pod that was asked."""
        pod = "" if self.each_pod or not self.results else self.results[0].pod
        return f"Smoke test of {self.of}{f', pod {pod}' if pod else ''}"

    @property
    def columns(self) -> tuple[str, ...]:
        """The heads of `rows`."""
        return (*(["pod"] if self.each_pod else []), "", "of", "check", "figure")

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The cells of each result."""
        return [(*([r.pod] if self.each_pod else []), r.state, r.subject, r.check, r.figure) for r in self.results]

    def require(self) -> list[str]:
        """Return the lines that say what is proved and what is not.

        Raises:
            TaskFailure: If a check failed.
        """
        count, states = len(self.results), [r.state for r in self.results]
        if failed := states.count("failed"):
            raise TaskFailure(f"{failed} of {count} checks failed.")
        skipped = states.count("skipped")
        lines = [f"{count} checks, none failed{f', {skipped} skipped' if skipped else ''}."]
        if not any(r.check == GOLDEN and r.state == "ok" for r in self.results):
            lines.append("No number was compared: nothing of what is served is packaged here (--repository).")
        return lines
