"""Deploy: say what will happen, check that it can, do it, wait for it, and go back where it fails."""

import shlex
from collections.abc import Sequence

import attrs

from scripts.cluster.helm import Helm
from scripts.cluster.kubectl import Kubectl
from scripts.cluster.progress import State
from scripts.cluster.release import destroy
from scripts.cluster.release.access import Where
from scripts.cluster.release.chart import Installation
from scripts.cluster.release.preflight import Planned, Preflight
from scripts.cluster.release.rollout import PATIENCE_S, RolloutFailure, Show, Watch
from scripts.cluster.says import ClusterFailure, explain
from scripts.cluster.target import CREATED_BY, Target
from scripts.host.clock import Clock
from scripts.host.errors import TaskFailure
from scripts.host.settings import Settings
from scripts.host.shell import Command, Runner


@attrs.frozen(kw_only=True)
class Outcome:
    """A release that runs.

    Attributes:
        target: Which.
        revision: Its revision.
        changed: Whether this deployment changed it.
        planned: What it consists of.
        states: Its Deployments.
    """

    target: Target
    revision: int
    changed: bool
    planned: Planned
    states: Sequence[State]

    @property
    def rows(self) -> list[tuple[str, str]]:
        """What a person wants to know of it."""
        pods = [pod for state in self.states for pod in state.pods if not pod.leaving]
        devices: dict[str, int] = {}
        for workload in self.planned.rendered.workloads:
            for name, count in workload.devices.items():
                devices[name] = devices.get(name, 0) + count * workload.replicas
        services = [
            f"{s['metadata']['name']}.{self.target.namespace}:"
            + ",".join(str(port["port"]) for port in s["spec"].get("ports") or ())
            for s in self.planned.rendered.named("Service")
        ]
        return [
            ("release", f"{self.target.release} in namespace {self.target.namespace}"),
            ("revision", f"{self.revision}{'' if self.changed else ', unchanged'}"),
            ("image", self.planned.rendered.image),
            ("pods ready", f"{sum(s.ready for s in self.states)} of {sum(s.wanted for s in self.states)}"),
            ("on nodes", ", ".join(sorted({pod.node for pod in pods if pod.node})) or "none"),
            ("GPUs", ", ".join(f"{count} {name}" for name, count in devices.items()) or "none"),
            ("endpoints", "\n".join(services)),
        ]

    @property
    def next_steps(self) -> list[str]:
        """The commands that come next."""
        where = f" --context={shlex.quote(self.target.context)}" if self.target.context else ""
        return [
            f"invoke smoke-test{self.target.options}",
            f"kubectl{where} --namespace={self.target.namespace} port-forward service/{self.target.fullname} 8000 8001",
        ]


@attrs.frozen(kw_only=True)
class Deployer:
    """Deploys one installation to one target.

    Attributes:
        target: Where to.
        installation: What.
        settings: For the image's registry.
        runner: Runs helm and kubectl.
        show: Where progress goes.
        clock: The time.
    """

    target: Target
    installation: Installation
    settings: Settings
    runner: Runner
    show: Show
    clock: Clock = attrs.field(factory=Clock)

    def deploy(self, *, timeout_s: float) -> Outcome:
        """Deploy, and wait until the pods are ready.

        Raises:
            TaskFailure: If it cannot work, or did not: then the former revision is back, and the message says so.
            KeyboardInterrupt: After Ctrl-C, when the former revision is back, with what stands now.
        """
        self._announce()
        planned = self._examine()
        if planned.same:
            number = planned.history[-1].number
            self.show.line(f"Nothing to change: revision {number} is this already")
            watch = self._watch(planned)
            watch.begin()
            states = watch.wait(timeout_s=timeout_s)
            return Outcome(target=self.target, revision=number, changed=False, planned=planned, states=states)
        for command in self.installation.chart.preparation(self.helm):
            self.show.line(f"{command}")
            self._do(command, doing="make the chart's repository known")
        watch = self._watch(planned)
        was_whole = all(state.whole for state in watch.begin())
        # What was not whole before cannot be expected to be so soon after.
        patience_s = timeout_s if was_whole else min(timeout_s, PATIENCE_S)
        made = 0  # the revision, when it is there
        try:
            self._upgrade(planned)
            made = self._newest()
            states = watch.wait(timeout_s=timeout_s)
        except TaskFailure as failure:
            if isinstance(failure, ClusterFailure) and failure.cause == "busy":
                raise
            # Where going back is cut short, what led to it is told all the same.
            stands = self._go_back(planned, made, timeout_s=patience_s, because=f"The deployment failed: {failure}")
            raise TaskFailure(f"The deployment failed: {failure}\n{stands}") from failure
        except KeyboardInterrupt:
            self.show.line("Stopping: going back to what was there before. Ctrl-C once more leaves it as it is")
            stands = self._go_back(planned, made, timeout_s=patience_s, because="Stopped.")
            raise KeyboardInterrupt(f"Stopped. {stands}") from None
        if (newest := self._newest()) != made:
            raise TaskFailure(
                f"Revision {made} was deployed, but somebody else deployed revision {newest} since. "
                "`invoke status` shows what runs."
            )
        return Outcome(target=self.target, revision=made, changed=True, planned=planned, states=states)

    def plan(self) -> tuple[list[Command], list[str]]:
        """Return the commands that `deploy` runs to change something, and what would change, line by line.

        Both are empty where nothing would.

        Raises:
            TaskFailure: If the deployment could not work.
        """
        self._announce()
        planned = self._examine()
        if planned.same:
            return [], []
        commands = [*self.installation.chart.preparation(self.helm), self._command(planned)]
        return [*commands, *self._mark(planned)], planned.rendered.diff(planned.deployed)

    @property
    def kubectl(self) -> Kubectl:
        """kubectl, set to the target."""
        return Kubectl(self.runner, context=self.target.context, namespace=self.target.namespace)

    @property
    def helm(self) -> Helm:
        """Helm, set to the target."""
        return Helm(self.runner, context=self.target.context, namespace=self.target.namespace)

    def _command(self, planned: Planned) -> Command:
        return self.helm.upgrade(
            self.target.release, self.installation.by_name, new_namespace=planned.new_namespace, version=planned.helm
        )

    def _mark(self, planned: Planned) -> list[Command]:
        """Return the command that says on a new namespace who made it."""
        mark = ("annotate", "namespace", self.target.namespace, f"{CREATED_BY}={self.target.release}")
        return [Kubectl(self.runner, context=self.target.context).command(*mark)] if planned.new_namespace else []

    def _announce(self) -> None:
        try:
            where = str(Where.read(self.kubectl))
        except TaskFailure:  # the preflight says what is wrong, with everything else
            where = self.target.context or "unknown"
        self.show.line(f"context    {where}")
        self.show.line(f"namespace  {self.target.namespace}, release {self.target.release}")
        self.show.line(f"chart      {self.installation.chart.name}, values {', '.join(self.installation.files)}")
        self.show.line(f"image      {self.installation.image}")

    def _examine(self) -> Planned:
        self.show.status("checking what is needed")
        planned = Preflight(
            kubectl=self.kubectl,
            helm=self.helm,
            target=self.target,
            installation=self.installation,
            settings=self.settings,
        ).run()
        for note in planned.notes:
            self.show.line(f"Note: {note}")
        return planned

    def _watch(self, planned: Planned, *, former: bool = False) -> Watch:
        rendered = planned.deployed if former and planned.deployed else planned.rendered
        # Another chart than ours may label its objects in another way: then all of the namespace is looked at.
        key, _, value = self.target.owned.partition("=")
        labels = [each["metadata"].get("labels") or {} for each in rendered.deployments.values()]
        return Watch(
            kubectl=self.kubectl,
            names=list(rendered.deployments),
            selector=self.target.owned if all(each.get(key) == value for each in labels) else "",
            show=self.show,
            clock=self.clock,
            hide=rendered.secrets,
        )

    def _upgrade(self, planned: Planned) -> None:
        command = self._command(planned)
        self.show.line(f"{command}")
        self.show.status("helm upgrade")
        try:
            self._do(command, doing="deploy")
        finally:
            for mark in self._mark(planned):
                self.runner.capture(mark)

    def _do(self, command: Command, *, doing: str) -> None:
        """Run a command that changes something: by Ctrl-C it may end in its own way."""
        done = self.runner.stream(command, show=lambda _: None)
        if done.status:
            raise explain(done.output, doing=doing)

    def _newest(self) -> int:
        return self.helm.history(self.target.release)[-1].number

    def _go_back(self, planned: Planned, made: int, *, timeout_s: float, because: str) -> str:
        """Go back to what was there before the revision *made*, and return what stands now.

        Raises:
            TaskFailure: If that fails; the message has *because*, and how to do it by hand.
            KeyboardInterrupt: If it is stopped; likewise.
        """
        name, former = self.target.release, planned.former
        way = self.helm.rollback(name, former.number, version=planned.helm) if former else self.helm.uninstall(name)
        by_hand = f"The release {name} may be half changed. To go back by hand: {way}"
        try:
            history = self.helm.history(name)
            before = planned.history[-1].number if planned.history else 0
            if not history or history[-1].number <= before:
                return "Nothing was changed."
            if made and history[-1].number != made:
                return f"Somebody else deployed revision {history[-1].number} since: it stays."
            self.show.status("going back")
            self.show.line(f"{way}")
            if former is None:
                self._remove()
                place = f" The namespace {self.target.namespace} stays." if planned.new_namespace else ""
                return f"There was no former revision: {name} is removed again, and nothing of it is left.{place}"
            watch = self._watch(planned, former=True)
            watch.begin()
            self._do(way, doing="go back")
            return _serving(watch, number=former.number, timeout_s=timeout_s)
        except TaskFailure as error:
            raise TaskFailure(f"{because}\nGoing back failed too. {error}\n{by_hand}") from error
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{because}\nGoing back was stopped too. {by_hand}") from None

    def _remove(self) -> None:
        """Remove the release, and wait until nothing of it is left."""
        removal = destroy.plan(self.helm, self.target)
        if removal is not None:
            destroy.remove(removal, kubectl=self.kubectl, helm=self.helm, progress=self.show.line, clock=self.clock)


def _serving(watch: Watch, *, number: int, timeout_s: float) -> str:
    """Wait for the revision that is deployed again, and return whether it serves."""
    try:
        states = watch.wait(timeout_s=timeout_s)
    except (RolloutFailure, ClusterFailure) as error:
        return f"Revision {number} is deployed again, but its pods are not all ready: {error}"
    ready = ", ".join(f"{state.serving} of {state.wanted}" for state in states)
    return f"Revision {number} is deployed again and serves: {ready} pods ready."
