"""Change a release through Helm; where the API was away meanwhile, the release's history says what came of it."""

import contextlib
import json
from collections.abc import Callable

from scripts.cluster.helm import Helm, Revision
from scripts.cluster.kubectl import Kubectl
from scripts.cluster.patience import PAUSES_S
from scripts.cluster.release.stored import Stored, name_of
from scripts.cluster.says import ClusterFailure, explain
from scripts.host.errors import TaskFailure
from scripts.host.program import Version
from scripts.host.secret import Secret
from scripts.host.shell import Command, Completed

# An attempt that Helm itself calls failed is over, and may be made again; but each one is a revision of the history, of
# which Helm keeps ten by default.
AGAIN = 5
# How long Helm may take to remove a release, in seconds.
HELM_TIMEOUT_S = 300.0


def change(
    helm: Helm, kubectl: Kubectl, release: str, command: Command, *, makes: Callable[[int], bool], doing: str
) -> None:
    """Run an upgrade or a rollback; by Ctrl-C it may end in its own way.

    What fails because the API is away is repeated only if the history says that it has not begun, or has failed as a
    whole, and only for as long as the patience lasts.

    Args:
        helm: Set to the namespace.
        kubectl: Likewise.
        release: The release's name.
        command: The upgrade or the rollback.
        makes: Says of the number of a revision that is there whether *command* makes the same.
        doing: What is done, in words.

    Raises:
        ClusterFailure: If it fails.
    """
    before, again = _last(helm, release), AGAIN

    def is_done(last: Revision | None) -> bool | None:
        nonlocal before, again
        if last is None or (before is not None and last.number <= before.number):
            return False
        if last.is_pending and makes(last.number):
            last = _called_failed(helm, kubectl, release, last)
        if last.status == "deployed":
            return True  # it was the answer that was lost
        again -= 1
        before = last
        return False if last.status == "failed" and again >= 0 else None

    _insist(helm, release, lambda: helm.runner.stream(command, show=lambda _: None), is_done, doing=doing)


def roll_back(helm: Helm, kubectl: Kubectl, release: str, number: int, *, version: Version, doing: str) -> None:
    """Make the revision *number* the current one again, as `change` does.

    Raises:
        ClusterFailure: If it fails.
    """

    def makes(other: int) -> bool:
        return helm.manifest(release, revision=other) == helm.manifest(release, revision=number)

    change(helm, kubectl, release, helm.rollback(release, number, version=version), makes=makes, doing=doing)


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
        patience.tell(f"{str(failure).splitlines()[0]}. It is tried again")
        patience.clock.sleep(next(pauses, PAUSES_S[-1]))


def _last(helm: Helm, release: str) -> Revision | None:
    history = helm.history(release)
    return history[-1] if history else None


def _called_failed(helm: Helm, kubectl: Kubectl, release: str, pending: Revision) -> Revision:
    """Write what our own Helm could not when it gave up: that the revision which it had begun has failed.

    Until that is written, Helm refuses every change. Return the last revision after that.
    """
    name = name_of(release, pending.number)
    with contextlib.suppress(TaskFailure):  # an answer that is lost, or Helm keeps its revisions elsewhere
        found = kubectl.json("get", "secret", name, doing=f"read revision {pending.number}")
        stored = Stored.parse(found)
        if stored.revision.status == pending.status:
            failed = stored.failed("The API was away before Helm could say more").secret()
            # Whoever has changed it meanwhile is right.
            failed["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
            kubectl.text(
                "replace", "--filename=-", stdin=Secret(json.dumps(failed)), doing=f"end revision {pending.number}"
            )
    return _last(helm, release) or pending
