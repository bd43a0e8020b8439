"""The pods of a release: the plan stands in the release's values, and each pod's agent makes its server serve it."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs

from scripts.agent.plan import ModelPlan, Plan
from scripts.cluster import serving
from scripts.cluster.agents import Agents
from scripts.cluster.helm import Helm, Revision
from scripts.cluster.kubectl import Kubectl
from scripts.cluster.objects import Rendered
from scripts.cluster.pod_agent import PodAgent
from scripts.cluster.pods import server_of
from scripts.cluster.release import by_hand
from scripts.cluster.release.change import change, roll_back
from scripts.cluster.release.chart import Chart
from scripts.cluster.release.record import Record
from scripts.cluster.says import ClusterFailure, explain
from scripts.cluster.target import Target
from scripts.host.errors import TaskFailure
from scripts.host.program import Version
from scripts.host.secret import Secret
from scripts.server.endpoint import Endpoint
from scripts.server.seen import State
from scripts.versions.giving import Giving, together
from scripts.versions.target import OvertakenError

# What changes with the number of pods.
_COUNTED = ("Deployment", "PodDisruptionBudget")


@attrs.define(kw_only=True)
class Release:
    """A release whose pods serve a plan.

    Attributes:
        target: Which.
        kubectl: Set to its namespace.
        helm: Likewise.
        chart: The chart that it was deployed with.
        agents: The agents in its pods.
        progress: Takes a line where something is worth knowing.
    """

    target: Target
    kubectl: Kubectl
    helm: Helm
    chart: Chart
    agents: Agents
    progress: Callable[[str], None]
    _history: Sequence[Revision] = ()
    _values: Mapping[str, Any] = attrs.field(factory=dict)
    _giving: Giving = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._giving = Giving(self.progress)

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"release {self.target.release}"

    @property
    def revision(self) -> int:
        """The number of its last revision, as it was read last."""
        return self._history[-1].number

    def state(self) -> State:
        """Return the plan of the release, and what the first of its pods serves.

        Raises:
            TaskFailure: If there is no such release, it cannot be changed now, or a pod cannot be asked.
        """
        self._history = self.helm.history(self.target.release)
        self._require_whole()
        self._values = self.helm.values(self.target.release)
        self._require_one_plan()
        states = [agent.state() for agent in self.agents.look()]
        plan = serving.in_values(self._values, where=f"The values of the {self.name}")
        return together(states, plan, release=self.name)

    def recall(self, state: State, model: str) -> State:
        """Return *state* with what former revisions of the release planned for *model* before the last change of that.

        Raises:
            TaskFailure: If the cluster cannot be asked.
        """
        now = state.plan.models.get(model, ModelPlan())
        for revision in reversed(self._history[:-1]):
            try:
                values = self.helm.values(self.target.release, revision=revision.number)
                former = serving.in_values(values, where=f"The values of revision {revision.number}")
            except TaskFailure as error:
                self.progress(f"Note: what revision {revision.number} served is not known. {error}")
                break
            part = former.models.get(model, ModelPlan())
            if part.serve != now.serve:  # a candidate comes and goes, and nobody goes back to one
                return attrs.evolve(state, before=Plan(models={model: part}))
        return state

    def follow(self, plan: Plan, *, after: int) -> Plan:
        """Write *plan* into the release; each pod gets it when it is asked for the first time after that.

        Raises:
            OvertakenError: If somebody else has changed the release since it was read.
            TaskFailure: If the release cannot be changed, or more than its plan would change.
        """
        assert after < plan.generation, "a plan comes after the one that was read"
        read = self._history[-1].number
        self._history = self.helm.history(self.target.release)
        if self._history[-1].number != read:
            raise self._overtaken(self._history[-1].number)
        there, version = Rendered.parse(self.helm.manifest(self.target.release)), self.helm.version()
        values = self._as_scaled(serving.with_plan(self._values, plan), there)
        wanted = self._simulated(values, version, plan, there)
        record = Record.read(self.kubectl, self.target)
        was_good = record.is_good(self._history[-1])
        self._note(attrs.evolve(record, attempted=read + 1))
        self.progress(f"Generation {plan.generation} of the plan goes into revision {read + 1} of the {self.name}")
        change(
            self.helm,
            self.kubectl,
            self.target.release,
            self._upgrade(values, version),
            makes=lambda number: self.helm.values(self.target.release, revision=number) == values,
            doing="change the plan of the release",
        )
        self._history = self.helm.history(self.target.release)
        # An attempt that failed as a whole is a revision too.
        made = next(each.number for each in self._history if each.number > read and each.was_good)
        if made != self._history[-1].number and self.helm.values(self.target.release, revision=made) != values:
            # The other one was first: it has been answered that its change is done.
            roll_back(
                self.helm,
                self.kubectl,
                self.target.release,
                made,
                version=version,
                doing="bring back what somebody else deployed",
            )
            raise self._overtaken(made)
        # The pods are the same, so they are as good as they were.
        self._note(attrs.evolve(record.with_good(made) if was_good else record, attempted=None))
        self._values, self._giving.plan = values, wanted
        return wanted

    def deployment(self) -> Mapping[str, Any]:
        """Return its Deployment, as the cluster has it.

        Raises:
            TaskFailure: If there is none, or the cluster cannot be asked.
        """
        chosen = f"--selector={self.target.selector}"
        found = self.kubectl.json("get", "deployments", chosen, doing="look at the Deployment")["items"]
        for each in found:
            if server_of(each["spec"]["template"]["spec"]):
                one: Mapping[str, Any] = each
                return one
        raise TaskFailure(f"The {self.name} has no Deployment in the namespace {self.target.namespace}.")

    def look(self) -> tuple[list[tuple[str, State, Endpoint]], int]:
        """Return what each pod serves, measured by the plan of the release, and how many pods could not be asked.

        Raises:
            TaskFailure: If there is no plan, or the cluster cannot be asked.
        """
        plans = self._plans()
        self.progress(f"The {self.name} has {serving.all_told(plans)}")
        found, absent = [], 0
        for agent in self.agents.look():
            try:
                state, plan = agent.state(), serving.read_by(agent.pod, plans, agent.plan)
            except TaskFailure as error:
                self.progress(f"{agent.pod}: {error}")
                absent += 1
                continue
            if state.plan.digest != plan.digest:
                self.progress(f"{agent.pod} follows another plan: {serving.told(state.plan)}")
            found.append((agent.pod, attrs.evolve(state, plan=plan), agent.triton))
        return found, absent

    def servers(self) -> Sequence[tuple[str, Callable[[], State]]]:
        """Return the pods that run now."""
        return [(agent.pod, partial(self.ask, agent)) for agent in self.agents.look()]

    def ask(self, agent: PodAgent) -> State:
        """Return what a pod serves; one that does not know the plan yet gets it.

        Raises:
            TaskFailure: If it does not answer.
        """
        return self._giving.ask(agent)

    def _plans(self) -> Mapping[str, Plan]:
        """Return the plans that the pods read."""
        if not (plans := serving.planned(self.kubectl, self.target)):
            raise TaskFailure(
                f"The {self.name} has no serving plan in the namespace {self.target.namespace}. Is it deployed there "
                "(invoke status)? Without an agent its pods serve every version of their image: deploy an image of "
                "`invoke build-image` on Kubernetes 1.29 or later, with modelControl: agent (invoke deploy-triton). "
                "For a server that `invoke serve` runs, give --url HOST."
            )
        return plans

    def _require_one_plan(self) -> None:
        """Check that the release is of the chart itself, and of no umbrella that has it several times."""
        if len(plans := self._plans()) > 1:
            raise TaskFailure(
                f"The {self.name} has several serving plans ({', '.join(sorted(plans))}): it is an umbrella chart with "
                "several of this chart, whose values are not known here. Change `models` of one of them in the "
                "umbrella's own values and upgrade it: the agents follow within two minutes, without new pods."
            )

    def _require_whole(self) -> None:
        """Check that the release is there, and nobody is at work on it."""
        if not self._history or self._history[-1].status == "uninstalled":
            raise TaskFailure(
                f"There is no {self.name} of Helm in the namespace {self.target.namespace}. `invoke deploy-triton` "
                "deploys it; if Argo CD does, give --only-file and commit the file; for a server that `invoke serve` "
                "runs, give --url HOST."
            )
        last = self._history[-1]
        if last.status != "deployed":
            raise TaskFailure(
                f"Revision {last.number} of the {self.name} is in the state {last.status}: either somebody deploys "
                "right now, or that did not end well. `invoke status` says more, and `invoke deploy-triton` mends it."
            )

    def _as_scaled(self, values: dict[str, Any], there: Rendered) -> dict[str, Any]:
        """Return *values* with as many pods as somebody has scaled the release to: Helm would take that back.

        Raises:
            TaskFailure: If somebody changed something else by hand, which Helm would take back too.
        """
        found = by_hand.look(self.kubectl, there.objects)
        if changed := [touch for touch in by_hand.touches(there.objects, found) if not touch.added]:
            raise TaskFailure(
                f"Somebody changed by hand what is deployed, and a change of the plan would take that back, with new "
                f"pods perhaps: {'; '.join(map(str, changed))}. Say it in the values, or have it taken back, by "
                "`invoke deploy-triton`; then try again."
            )
        for name, replicas in there.scaled(found).items():
            self.progress(f"{name} was scaled by hand to {replicas}: the release says so from now on")
            values = {**values, "replicas": replicas}
        return values

    def _simulated(self, values: Mapping[str, Any], version: Version, plan: Plan, there: Rendered) -> Plan:
        """Return *plan* as pods read it after an upgrade to *values*, which must change no pod.

        Raises:
            TaskFailure: If it would.
        """
        done = self.helm.look(self._upgrade(values, version, "--dry-run=server", "--output=json"))
        if done.status:
            raise explain(done.errors or done.output, doing="change the plan of the release")
        made = Rendered.parse(json.loads(done.output[done.output.index("{") :])["manifest"])
        name, found = next(iter(serving.rendered(made.objects).items()), ("", None))
        others = made.changed(there) - {f"ConfigMap {name}"}
        if values.get("replicas") != self._values.get("replicas") and not made.replaces_pods(there):
            others = {each for each in others if each.partition(" ")[0] not in _COUNTED}
        if others or found is None or not serving.serves_alike(found, plan):
            wrong = (
                f"beside the plan it would change {', '.join(sorted(others))}" if others else "it takes no such plan"
            )
            raise TaskFailure(
                f"The chart here ({self.chart}) is not the one that the {self.name} was deployed with: {wrong}. "
                "Nothing was changed. Deploy this chart first (invoke deploy-triton), or use the sources that deployed "
                "it."
            )
        return found

    def _upgrade(self, values: Mapping[str, Any], version: Version, *options: str) -> Any:
        """Return the command that gives the release *values*, which are never seen: they may hold secrets."""
        arguments = (*self.chart.by_address, "--values=-", *options)
        command = self.helm.upgrade(self.target.release, arguments, new_namespace=False, version=version)
        return attrs.evolve(command, stdin=Secret(json.dumps(values)))

    def _note(self, record: Record) -> None:
        try:
            record.write(self.kubectl, self.target)
        except ClusterFailure as error:
            self.progress(f"Note: that this revision is good is not written down. {error}")

    def _overtaken(self, revision: int) -> OvertakenError:
        return OvertakenError(
            f"Somebody else has made revision {revision} of the {self.name} at the same time, and nothing was "
            "changed here. Look at `invoke versions`, then try again."
        )
