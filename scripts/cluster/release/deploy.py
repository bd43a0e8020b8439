"""Deploy: say what will happen, check that it can, do it, wait for it, and go back where it fails."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import attrs

from scripts.cluster.agents import agents
from scripts.cluster.helm import Helm
from scripts.cluster.kubectl import Kubectl
from scripts.cluster.objects import Rendered
from scripts.cluster.patience import Patience
from scripts.cluster.pods import AGENT_CONTAINER
from scripts.cluster.progress import State
from scripts.cluster.release.change import change
from scripts.cluster.release.chart import Installation
from scripts.cluster.release.mending import mend
from scripts.cluster.release.needs import running
from scripts.cluster.release.outcome import Outcome
from scripts.cluster.release.preflight import Planned, Preflight
from scripts.cluster.release.pull_ahead import Puller, nodes_of
from scripts.cluster.release.record import Record, last_deployed
from scripts.cluster.release.rollout import PATIENCE_S, Show, Watch
from scripts.cluster.release.served import Served
from scripts.cluster.release.way_back import WayBack
from scripts.cluster.says import ClusterFailure, explain
from scripts.cluster.target import CREATED_BY, Target, Where
from scripts.host.clock import Clock
from scripts.host.errors import TaskFailure
from scripts.host.settings import Settings
from scripts.host.shell import Command, Runner

# What goes back has run before: its pods are waited for, but not as long again as for those that did not come.
BACK_S = 300.0


@attrs.frozen(kw_only=True)
class Deployer:
    """Deploys one installation to one target.

    Attributes:
        target: Which release.
        where: In which cluster.
        installation: What.
        settings: For the image's registry.
        runner: Runs helm and kubectl.
        show: Where progress goes.
        take_back: Whether the files' serving plan counts even if a later one is deployed; None: nobody has said.
        patience: How long calls that only look are repeated while the API is away.
        clock: The time.
    """

    target: Target
    where: Where
    installation: Installation
    settings: Settings
    runner: Runner
    show: Show
    take_back: bool | None = False
    patience: Patience = attrs.field(factory=Patience)
    clock: Clock = attrs.field(factory=Clock)

    def deploy(self, *, timeout_s: float) -> Outcome:
        """Deploy, and wait until the pods are ready.

        Raises:
            TakesBackError: If it would take back what was promoted, and nobody has said that it shall.
            TaskFailure: If it cannot work, or did not: then the last good revision is back, and the message says so.
            KeyboardInterrupt: After Ctrl-C, when the last good revision is back, with what stands now.
        """
        self._announce()
        mend(self.helm, self.kubectl, self.target, show=self.show, clock=self.clock)
        planned = self._examine()
        with self._look_further(planned) as look_further:
            return self._deploy(
                planned, attrs.evolve(self._watch(planned), look_further=look_further), timeout_s=timeout_s
            )

    def _deploy(self, planned: Planned, watch: Watch, *, timeout_s: float) -> Outcome:
        """Do what was *planned*, and wait until the pods are ready."""
        before = watch.begin()
        planned = self._learnt(planned, before)
        if not planned.same:
            for command in self.installation.chart.preparation(self.helm):
                self.show.line(f"{command}")
                done = self.runner.stream(command, show=lambda _: None)
                if done.status:
                    raise explain(done.output, doing="make the chart's repository known")
        elif not planned.is_unfinished:
            self.show.line(f"Nothing to change: revision {planned.last} is this already")
            states = watch.wait(timeout_s=timeout_s)
            if not planned.written.is_good(planned.history[-1]) or planned.written.attempted:
                self._note(planned.record.with_good(planned.last))
            return self._outcome(planned, planned.last, states, changed=False)
        else:
            self.show.line(f"Nothing to change, but revision {planned.last} never became ready: waiting for its pods")
        return self._carry_out(planned, watch, was_done=watch.is_done(before), timeout_s=timeout_s)

    def _carry_out(self, planned: Planned, watch: Watch, *, was_done: bool, timeout_s: float) -> Outcome:
        """Change the release, unless that is done already, and wait; go back where it fails."""
        made = planned.last if planned.same else 0  # the revision, when it is there
        back = WayBack(
            target=self.target,
            kubectl=self.kubectl,
            helm=self.helm,
            planned=planned,
            watch=self._watch(planned, former=True),
            show=self.show,
            clock=self.clock,
            # What was not done before cannot be expected to be so soon after.
            timeout_s=min(timeout_s, BACK_S if was_done else PATIENCE_S),
        )
        try:
            if not planned.same:
                self._pull_ahead(planned, timeout_s=timeout_s)
                self._upgrade(planned)
                made = self._newest()
            states = watch.wait(timeout_s=timeout_s)
        except TaskFailure as failure:
            if isinstance(failure, ClusterFailure) and failure.cause == "busy":
                raise
            # Where going back is cut short, what led to it is told all the same.
            stands = back.go(made, because=f"The deployment failed: {failure}")
            self._settle(planned)
            raise TaskFailure(f"The deployment failed: {failure}\n{stands}") from failure
        except KeyboardInterrupt:
            self.show.line("Stopping: going back to what was there before. Ctrl-C once more leaves it as it is")
            stands = back.go(made, because="Stopped.")
            self._settle(planned)
            raise KeyboardInterrupt(f"Stopped. {stands}") from None
        if (newest := self._newest()) != made:
            raise TaskFailure(
                f"Revision {made} was deployed, but somebody else then deployed revision {newest}. "
                "`invoke status` shows what runs."
            )
        self._note(planned.record.with_good(made))
        return self._outcome(planned, made, states, changed=not planned.same)

    def plan(self) -> tuple[list[Command], list[str]]:
        """Return the commands that `deploy` runs to change something, and what would change, line by line.

        Both are empty where nothing would.

        Raises:
            TakesBackError: If it would take back what was promoted, and nobody has said that it shall.
            TaskFailure: If the deployment could not work.
        """
        self._announce()
        planned = self._examine()
        if planned.same:
            return [], []
        commands = [*self.installation.chart.preparation(self.helm), self._command(planned)]
        marks = [Kubectl(self.runner, where=self.where).command(*mark) for mark in self._marks(planned)]
        return [*commands, *marks], planned.rendered.diff(planned.deployed)

    @property
    def kubectl(self) -> Kubectl:
        """kubectl, set to the target."""
        return Kubectl(self.runner, where=self.where, namespace=self.target.namespace, patience=self.patience)

    @property
    def helm(self) -> Helm:
        """Helm, set to the target."""
        return Helm(self.runner, where=self.where, namespace=self.target.namespace, patience=self.patience)

    def _command(self, planned: Planned) -> Command:
        return self.helm.upgrade(
            self.target.release, planned.installation.by_name, new_namespace=planned.new_namespace, version=planned.helm
        )

    def _marks(self, planned: Planned) -> list[tuple[str, ...]]:
        """Return what kubectl shall do to say on a new namespace who made it."""
        mark = ("annotate", "namespace", self.target.namespace, f"{CREATED_BY}={self.target.release}", "--overwrite")
        return [mark] if planned.new_namespace else []

    def _announce(self) -> None:
        self.show.line(f"context    {self.where}")
        self.show.line(f"namespace  {self.target.namespace}, release {self.target.release}")
        self.show.line(f"chart      {self.installation.chart}, values {', '.join(self.installation.files)}")
        self.show.line(f"image      {self.installation.image}")

    def _examine(self) -> Planned:
        self.show.status("checking what is needed")
        planned = Preflight(
            kubectl=self.kubectl,
            helm=self.helm,
            target=self.target,
            installation=self.installation,
            settings=self.settings,
            take_back=self.take_back,
        ).run()
        for note in planned.notes:
            self.show.line(f"Note: {note}")
        return planned

    @contextlib.contextmanager
    def _look_further(self, planned: Planned) -> Iterator[Callable[[Sequence[State]], None]]:
        """Give what asks the agents in the new pods, if there will be some."""
        containers = [each for one in planned.rendered.workloads for each in one.pod.get("initContainers") or ()]
        if not any(each["name"] == AGENT_CONTAINER for each in containers):
            yield lambda _: None
            return
        with agents(self.kubectl, self.target, progress=lambda _: None) as found:
            yield Served(agents=found, clock=self.clock).look

    def _learnt(self, planned: Planned, states: Sequence[State]) -> Planned:
        """Return the plan with what the pods tell: whether the revision that is deployed was ever good."""
        proven = len(states) == len(planned.rendered.deployments) and all(state.proven for state in states)
        last, record = planned.history[-1] if planned.history else None, planned.record
        if last is not None and last.status == "deployed" and proven:
            record = record.with_good(last.number)
        elif not record.known and (former := last_deployed(planned.history)):
            # A release of before there was a record, or of somebody's own Helm: Helm's word has to do.
            record = record.with_good(former.number)
        return attrs.evolve(planned, record=record)

    def _watch(self, planned: Planned, *, former: bool = False) -> Watch:
        rendered = planned.deployed if former and planned.deployed else planned.rendered
        # Another chart than ours may label its objects in another way: then all of the namespace is looked at.
        key, _, value = self.target.owned.partition("=")
        labels = [each["metadata"].get("labels") or {} for each in rendered.deployments.values()]
        return Watch(
            kubectl=self.kubectl,
            names=list(rendered.deployments),
            least={each.name: each.replicas for each in rendered.workloads if each.most is not None},
            selector=self.target.owned if all(each.get(key) == value for each in labels) else "",
            show=self.show,
            clock=self.clock,
            hide=rendered.secrets,
        )

    def _pull_ahead(self, planned: Planned, *, timeout_s: float) -> None:
        """Have a new image pulled first where an old pod goes before its successor comes."""
        if not planned.rendered.replaces_pods(planned.deployed):
            return
        puller = Puller(target=self.target, kubectl=self.kubectl, show=self.show, clock=self.clock)
        before = {each.name: each.image for each in planned.deployed.workloads} if planned.deployed else {}
        for workload in planned.rendered.workloads:
            if not workload.surge and before.get(workload.name, workload.image) != workload.image:
                nodes = nodes_of(workload, running(self.kubectl, self.target))
                if nodes:
                    puller.pull(workload, nodes, timeout_s=timeout_s)

    def _upgrade(self, planned: Planned) -> None:
        command = self._command(planned)
        if planned.history and self._newest() != planned.last:
            raise ClusterFailure(
                f"Somebody else has changed the release {self.target.release} meanwhile, by revision {self._newest()}, "
                "and nothing was changed here. Look at `invoke status`, then try again.",
                cause="busy",
            )
        if planned.history:
            self._note(planned.record, attempted=planned.last + 1)
        self.show.line(f"{command}")
        self.show.status("helm upgrade")
        try:
            change(
                self.helm,
                self.kubectl,
                self.target.release,
                command,
                makes=lambda number: self._manifest(number) == planned.rendered,
                doing="deploy",
            )
        finally:
            for mark in self._marks(planned):
                Kubectl(self.runner, where=self.where, patience=self.patience).run(*mark)
        if not planned.history:
            self._note(planned.record, attempted=1)

    def _settle(self, planned: Planned) -> None:
        """Write down that no deployment is under way any more; without a former revision nothing is left for that."""
        if planned.former is not None:
            self._note(planned.record)

    def _note(self, record: Record, *, attempted: int | None = None) -> None:
        """Write down which revisions are good, and which one is being made now."""
        record = attrs.evolve(record, attempted=attempted)
        try:
            record.write(self.kubectl, self.target)
        except ClusterFailure as error:
            self.show.line(f"Note: which revisions were good is not written down. {error}")

    def _manifest(self, number: int) -> Rendered:
        return Rendered.parse(self.helm.manifest(self.target.release, revision=number))

    def _newest(self) -> int:
        return self.helm.history(self.target.release)[-1].number

    def _outcome(self, planned: Planned, number: int, states: Sequence[State], *, changed: bool) -> Outcome:
        return Outcome(
            target=self.target, where=self.where, revision=number, changed=changed, planned=planned, states=states
        )
