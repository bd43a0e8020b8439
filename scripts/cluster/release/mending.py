"""Mend what a deployment left that was killed while Helm was at work: Helm refuses every further change until then."""

from scripts.cluster.helm import Helm
from scripts.cluster.kubectl import Kubectl
from scripts.cluster.release.change import AGAIN, roll_back, uninstall
from scripts.cluster.release.record import Record
from scripts.cluster.release.rollout import INTERVAL_S, Show
from scripts.cluster.says import ClusterFailure
from scripts.cluster.target import Target
from scripts.host.clock import Clock

# deploy-triton has Helm wait for nothing, so that Helm is at work for a few seconds; after so many nobody is.
AT_WORK_S = 30.0


def mend(helm: Helm, kubectl: Kubectl, target: Target, *, show: Show, clock: Clock) -> None:
    """Bring the last good revision back where a deploy-triton was killed in the middle of Helm's work.

    What another Helm left, or does right now, is left alone: the checks before a deployment name it.

    Raises:
        TaskFailure: If the cluster cannot be asked, or going back fails.
    """
    try:
        history = helm.history(target.release)
    except ClusterFailure:
        return  # the checks that follow say what is wrong, and with it everything else that is
    if not history or not history[-1].status.startswith("pending-"):
        return
    last, record = history[-1], Record.read(kubectl, target)
    if record.attempted is None or not 0 <= last.number - record.attempted <= AGAIN:
        return
    show.line(
        f"Revision {last.number} is in the state {last.status}: somebody deploys it right now, or a deploy-triton was "
        f"killed. Looking for {AT_WORK_S:.0f} s whether anything moves"
    )
    start = clock.now()
    while clock.now() - start < AT_WORK_S:
        clock.sleep(INTERVAL_S)
        history = helm.history(target.release)
        if not history or history[-1] != last:
            return
    former = record.last_good(history)
    if former is None:
        show.line(f"Revision {last.number} was left unfinished, and no revision was ever ready: removing it")
        uninstall(helm, target.release)
        return
    version = helm.version()
    show.line(
        f"Revision {last.number} was left unfinished: revision {former.number}, the last good one, comes back first"
    )
    show.line(f"{helm.rollback(target.release, former.number, version=version)}")
    roll_back(helm, kubectl, target.release, former.number, version=version, doing="go back to the last good revision")
