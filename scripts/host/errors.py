"""The one error that a script raises when it cannot do what it was asked, and what it tells of another error."""


class TaskFailure(Exception):  # noqa: N818 - it is the outcome of a task, not a programming error
    """Say what failed and what to do about it, in a message made to be shown as it is."""


def first_line(error: Exception) -> str:
    """Return the first line of what *error* says, without a full stop."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".")
