"""Change a release through Helm; where the API was away meanwhile, the release's history says what came of it."""

from collections.abc import Callable

from scripts.cluster.helm import Helm, Revision
from scripts.cluster.patience import PAUSES_S
from scripts.cluster.says import ClusterFailure, explain
from scripts.host.shell import Command, Completed

# An attempt that Helm itself calls failed is over, and may be made again; but each one is a revision of the history.
AGAIN = 2
# How long Helm may take to remove a release, in seconds.
HELM_TIMEOUT_S = 300.0


def change(helm: Helm, release: str, command: Command, *, doing: str) -> None:
    """Run an upgrade or a rollback; by Ctrl-C it may end in its own way.

    What fails because the API is away is repeated only where the history says that it has not begun, or has failed as
    a whole, and only for as long as the patience lasts.

    Raises:
        ClusterFailure: If it fails.
    """
    before, again = _last(helm, release), AGAIN

    def is_done(last: Revision | None) -> bool | None:
        nonlocal before, again
        if last is None or (before is not None and last.number <= before.number):
            return False
        if last.status == "deployed":
            return True  # it was the answer that was lost
        again -= 1
        before = last
        return False if last.status == "failed" and again >= 0 else None

    _insist(helm, release, lambda: helm.runner.stream(command, show=lambda _: None), is_done, doing=doing)


def uninstall(helm: Helm, release: str) -> None:
    """Remove a release; what fails because the API is away is repeated, since removing twice is removing once.

    Raises:
        ClusterFailure: If it fails.
    """
    command = helm.uninstall(release)
    _insist(
        helm,
        release,
        lambda: helm.run(command, timeout_s=HELM_TIMEOUT_S),
        lambda last: last is None or last.status == "uninstalled",
        doing=f"uninstall {release}",
    )


def _insist(
    helm: Helm,
    release: str,
    attempt: Callable[[], Completed],
    is_done: Callable[[Revision | None], bool | None],
    *,
    doing: str,
) -> None:
    """Make *attempt* until it is done; *is_done* says by the last revision whether it is, or None to give up."""
    patience = helm.patience
    start, pauses = patience.clock.now(), iter(PAUSES_S)
    while True:
        done = attempt()
        if not done.status:
            return
        failure: ClusterFailure = explain(done.errors or done.output, doing=doing)
        if failure.cause not in ("passing", "unreachable"):
            raise failure
        verdict = is_done(_last(helm, release))
        if verdict:
            return
        if verdict is None or patience.clock.now() - start >= patience.seconds:
            raise failure
        patience.tell(f"{str(failure).splitlines()[0]}. Nothing has come of it yet: trying again")
        patience.clock.sleep(next(pauses, PAUSES_S[-1]))


def _last(helm: Helm, release: str) -> Revision | None:
    history = helm.history(release)
    return history[-1] if history else None
