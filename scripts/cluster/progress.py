"""How far a Deployment has come: read from the API's JSON."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import attrs

from scripts.cluster.trouble import Event, Trouble, condition, containers, is_lost, is_of, of_deployment, of_pod

Object = Mapping[str, Any]


@attrs.frozen(kw_only=True)
class PodState:
    """A pod of a Deployment.

    Attributes:
        name: Its name.
        new: Whether it is of the revision that is being rolled out.
        leaving: Whether it is about to go.
        ready: Whether it gets requests.
        node: Its node; empty while it has none.
        doing: What it does, in a few words.
        trouble: What keeps it from running; None for nothing.
        lost: Whether its node is, as far as the events tell.
    """

    name: str
    new: bool
    leaving: bool
    ready: bool
    node: str
    doing: str
    trouble: Trouble | None
    lost: bool = False

    def __str__(self) -> str:
        where = f" on {self.node}" if self.node else ""
        return f"pod {self.name} ({'new' if self.new else 'old'}){where}: {self.doing}"


@attrs.frozen(kw_only=True)
class State:
    """How far a Deployment has come.

    Attributes:
        name: The Deployment's name.
        wanted: How many pods it shall have.
        ready: How many of the new ones are ready.
        serving: How many pods are ready, new or old.
        available: How many have been ready for as long as it wants.
        renewed: Whether all pods are new, and the old ones are gone.
        whole: Whether it is done: it is renewed, and all pods are ready.
        proven: Whether it was done once, be it that pods have gone since.
        pods: Its pods, the new ones first.
        trouble: What keeps pods from being made, or from running; the worst first.
    """

    name: str
    wanted: int
    ready: int
    serving: int
    available: int
    renewed: bool
    whole: bool
    proven: bool
    pods: Sequence[PodState]
    trouble: Sequence[tuple[str, Trouble]]

    @classmethod
    def parse(cls, name: str, answer: Object, events: "Sequence[Event]" = ()) -> Self | None:
        """Read the Deployment *name* out of a list of Deployments, ReplicaSets and pods; None if it is not there."""
        items = answer.get("items") or ()
        found = next((i for i in items if i["kind"] == "Deployment" and i["metadata"]["name"] == name), None)
        if found is None:
            return None
        metadata, status, wanted = found["metadata"], found.get("status") or {}, found["spec"].get("replicas", 1)
        sets = _replica_sets(found, items)
        seen = status.get("observedGeneration", 0) >= metadata.get("generation", 0)
        newest = _newest(found, sets)
        pods = [
            parse_pod(item, new=_owned(item, *(s["metadata"]["uid"] for s in newest)), events=events)
            for item in items
            if item["kind"] == "Pod" and _owned(item, *(s["metadata"]["uid"] for s in sets))
        ]
        pods.sort(key=lambda pod: (not pod.new, pod.name))
        made, updated, available = (status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas"))
        trouble = [(f"pod {p.name}", p.trouble) for p in pods if p.new and p.trouble and not p.leaving]
        # What the controller says of the generation before may be what this one mends.
        trouble += [(f"Deployment {name}", each) for each in of_deployment(status, newest) if seen]
        # A pod whose node is lost stays in the list for as long as the node does.
        going = [p for p in pods if p.leaving and not p.new and not p.lost]
        renewed = seen and made == updated == wanted and not going
        whole = renewed and available == wanted
        return cls(
            name=name,
            wanted=wanted,
            ready=sum(p.ready and p.new for p in pods),
            serving=sum(p.ready for p in pods),
            available=available,
            renewed=renewed,
            whole=whole,
            proven=whole or is_proven(found, items),
            pods=pods,
            trouble=sorted(trouble, key=lambda pair: not pair[1].hopeless),
        )

    @property
    def summary(self) -> str:
        """How far it is, in a line."""
        old = sum(not pod.new for pod in self.pods)
        return f"{self.name}: {self.ready} of {self.wanted} new pods ready{f', {old} old' if old else ''}"


def is_proven(deployment: Object, items: Sequence[Object]) -> bool:
    """Say whether all pods that a Deployment asks for now were once ready, be it that some have gone since.

    Its ReplicaSets are among *items*.
    """
    metadata, status = deployment["metadata"], deployment.get("status") or {}
    seen = status.get("observedGeneration", 0) >= metadata.get("generation", 0)
    progressing = condition(status, "Progressing")
    # Kubernetes says so when all new pods are there, and until the next change.
    available = progressing.get("reason") == "NewReplicaSetAvailable"
    return seen and available and is_of(progressing, _newest(deployment, _replica_sets(deployment, items)))


def _replica_sets(deployment: Object, items: Sequence[Object]) -> list[Object]:
    uid = deployment["metadata"]["uid"]
    return [each for each in items if each["kind"] == "ReplicaSet" and _owned(each, uid)]


def _newest(deployment: Object, replica_sets: Sequence[Object]) -> list[Object]:
    """Return those that make the pods of now.

    By what they say, as the controller does: its numbers come later, and until then old pods would pass for new.
    """
    return [each for each in replica_sets if _template(each) == _template(deployment)]


def _owned(item: Object, *owners: str) -> bool:
    return any(reference.get("uid") in owners for reference in item["metadata"].get("ownerReferences") or ())


def _template(item: Object) -> Object:
    """Return what an object says of its pods, without the label that a ReplicaSet adds."""
    template = item["spec"]["template"]
    labels = dict(template["metadata"].get("labels") or {})
    labels.pop("pod-template-hash", None)
    return {**template, "metadata": {**template["metadata"], "labels": labels}}


def parse_pod(item: Object, *, new: bool = True, events: Sequence[Event] = ()) -> PodState:
    """Read a pod as the API gives it, and what events tell about it."""
    metadata, status = item["metadata"], item.get("status") or {}
    leaving = "deletionTimestamp" in metadata
    ready = not leaving and condition(status, "Ready").get("status") == "True"
    own = [event for event in events if event.about == metadata["name"]]
    trouble = None if ready or leaving else of_pod(status, own)
    doing = "leaving" if leaving else "ready" if ready else trouble.text if trouble else _doing(status)
    node = (item.get("spec") or {}).get("nodeName", "")
    return PodState(
        name=metadata["name"],
        new=new,
        leaving=leaving,
        ready=ready,
        node=node,
        doing=doing,
        trouble=trouble,
        lost=is_lost(own),
    )


def _doing(status: Object) -> str:
    for container in containers(status):
        state = container.get("state") or {}
        if "waiting" in state:
            return str(state["waiting"].get("reason") or "waiting")
        if "running" in state and not container.get("started", True):
            return "starting, the startup probe has not succeeded yet"
        if "running" in state and not container.get("ready"):
            return "running, the readiness probe has not succeeded yet"
    return str(status.get("phase") or "Pending")
