"""The one error that a script raises when it cannot do what it was asked."""


class TaskFailure(Exception):  # noqa: N818 - it is the outcome of a task, not a programming error
    """Say what failed and what to do about it, in a message made to be shown as it is."""
