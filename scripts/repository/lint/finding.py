"""One thing that is wrong, or surprising, in a model repository."""

from collections.abc import Iterable, Iterator
from typing import Literal

import attrs

Severity = Literal["error", "warning"]


@attrs.frozen(kw_only=True)
class Finding:
    """What was found, what Triton would do with it, and what to do instead.

    Attributes:
        severity: ``"error"`` where Triton refuses or answers wrongly, ``"warning"`` where it does what few expect.
        rule: Short name of what was broken.
        message: One or two sentences.
        model: Folder of the model; empty for the repository itself.
        version: The version, where it is about one.
    """

    severity: Severity
    rule: str
    message: str
    model: str = ""
    version: int | None = None

    def __str__(self) -> str:
        where = " ".join(filter(None, [self.model, f"version {self.version}" if self.version is not None else ""]))
        return f"{self.severity}: {where + ': ' if where else ''}{self.message} [{self.rule}]"


def error(rule: str, message: str) -> Finding:
    """Return a finding that keeps a model from being served rightly."""
    return Finding(severity="error", rule=rule, message=message)


def warning(rule: str, message: str) -> Finding:
    """Return a finding of what few expect; the rest of the repository is served."""
    return Finding(severity="warning", rule=rule, message=message)


def guarded(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield *findings*; a file that vanishes or refuses in the middle ends them with a finding about it."""
    try:
        yield from findings
    except OSError as problem:
        yield error(
            "unreadable",
            f"{problem.filename} cannot be read: {problem.strerror}. Correct that, and the server can read it.",
        )
