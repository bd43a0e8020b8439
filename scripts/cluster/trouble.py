"""Why pods do not run, in Kubernetes' words and ours, and whether waiting can help."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import attrs

Object = Mapping[str, Any]
# A container that crashed so often will not come up by itself.
CRASHES = 3
_MOST = 300
# A pod that no node takes may be waiting for an autoscaler that has not said a word yet, a pull for a registry that is
# away for a moment; so long, in seconds.
UNSCHEDULED_S, PULL_S = 60.0, 120.0
# Triton answers a probe when it has loaded what it will load: another answer than yes does not change by waiting.
UNREADY_S = 60.0
# A node that is restarted comes back, or it does not.
LOST_S = 60.0
_LOST_NODE = "`kubectl get nodes` shows which nodes are ready, and `kubectl describe node NAME` what is known of one."
_NOT_READY = re.compile(r"startup probe failed: HTTP probe failed with statuscode: 400", re.I)
_NO_MODEL = "Has the image the model and the version that readiness.model and readiness.version ask for in the values?"
# A pull that fails for these will fail again.
_NO_IMAGE = re.compile(
    r"not found|manifest unknown|no match for platform|no matching manifest|invalid ?imagename", re.I
)
_NO_LOGIN = re.compile(
    r"unauthorized|denied|forbidden|no basic auth|authentication required|authorization|\b40[13]\b", re.I
)
_CONFIG = ("CreateContainerConfigError", "InvalidImageName", "ErrImageNeverPull")
# What a pod's creation is refused for; a quota or a webhook may be mended while we wait, these not.
_REFUSED = re.compile(r"violates PodSecurity|is forbidden|is invalid", re.I)
_SECURITY = (
    "The namespace's level of Pod Security (its label pod-security.kubernetes.io/enforce) does not take such pods: "
    "correct the chart or its values."
)
_NO_NODE = "`kubectl describe nodes` shows what the nodes have and who has it; the values say what a pod asks for."
_SCALES = ("TriggeredScaleUp", "Nominated")
# The pod's own state says the same.
_POD_TELLS = ("FailedScheduling", "BackOff", "Failed")
# What kubelet and the container runtime say around the reason why an image cannot be had.
_AROUND = re.compile(
    r'(?:back-off pulling image|failed to pull (?:and unpack )?image|failed to resolve reference) "[^"]*": '
    r"|ErrImagePull: |rpc error: code = \w+ desc = ",
    re.I,
)
_TOLD = ("Scheduled", "Pulling", "Pulled", *_SCALES)
# Every server that loads its models is like that.
_LOADING = re.compile(r"startup probe failed: .*connection refused", re.I)


@attrs.frozen(kw_only=True)
class Trouble:
    """Why a pod does not run.

    Attributes:
        text: The reason, as Kubernetes words it, shortened.
        advice: What to do about it; may be empty.
        hopeless: Whether waiting cannot help.
        unscheduled: Whether no node takes the pod: only a new or a freed one helps.
        patience_s: How long to wait for it to pass; None for as long as there is time.
        container: The container whose log says more; empty for none.
        lost: Whether it is the node that gives no sign of life, as far as the events tell.
    """

    text: str
    advice: str = ""
    hopeless: bool = False
    unscheduled: bool = False
    patience_s: float | None = None
    container: str = ""
    lost: bool = False


@attrs.frozen(kw_only=True)
class Event:
    """Something that Kubernetes says happened.

    Attributes:
        about: The object's name.
        reason: What, in a word.
        message: What, in a sentence.
        warning: Whether it is a warning.
        number: What tells it from the same thing happening again.
    """

    about: str
    reason: str
    message: str
    warning: bool
    number: str

    @classmethod
    def parse(cls, item: Object) -> Self:
        """Read an event as the API gives it."""
        count = item.get("count") or (item.get("series") or {}).get("count") or 1
        return cls(
            about=(item.get("involvedObject") or {}).get("name", ""),
            reason=item.get("reason") or "",
            message=shortened(item.get("message") or ""),
            warning=item.get("type") == "Warning",
            number=f"{item['metadata'].get('uid', item['metadata']['name'])}/{count}",
        )

    @property
    def is_told(self) -> bool:
        """Whether a person who waits wants to know it."""
        news = self.reason not in _POD_TELLS and not _LOADING.search(self.message)
        return self.reason in _TOLD or (self.warning and news)

    @property
    def scales(self) -> bool:
        """Whether an autoscaler says that it makes a node."""
        return self.reason in _SCALES

    def __str__(self) -> str:
        return f"{self.about}: {self.reason}: {self.message}"


def shortened(text: str) -> str:
    """Return *text* as a line of bearable length."""
    line = " ".join(text.split())
    return line if len(line) <= _MOST else f"{line[: _MOST - 3]}..."


def condition(status: Object, kind: str) -> Object:
    """Return the condition *kind* of an object's status; empty where it has none."""
    return next((c for c in status.get("conditions") or () if c.get("type") == kind), {})


def of_deployment(status: Object, newest: Sequence[Object]) -> list[Trouble]:
    """Return why pods are not even made, by a Deployment's status and its new ReplicaSet.

    The Deployment repeats what old ReplicaSets failed for, which the new one may mend.
    """
    failed = [condition(each.get("status") or {}, "ReplicaFailure") for each in newest]
    failed = [c for c in failed if c.get("status") == "True"]
    found = [
        Trouble(
            text=f"{c.get('reason', 'ReplicaFailure')}: {shortened(c.get('message', ''))}",
            advice=_SECURITY if "violates PodSecurity" in c.get("message", "") else "",
            hopeless=_REFUSED.search(c.get("message", "")) is not None,
        )
        for c in failed[:1]
    ]
    progress = condition(status, "Progressing")
    if progress.get("reason") == "ProgressDeadlineExceeded" and is_of(progress, newest):
        found.append(Trouble(text=f"ProgressDeadlineExceeded: {shortened(progress.get('message', ''))}", hopeless=True))
    return found


def is_of(progressing: Object, newest: Sequence[Object]) -> bool:
    """Say whether a Deployment's condition is about its newest ReplicaSets.

    If a change goes back to a ReplicaSet that is there, the condition may stay as the one before left it; its message
    then still has the name of that one.
    """
    message = progressing.get("message", "")
    return "ReplicaSet" not in message or any(f'"{each["metadata"]["name"]}"' in message for each in newest)


def containers(status: Object) -> Sequence[Object]:
    """Return what a pod's status says of each of its containers, those that run first before the others."""
    return (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))


def of_pod(status: Object, events: Sequence[Event]) -> Trouble | None:
    """Return what keeps a pod from running, by its status and the events about it; None for nothing."""
    if is_lost(events):
        text = "its node is not ready: the kubelet there gives no sign of life"
        return Trouble(text=text, advice=_LOST_NODE, patience_s=LOST_S, lost=True)
    scheduled = condition(status, "PodScheduled")
    if scheduled.get("status") == "False":
        # What preempting others would do follows, and repeats all of it.
        said = re.split(r"\.? (?:no new claims|preemption:)", scheduled.get("message", ""))[0]
        text = f"{scheduled.get('reason', 'Unschedulable')}: {shortened(said)}"
        return Trouble(text=text, advice=_NO_NODE, unscheduled=True, patience_s=UNSCHEDULED_S)
    if status.get("phase") == "Failed":
        return Trouble(text=shortened(f"{status.get('reason', 'Failed')}: {status.get('message', '')}"))
    for container in containers(status):
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason, message = waiting.get("reason", ""), waiting.get("message", "")
        if reason in ("ErrImagePull", "ImagePullBackOff"):
            return _pull(message, events)
        if reason in _CONFIG:
            # A kubelet that has not heard of a new Secret yet says "failed to sync secret cache", and asks again.
            return Trouble(text=f"{reason}: {shortened(message)}", hopeless="failed to sync" not in message)
        if crash := _crash(container):
            return crash
        if reason in ("CreateContainerError", "RunContainerError"):
            return Trouble(text=f"{reason}: {shortened(message)}")
        if _is_starting(container) and any(e.reason == "Unhealthy" and _NOT_READY.search(e.message) for e in events):
            text = "the server runs and answers, but not as the startup probe wants it (HTTP 400)"
            return Trouble(text=text, advice=_NO_MODEL, patience_s=UNREADY_S)
    return None


def is_lost(events: Iterable[Event]) -> bool:
    """Say whether events about a pod tell that its node was lost."""
    return any(event.reason == "NodeNotReady" for event in events)


def _is_starting(container: Object) -> bool:
    # Of one that was started again the events may be from before.
    running = "running" in (container.get("state") or {})
    return running and not container.get("started", True) and not container.get("restartCount")


def _pull(message: str, events: Sequence[Event]) -> Trouble:
    # Older kubelets say here only that they wait; why, they said in an event.
    told = next((e.message for e in reversed(events) if e.reason == "Failed" and "pull" in e.message.lower()), "")
    why = _AROUND.sub("", message if len(message) > len(told) else told or message)
    text = f"the image cannot be pulled: {shortened(why)}"
    if _NO_IMAGE.search(why):
        advice = "The registry has no such image: push it (invoke push-triton), or correct --image."
        return Trouble(text=text, advice=advice, hopeless=True)
    if _NO_LOGIN.search(why):
        advice = "The nodes may not pull it: give their role the right (docs/aws.md), or set imagePullSecrets."
        return Trouble(text=text, advice=advice, hopeless=True)
    advice = "Do the nodes reach the registry? Is its name right?"
    return Trouble(text=text, advice=advice, patience_s=PULL_S)


def _crash(container: Object) -> Trouble | None:
    state, before = container.get("state") or {}, container.get("lastState") or {}
    ended = state.get("terminated") or before.get("terminated")
    # An init container that ended well is done; a server that did so is started again, and then seen as waiting.
    if not ended or "running" in state or (state.get("terminated") or {}).get("exitCode") == 0:
        return None
    crashes = container.get("restartCount", 0) + 1
    why = ended.get("reason") or "Error"
    text = f"container {container['name']} ended with status {ended.get('exitCode')} ({why})"
    if ended.get("message"):
        text += f": {shortened(ended['message'])}"
    advice = "It takes more memory than its limit: raise resources.limits.memory." if why == "OOMKilled" else ""
    return Trouble(
        text=f"{text}, {crashes} times" if crashes > 1 else text,
        advice=advice,
        hopeless=crashes >= CRASHES,
        container=container["name"],
    )
