"""How a judge is stopped in the middle, and whether a canary has left anything behind."""

from tests.unit.canary.scene import MODEL, Scene


class Killed(BaseException):
    """What no program can catch."""


def kill() -> None:
    """End the judge at once."""
    raise Killed


def interrupt() -> None:
    """Press Ctrl-C."""
    raise KeyboardInterrupt


def is_clean(scene: Scene) -> bool:
    """Return whether nobody meets the candidate any more, and it is not loaded."""
    gone = all(state.models[MODEL].candidate is None for state in map(scene.served.state_of, scene.served.apis))
    return gone and scene.served.plan().is_over(scene.served.wall())
