"""Go back: to the last revision whose pods were once ready or, where there is none, to nothing."""

import attrs

from scripts.cluster.helm import Helm
from scripts.cluster.kubectl import Kubectl
from scripts.cluster.release import destroy
from scripts.cluster.release.change import roll_back
from scripts.cluster.release.preflight import Planned
from scripts.cluster.release.rollout import RolloutFailure, Show, Watch
from scripts.cluster.says import ClusterFailure
from scripts.cluster.target import Target
from scripts.host.clock import Clock
from scripts.host.errors import TaskFailure
from scripts.host.shell import Command


@attrs.frozen(kw_only=True)
class WayBack:
    """The way back from a deployment that failed or was stopped.

    Attributes:
        target: Which release.
        kubectl: Set to it.
        helm: Likewise.
        planned: What was deployed, and what was there before.
        watch: Looks at the pods that come back.
        show: Where progress goes.
        clock: The time.
        timeout_s: How long they are waited for.
    """

    target: Target
    kubectl: Kubectl
    helm: Helm
    planned: Planned
    watch: Watch
    show: Show
    clock: Clock
    timeout_s: float

    def go(self, made: int, *, because: str) -> str:
        """Go back to what was good before the revision *made* (0: not known to be there); return what stands now.

        Raises:
            TaskFailure: If that fails; the message has *because*, and how to do it by hand.
            KeyboardInterrupt: If it is stopped; likewise.
        """
        name, former = self.target.release, self.planned.former
        way = self.command
        by_hand = f"The release {name} may be half changed. To go back by hand: {way}"
        try:
            history = self.helm.history(name)
            # Of a deployment that was killed it is the last revision itself that is undone.
            before = self.planned.last - 1 if self.planned.same else self.planned.last
            if not history or history[-1].number <= before:
                return "Nothing was changed."
            if made and history[-1].number != made:
                return f"Somebody else deployed revision {history[-1].number} since: it stays."
            self.show.status("going back")
            self.show.line(f"{way}")
            if former is None:
                self._remove()
                place = f" The namespace {self.target.namespace} stays." if self.planned.new_namespace else ""
                never = "There was no former revision that was ever ready"
                return f"{never}: {name} is removed again, and nothing of it is left.{place}"
            self.watch.begin()
            roll_back(self.helm, self.kubectl, name, former.number, version=self.planned.helm, doing="go back")
            by_hand = (
                f"Revision {former.number} is deployed again; `invoke status{self.target.options}` shows its pods."
            )
            return self._serving(former.number)
        except TaskFailure as error:
            raise TaskFailure(f"{because}\nGoing back failed too. {error}\n{by_hand}") from error
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{because}\nGoing back was stopped too. {by_hand}") from None

    @property
    def command(self) -> Command:
        """The command that goes back."""
        former = self.planned.former
        if former is None:
            return self.helm.uninstall(self.target.release)
        return self.helm.rollback(self.target.release, former.number, version=self.planned.helm)

    def _remove(self) -> None:
        """Remove the release, and wait until nothing of it is left."""
        removal = destroy.plan(self.helm, self.target)
        if removal is not None:
            destroy.remove(removal, kubectl=self.kubectl, helm=self.helm, progress=self.show.line, clock=self.clock)

    def _serving(self, number: int) -> str:
        """Wait for the revision that is deployed again, and return whether it serves."""
        try:
            states = self.watch.wait(timeout_s=self.timeout_s)
        except (RolloutFailure, ClusterFailure) as error:
            return f"Revision {number} is deployed again, but its pods are not all ready: {error}"
        ready = ", ".join(f"{state.serving} of {state.wanted}" for state in states)
        return f"Revision {number} is deployed again and serves: {ready} pods ready."
