"""Find what would keep a deployment from working before anything is changed, all of it at once."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import attrs

from scripts.cluster.helm import Helm, Revision
from scripts.cluster.kubectl import Kubectl
from scripts.cluster.objects import Rendered
from scripts.cluster.release import access, by_hand, needs
from scripts.cluster.release.chart import Installation
from scripts.cluster.release.record import Record, last_deployed
from scripts.cluster.release.settled import Settled, TakesBackError, settle, without_agent
from scripts.cluster.says import ClusterFailure, gist
from scripts.cluster.target import Target
from scripts.cluster.trouble import shortened
from scripts.host.errors import TaskFailure
from scripts.host.program import Version
from scripts.host.settings import Settings
from scripts.host.shell import Completed

# The first with --dry-run=server, and the first with all that is asked of it.
LEAST_HELM, LEAST_KUBECTL = Version(3, 13), Version(1, 27)
# An API that there is not; helm/triton asks for it.
LOOKING = "triton-serving/preflight"
T = TypeVar("T")
_SCHEMA = re.compile(r"values don't meet the specifications of the schema", re.IGNORECASE)


@attrs.frozen(kw_only=True)
class Planned:
    """What a deployment would do.

    Attributes:
        installation: What it deploys, with the serving plan that counts.
        rendered: The objects that it makes.
        deployed: The objects of the release as it is; None where there is none.
        history: The release's revisions, the oldest first.
        same: Whether it would change nothing.
        new_namespace: Whether the namespace is not there yet.
        helm: Helm's version.
        notes: What should be known, but keeps nothing from working.
        record: Which revisions were good.
        written: The same, as it was found written down.
    """

    installation: Installation
    rendered: Rendered
    deployed: Rendered | None
    history: Sequence[Revision]
    same: bool
    new_namespace: bool
    helm: Version
    notes: Sequence[str]
    record: Record
    written: Record

    @property
    def last(self) -> int:
        """The number of the last revision; 0 where there is none."""
        return self.history[-1].number if self.history else 0

    @property
    def is_unfinished(self) -> bool:
        """Whether the last revision is known to have never been ready: its deployment was killed, most likely."""
        return self.record.known and bool(self.history) and not self.record.is_good(self.history[-1])

    @property
    def former(self) -> Revision | None:
        """The revision to go back to; None where there is none that was ever good."""
        return self.record.last_good(self.history)


@attrs.define(kw_only=True)
class Preflight:
    """Looks at everything that a deployment needs.

    Attributes:
        kubectl: Set to the context and the namespace.
        helm: Likewise.
        target: Where to.
        installation: What.
        settings: For the image's registry.
        take_back: Whether the files' serving plan counts even if a later one is deployed; None: nobody has said.
        problems: What keeps it from working.
        notes: What should be known.
    """

    kubectl: Kubectl
    helm: Helm
    target: Target
    installation: Installation
    settings: Settings
    take_back: bool | None = None
    problems: list[str] = attrs.field(factory=list)
    notes: list[str] = attrs.field(factory=list)

    def run(self) -> Planned:
        """Look, and return what the deployment would do.

        Raises:
            TakesBackError: If it would take back what was promoted, and nobody has said that it shall.
            TaskFailure: If something keeps it from working; the message has everything that does.
        """
        kubectl, helm = self._tools()
        server = self._try(lambda: access.server_version(self.kubectl)) if kubectl else None
        has_agent = needs.has_agent(self.installation.image, self.settings)
        self._settled(lambda: without_agent(self.installation, server, has_agent))
        offline = self._rendered(server) if helm else None
        wrong, unknown = needs.image(self.installation.image, self.settings)
        self.problems += [wrong] if wrong else []
        self.notes += [unknown] if unknown else []
        planned = self._try(lambda: self._with_cluster(offline, helm)) if server and helm else None
        if self.problems or planned is None:
            raise TaskFailure(_list(self.problems))
        return planned

    def _with_cluster(self, offline: Rendered | None, version: Version) -> Planned | None:
        """Look at the cluster; return the plan where nothing that was found is in its way."""
        exists = access.namespace_exists(self.kubectl, self.target.namespace)
        groups = needs.served(self.kubectl)
        self.problems += needs.apis(offline, groups) if offline else []
        if not self._may(offline, new_namespace=not exists):
            return None
        history = self.helm.history(self.target.release)
        record = Record.read(self.kubectl, self.target) if history else Record()
        self._release(history, record)
        deployed, values = None, {}
        if history and history[-1].status != "uninstalled":
            # After a failed upgrade the pods are those of the last good one, or on their way.
            good = last_deployed(history) or history[-1]
            deployed = Rendered.parse(self.helm.manifest(self.target.release, revision=good.number))
            values = dict(self.helm.values(self.target.release, revision=good.number))
            self._settled(lambda: settle(self.installation, values, take_back=self.take_back))
        rendered, given = offline, None
        if offline is not None and not self.problems:
            rendered, given = self._simulated(version, new_namespace=not exists) or (None, None)
        if rendered is None:
            return None
        short, notes = needs.gpus(
            rendered, deployed=deployed, kubectl=self.kubectl, namespace=self.target.namespace, groups=groups
        )
        self.problems += short
        self.notes += notes
        self.notes += needs.metric_notes(rendered, groups, self.kubectl) if not self.problems else []
        self.notes += needs.downtime(rendered, deployed, lambda: needs.running(self.kubectl, self.target))
        same = (
            deployed is not None
            and history[-1].status == "deployed"
            and given == values
            and not rendered.diff(deployed)
            and self._is_untouched(deployed)
        )
        return Planned(
            installation=self.installation,
            rendered=rendered,
            deployed=deployed,
            history=history,
            same=same,
            new_namespace=not exists,
            helm=version,
            notes=self.notes,
            record=record,
            written=record,
        )

    def _tools(self) -> tuple[bool, Version | None]:
        """Return whether there is a kubectl, and the version of a Helm that will do."""
        kubectl = self._try(lambda: access.client_version(self.kubectl))
        helm = self._try(self.helm.version)
        for name, found, least in (("kubectl", kubectl, LEAST_KUBECTL), ("helm", helm, LEAST_HELM)):
            if found is not None and found < least:
                self.problems.append(f"{name} {found} is too old: {least} or newer is needed.")
        return kubectl is not None, helm if helm and helm >= LEAST_HELM else None

    def _rendered(self, server: Version | None) -> Rendered | None:
        """Render the chart without the cluster: are the values right, and what do they ask for?"""
        # By that the chart knows that nobody will apply what it renders: without a cluster it refuses to make a key.
        looking = (f"--api-versions={LOOKING}", *([f"--kube-version={server}"] if server else []))
        done = self.helm.run(self.helm.template(self.target.release, (*self.installation.by_address, *looking)))
        if done.status:
            self.problems.append(say_render(done, installation=self.installation))
            return None
        return self._try(lambda: Rendered.parse(done.output))

    def _simulated(self, version: Version, *, new_namespace: bool) -> tuple[Rendered, Mapping[str, Any]] | None:
        """Have Helm simulate the deployment with the cluster; return the objects and the values that were given."""
        simulated = ("--dry-run=server", "--output=json")
        chart = (*self.installation.by_address, *simulated)
        command = self.helm.upgrade(self.target.release, chart, new_namespace=new_namespace, version=version)
        done = self.helm.look(command)
        if done.status:
            self.problems.append(say_render(done, installation=self.installation))
            return None
        release = json.loads(done.output[done.output.index("{") :])
        return Rendered.parse(release["manifest"]), release.get("config") or {}

    def _release(self, history: Sequence[Revision], record: Record) -> None:
        last = history[-1] if history else None
        if last is None:
            return
        name, where = self.target.release, self.helm.command().argv[1:]
        good = former.number if (former := record.last_good(history)) else None
        if last.status == "pending-rollback" and (meant := re.search(r"\d+", last.description)):
            good = int(meant[0])
        back = ("rollback", name, str(good)) if good else ("uninstall", name)
        if last.status == "uninstalling":
            back = ("uninstall", name)
        way = " ".join(("helm", *back, *where))
        if last.is_pending:
            self.problems.append(
                f"The release {name} is in the state {last.status}, revision {last.number}, since {last.updated}: "
                f"either somebody deploys right now, or a Helm was killed. If nobody does: {way}"
            )
        elif last.status == "failed":
            self.notes.append(
                f"Revision {last.number} of {name} failed ({shortened(last.description)}); this deployment replaces "
                f"it. To go back instead: {way}"
            )

    def _may(self, rendered: Rendered | None, *, new_namespace: bool) -> bool:
        """Say whether this login may do all that is needed; what it may not is a problem."""
        namespace = self.target.namespace
        rights = access.needed(rendered.kinds if rendered else (), new_namespace=new_namespace)
        try:
            refused = access.refused(self.kubectl, rights, namespace=namespace)
        except ClusterFailure as error:
            self.notes.append(f"Whether this login may deploy is not checked. {error}")
            return True
        if refused:
            self.problems.append(access.say_refused(refused, namespace=namespace))
        return not refused

    def _is_untouched(self, deployed: Rendered) -> bool:
        """Say whether the cluster has what was deployed: what somebody changed by hand, deploying brings back."""
        objects = by_hand.look(self.kubectl, deployed.objects)
        touches = by_hand.touches(deployed.objects, objects)
        if added := [touch for touch in touches if touch.added]:
            commands = "".join(f"\n    {command}" for command in by_hand.removal(self.kubectl, added))
            self.notes.append(
                f"Somebody added by hand what the chart does not have, and a deployment leaves it as it is: "
                f"{'; '.join(map(str, added))}. This takes it out:{commands}"
            )
        changed = [touch for touch in touches if not touch.added]
        if not changed and deployed.is_there(objects):
            return True
        what = f": {'; '.join(map(str, changed))}" if changed else ""
        self.notes.append(f"Somebody changed by hand what is deployed; this brings back what the chart says{what}")
        return False

    def _settled(self, decide: Callable[[], Settled]) -> None:
        """Deploy what was decided, and note why."""
        found = self._try(decide)
        if found is not None:
            self.installation = found.installation
            self.notes += [found.note] if found.note else []

    def _try(self, look: Callable[[], T]) -> T | None:
        try:
            return look()
        except TakesBackError:
            raise
        except TaskFailure as error:
            self.problems.append(str(error))
            return None


def say_render(done: Completed, *, installation: Installation) -> str:
    """Say why Helm does not render the chart."""
    said = gist(done.errors or done.output)
    said = re.sub(r"^(?:UPGRADE|INSTALLATION) FAILED: ", "", said)
    if _SCHEMA.search(said):
        lines = [line.strip() for line in said.splitlines() if line.strip().startswith("- ")]
        files = ", ".join(installation.files)
        return "\n    ".join([f"The chart does not take these values ({files} and --set):", *lines])
    # Helm says first where in the chart it gave up, which is of no use to who writes values.
    said = re.sub(r"^execution error at \(.*?\): *", "", said)
    return f"The chart {installation.chart} cannot be used: {said.strip()}"


def _list(problems: Sequence[str]) -> str:
    unique = list(dict.fromkeys(problems))
    if len(unique) == 1:
        return f"{unique[0]}\nNothing was changed."
    listed = "".join("\n  - " + "\n    ".join(problem.splitlines()) for problem in unique)
    return f"{len(unique)} things are in the way; nothing was changed:{listed}"
