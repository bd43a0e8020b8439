"""A release as one of its own pods changes it: Helm's revisions through the API, and the agents at their addresses."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import attrs

from scripts.agent.plan import Plan
from scripts.cluster import serving
from scripts.cluster.api import APPLY, MERGE, Api
from scripts.cluster.pod_agent import PodAgent
from scripts.cluster.pods import Pod, of_servers
from scripts.cluster.release.plan_map import patch_of
from scripts.cluster.release.record import MANAGER, READY, Record
from scripts.cluster.release.stored import DEPLOYED, Stored, name_of
from scripts.cluster.says import ClusterFailure
from scripts.cluster.target import Target
from scripts.host.errors import TaskFailure
from scripts.host.secret import Secret
from scripts.server.seen import State
from scripts.versions.giving import Giving, together
from scripts.versions.target import OvertakenError

# So many revisions after the first one the judge may read and change.
FURTHER = 30
# By this name Helm sets what the chart says.
_HELM = "helm"


@attrs.frozen(kw_only=True)
class HeldInside:
    """The ConfigMap that the pods read, at one moment.

    Attributes:
        api: Where it is.
        found: What the API gave.
    """

    api: Api
    found: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.found["metadata"]["name"])

    @property
    def data(self) -> Mapping[str, str]:
        """Its keys."""
        return self.found.get("data") or {}

    def write(self, changes: Mapping[str, str]) -> bool:
        """Set some keys, if nothing has changed since it was read; return whether that is so.

        Raises:
            ClusterFailure: If the cluster does not take it.
        """
        patch = patch_of(changes, version=self.found["metadata"]["resourceVersion"])
        try:
            self.api.patch("configmaps", self.name, patch, manager=MANAGER)
        except ClusterFailure as error:
            if error.cause != "busy":
                raise
            return False
        return True


@attrs.define(kw_only=True)
class Inside:
    """A release whose pods serve a plan.

    Attributes:
        api: The API, set to its namespace.
        target: Which release.
        first: A revision of Helm's that it had.
        plan_map: The ConfigMap that its pods read.
        deployment: Its Deployment.
        headers: What opens the agents.
        progress: Takes a line where something is worth knowing.
        wall: Gives the time.
        revision: The last revision that was seen.
    """

    api: Api
    target: Target
    first: int
    plan_map: str
    deployment: str
    headers: Mapping[str, Secret]
    progress: Callable[[str], None]
    wall: Callable[[], datetime] = lambda: datetime.now(UTC)
    revision: int = attrs.field(init=False)
    _last: Stored | None = None
    _asked: set[str] = attrs.field(factory=set)
    _giving: Giving = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.revision = self.first
        self._giving = Giving(self.progress)

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"release {self.target.release}"

    def held(self) -> HeldInside:
        """Return the ConfigMap that the pods read.

        Raises:
            ClusterFailure: If it cannot be read.
        """
        return HeldInside(api=self.api, found=self.api.get("configmaps", self.plan_map))

    def agents(self) -> Sequence[PodAgent]:
        """Return the agents of the pods that run.

        Raises:
            ClusterFailure: If the cluster cannot be asked.
        """
        found = of_servers(self.api.get("pods", selector=self.target.selector)["items"])
        # One whose server has died meanwhile still has its agent.
        there = [pod for pod in found if pod.address and pod.agent and not pod.leaving and self._runs(pod)]
        self._asked |= {pod.name for pod in there}
        return [PodAgent.at(pod.address, pod.name, self.headers) for pod in there]

    def state(self) -> State:
        """Return the plan of the release, and what the first of its pods serves.

        Raises:
            TaskFailure: If it cannot be changed now, or a pod cannot be asked.
        """
        self._last = last = self._read()
        if last.revision.status != DEPLOYED:
            raise TaskFailure(
                f"Revision {last.revision.number} of the {self.name} is in the state {last.revision.status}: either "
                "somebody deploys right now, or that did not end well. `invoke status` says more."
            )
        plan = Plan.parse(last.plan_text)
        held = self.held()
        if Plan.parse(held.data[serving.KEY]).generation < plan.generation:  # a judge was killed in between
            self._give(last)
        in_values = serving.in_values(last.values, where=f"The values of the {self.name}")
        return together([agent.state() for agent in self.agents()], in_values, release=self.name)

    def follow(self, plan: Plan, *, after: int) -> Plan:
        """Make the next revision of the release, with *plan*; each pod gets it when it is asked after that.

        Raises:
            OvertakenError: If somebody else has changed the release since it was read.
            TaskFailure: If it cannot be changed.
        """
        assert after < plan.generation, "a plan comes after the one that was read"
        assert self._last is not None, "it was read before"
        last = self._read()
        if last.revision.number != self._last.revision.number:
            raise self._overtaken(last.revision.number)
        new = last.with_plan(plan, now=self.wall(), description="The judge of a canary changed the serving plan")
        number = new.revision.number
        self.progress(f"Generation {plan.generation} of the plan goes into revision {number} of the {self.name}")
        self._create(new)
        self._give(new)
        old = last.superseded().secret()
        change = {"metadata": {"labels": old["metadata"]["labels"]}, "data": old["data"]}
        self.api.patch("secrets", old["metadata"]["name"], change, manager=_HELM)
        self._note(last, number)
        self._last = new
        return Plan.parse(new.plan_text)

    def servers(self) -> Sequence[tuple[str, Callable[[], State]]]:
        """Return the pods that run now."""
        return [(agent.pod, partial(self.ask, agent)) for agent in self.agents()]

    def ask(self, agent: PodAgent) -> State:
        """Return what a pod serves; one that does not know the plan yet gets it.

        Raises:
            TaskFailure: If it does not answer.
        """
        return self._giving.ask(agent)

    def _runs(self, pod: Pod) -> bool:
        return pod.running or pod.name in self._asked

    def _read(self) -> Stored:
        """Return the last revision.

        Raises:
            ClusterFailure: If there is none that is known here, or it cannot be read.
        """
        found = None
        for number in range(self.revision, self.first + FURTHER):
            try:
                found = self.api.get("secrets", name_of(self.target.release, number))
            except ClusterFailure as error:
                if error.cause != "not found":
                    raise
                if found is not None:
                    return Stored.parse(found)
                continue  # Helm forgets old ones
            self.revision = number
        raise TaskFailure(
            f"The {self.name} is gone, or has had {FURTHER} revisions more since the judge began, and the judge's Role "
            "lets it read no later ones. Start `invoke canary --job` again."
        )

    def _create(self, new: Stored) -> None:
        """Make the Secret of a revision: only one can be the first.

        Raises:
            OvertakenError: If somebody else was.
        """
        made = new.secret()
        try:
            self.api.create("secrets", made)
        except ClusterFailure as error:
            if error.cause != "busy":
                raise
            if self.api.get("secrets", made["metadata"]["name"])["data"] != made["data"]:  # no lost answer
                raise self._overtaken(new.revision.number) from error

    def _give(self, new: Stored) -> None:
        """Write the plan of a revision where the pods read it, as Helm itself does, and give it to those asked next."""
        found, data = self.held().found, {serving.KEY: new.plan_text}
        applied = next(
            (
                each
                for each in found["metadata"].get("managedFields") or ()
                if (each["manager"], each["operation"]) == (_HELM, "Apply")
            ),
            None,
        )
        if applied is None:
            self.api.patch("configmaps", self.plan_map, {"data": data}, manager=_HELM, how=MERGE)
        else:
            # What is applied has to name all that was applied before, or it would be gone.
            body = _picked(applied["fieldsV1"], found)
            body["metadata"] = {**body.get("metadata", {}), "name": self.plan_map}
            body |= {"apiVersion": "v1", "kind": "ConfigMap", "data": {**body.get("data", {}), **data}}
            self.api.patch("configmaps", self.plan_map, body, manager=_HELM, how=APPLY)
        self._giving.plan = Plan.parse(new.plan_text)

    def _note(self, last: Stored, number: int) -> None:
        """Write down that the pods are as good as they were: they are the same."""
        try:
            record = Record.parse([self.api.get("deployments", self.deployment, group="apps/v1")])
            if record.is_good(last.revision):
                notes = {"metadata": {"annotations": {READY: record.with_good(number).numbers}}}
                self.api.patch("deployments", self.deployment, notes, manager=MANAGER, group="apps/v1")
        except ClusterFailure as error:
            self.progress(f"Note: that this revision is good is not written down. {error}")

    def _overtaken(self, revision: int) -> OvertakenError:
        return OvertakenError(
            f"Somebody else has made revision {revision} of the {self.name} since the judge read it, so the judge has "
            "not made its change. Look at `invoke versions`."
        )


def _picked(fields: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Return of an object the fields of a managed set; a ConfigMap has no lists in it."""
    picked = {}
    for key, below in fields.items():
        kind, _, name = key.partition(":")
        if kind == "f" and name in found:
            picked[name] = _picked(below, found[name]) if below else found[name]
    return picked
