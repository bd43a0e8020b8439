"""A canary that a Job judges in the cluster: started from here, or found, and followed to its end."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from scripts.canary import manifests
from scripts.canary.kept import Record
from scripts.canary.order import Order
from scripts.cluster.kubectl import Kubectl
from scripts.cluster.pods import last_warning
from scripts.cluster.progress import parse_pod
from scripts.cluster.release.record import MANAGER
from scripts.cluster.says import ClusterFailure, explain
from scripts.host.clock import Clock
from scripts.host.errors import TaskFailure
from scripts.host.secret import Secret

Object = Mapping[str, Any]
_POLL_S = 1.0
_ENDS = ("Complete", "Failed")
# The exit statuses that are verdicts: another one says that the judge was stopped, or has failed itself.
_VERDICTS = (0, 1, 3)
# Why the log of a container cannot be read yet, or any more.
_NO_LOG = ("waiting to start", "not found", "NotFound", "ContainerCreating")


@attrs.frozen(kw_only=True)
class Ended:
    """What came of it.

    Attributes:
        status: The exit status of the judge.
        said: What it said at its end.
        begun: When its Job was made, in UTC.
    """

    status: int
    said: str
    begun: str

    def kept(self, record: Record, version: int) -> bool:
        """Return whether *record* is about this canary of *version*, and no earlier one."""
        begun, looked = (datetime.fromisoformat(each) for each in (self.begun, record.looked))
        return record.version == version and looked >= begun


@attrs.define(kw_only=True)
class Job:
    """The Job for the canary of one model.

    Attributes:
        kubectl: Set to the release's namespace.
        name: Its name.
        line: Takes a line for people.
        clock: What is waited on.
    """

    kubectl: Kubectl
    name: str
    line: Callable[[str], None]
    clock: Clock = attrs.field(factory=Clock)
    _told: str = ""
    _read: str = ""

    def find(self, version: int) -> bool:
        """Return whether there is a Job to follow: one that runs, or whose end nobody was told; another is removed.

        Raises:
            TaskFailure: If it tries another version.
        """
        found = self._look()
        if found is None:
            return False
        tried = _annotation(found, manifests.VERSION)
        if _condition(found) is not None:
            if tried == str(version) and _annotation(found, manifests.TOLD) is None:
                self.line(f"The Job {self.name} has ended already: this tells what came of it, and begins no other")
                return True
            # Its pods go first, or they would be taken for those of the next Job, which has the same name.
            gone = ("delete", "job", self.name, "--ignore-not-found", "--cascade=foreground")
            self.kubectl.text(*gone, doing="remove the Job that has ended")
            return False
        if tried != str(version):
            raise TaskFailure(
                f"The Job {self.name} tries version {tried} right now, and two canaries of one model cannot be. Wait "
                f"for it, or stop it, which takes that version back: {self.stop}"
            )
        self.line(f"The Job {self.name} runs already: this follows it")
        return True

    def start(self, deployment: Object, order: Order) -> None:
        """Give the judge its rights, and make the Job.

        Raises:
            TaskFailure: If the cluster does not take that.
        """
        job = manifests.job(deployment, order)
        try:
            self._apply(manifests.access(deployment, order))
        except ClusterFailure as error:
            if error.cause != "forbidden":
                raise
            raise TaskFailure(
                f"{error}\nWith --job the task makes a Role, a RoleBinding and a ServiceAccount, which Kubernetes' own "
                "role `admin` may and `edit` may not (docs/canary.md, In the cluster). Without --job this login is "
                "enough, and the judge runs here."
            ) from error
        done = self.kubectl.run("create", "--filename=-", stdin=Secret(json.dumps(job)))
        if done.status and not ("already exists" in done.errors and self._tries(order.wish.version)):
            raise explain(done.errors or done.output, doing="make the Job")
        self.line(f"The Job {self.name} judges from now on, and needs nobody here")

    def follow(self, again: str) -> Ended:
        """Show what the judge says until its end.

        Args:
            again: The command that follows it again.

        Raises:
            ClusterFailure: If the cluster cannot be asked any more; the Job goes on.
            TaskFailure: If it is gone, or has ended without a verdict.
            KeyboardInterrupt: If nobody is to follow it any more; the Job goes on.
        """
        try:
            while True:
                pods = self._pods()
                for pod in pods[-1:]:
                    self._show(pod)
                job = self._look()
                if job is None:
                    raise TaskFailure(f"The Job {self.name} was removed. What its judge has begun, it takes back.")
                if (ended := _condition(job)) is not None:
                    return self._ended(job, ended)
                if not pods:
                    self._tell(self._why_none())
                self.clock.sleep(_POLL_S)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(self._goes_on(again)) from None
        except ClusterFailure as error:
            raise ClusterFailure(f"{error}\n{self._goes_on(again)}", cause=error.cause) from error

    def told(self) -> None:
        """Write down at the Job that somebody knows how it has ended, so that the next run begins another canary."""
        note = ("annotate", "job", self.name, "--overwrite", f"{manifests.TOLD}=true")
        try:
            self.kubectl.text(*note, doing="write down that the end of the canary was told")
        except ClusterFailure as error:
            if error.cause != "not found":  # somebody has removed it
                self.line(
                    f"Note: the next `invoke canary --job` tells this end again. To begin another canary of this "
                    f"version, first run: {self.stop}\n{error}"
                )

    @property
    def stop(self) -> str:
        """The command that ends it early."""
        return str(self.kubectl.command("delete", "job", self.name))

    def _goes_on(self, again: str) -> str:
        return (
            f"The canary goes on in the Job {self.name}.\nTo follow it again: {again}\nTo stop it, which takes the "
            f"version back: {self.stop}"
        )

    def _tries(self, version: int) -> bool:
        """Return whether the Job is there and tries *version*, since an attempt to make it succeeded unnoticed."""
        found = self._look()
        return found is not None and _annotation(found, manifests.VERSION) == str(version)

    def _look(self) -> Object | None:
        text = self.kubectl.text(
            "get", "job", self.name, "--ignore-not-found", "--output=json", doing="look for the Job of the canary"
        )
        found: Object | None = json.loads(text) if text.strip() else None
        return found

    def _pods(self) -> list[Object]:
        """Return its pods, the newest last."""
        found = self.kubectl.json("get", "pods", f"--selector=job-name={self.name}", doing="look for the judge")
        pods: Sequence[Object] = found["items"]
        return sorted(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def _show(self, pod: Object) -> None:
        """Show what is new in the log of a pod, or what it waits for."""
        name = pod["metadata"]["name"]
        if (state := _state(pod)) is None or "waiting" in state:
            self._tell(f"{name}: {parse_pod(pod).doing}")
            return
        since = (f"--since-time={self._read.partition(' ')[0]}",) if self._read else ()
        done = self.kubectl.run("logs", name, f"--container={manifests.CONTAINER}", "--timestamps", *since)
        if done.status:
            if not any(words in done.errors for words in _NO_LOG):
                self._tell(f"Note: the log of {name} cannot be read: {done.errors.strip()}")
            return
        for text in done.output.splitlines():
            at, _, said = text.partition(" ")
            if at > self._read:  # since-time goes by whole seconds
                self._read = at
                self.line(said)

    def _ended(self, job: Object, condition: Object) -> Ended:
        """Return what the last judge said, whose status says how the Job has ended.

        Raises:
            TaskFailure: If that is no verdict.
        """
        pods = self._pods()
        for pod in pods[-1:]:
            self._show(pod)
            if "terminated" in (state := _state(pod) or {}):
                last = state["terminated"]
                status, said = int(last["exitCode"]), str(last.get("message") or "").strip()
                if status in _VERDICTS and said:
                    return Ended(status=status, said=said, begun=job["metadata"]["creationTimestamp"])
        self.told()
        why = condition.get("message") or condition.get("reason") or "it does not say why"
        raise TaskFailure(
            f"The Job {self.name} has failed: {str(why).rstrip('.')}. Its traffic plan ends by itself. Then run "
            "`invoke canary` again, which goes on or takes back what it finds."
        )

    def _why_none(self) -> str:
        """Return why there is no pod yet, as far as the cluster says it."""
        found = self.kubectl.json("get", "events", f"--field-selector=involvedObject.name={self.name}")["items"]
        return last_warning(found, self.name) or "Waiting for the judge's pod"

    def _apply(self, objects: Sequence[Object]) -> None:
        """Make objects, as somebody may have before; the Role comes first, since the others go with it."""
        role, *others = objects
        made = json.loads(self._applied(role))
        owner = {key: made[key] for key in ("apiVersion", "kind")} | {
            key: made["metadata"][key] for key in ("name", "uid")
        }
        for each in others:
            self._applied({**each, "metadata": {**each["metadata"], "ownerReferences": [owner]}})

    def _applied(self, found: Object) -> str:
        options = ("--server-side", "--force-conflicts", f"--field-manager={MANAGER}", "--output=json", "--filename=-")
        return self.kubectl.text(
            "apply", *options, stdin=Secret(json.dumps(found)), doing="give the judge of the canary its rights"
        )

    def _tell(self, text: str) -> None:
        """Say something once, until it changes."""
        if text != self._told:
            self._told = text
            self.line(text)


def _condition(job: Object) -> Object | None:
    """Return the condition that says how a Job has ended; None while it goes on."""
    conditions = (job.get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one["type"] in _ENDS and one["status"] == "True"), None)


def _annotation(job: Object, name: str) -> str | None:
    found: str | None = (job["metadata"].get("annotations") or {}).get(name)
    return found


def _state(pod: Object) -> Object | None:
    """Return the state of the judge's container; None while there is none."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    found: Object | None = next((one.get("state") for one in statuses if one["name"] == manifests.CONTAINER), None)
    return found
