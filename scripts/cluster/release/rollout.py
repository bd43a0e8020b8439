"""Wait for a rollout: tell what happens, and end as soon as it is done or hopeless."""

import re
from collections.abc import Callable, Mapping, Sequence

import attrs

from scripts.cluster.kubectl import Kubectl
from scripts.cluster.progress import State
from scripts.cluster.says import ClusterFailure
from scripts.cluster.trouble import UNSCHEDULED_S, Event, Trouble, condition
from scripts.host.clock import Clock
from scripts.host.errors import TaskFailure
from scripts.host.secret import Secret, redact

INTERVAL_S = 2.0
# What is not there at once may come; so long, in seconds.
PATIENCE_S = 60.0
# Triton says why it gives up (E1122 ...) long before its last line: tables and all that it unloads come after that.
LOG_LINES, LOG_SHOWN = 300, 15
_QUOTED = re.compile(r'"[^"]*"')
_ERROR = re.compile(r"[EF]\d{4} |error: |fatal: ", re.I)
# What Triton says wherever there is no GPU, and starts all the same.
_NO_GPU = re.compile(r"CudaDriverHelper has not been initialized|Failed to initialize NVML")


@attrs.frozen(kw_only=True)
class Show:
    """Where progress goes.

    Attributes:
        line: Takes a line that stays.
        status: Takes a line that the next one replaces; a pipe never shows it.
    """

    line: Callable[[str], None]
    status: Callable[[str], None]


class RolloutFailure(TaskFailure):
    """Say why the new pods do not come up."""


@attrs.define(kw_only=True)
class Watch:
    """Looks at the Deployments of a release until they are done.

    Attributes:
        kubectl: Set to the namespace.
        names: The Deployments.
        least: How many pods the autoscaler of a Deployment keeps at least, by the names of those that have one.
        selector: The label that they, their ReplicaSets and their pods share; empty for all of the namespace.
        show: Where progress goes.
        clock: The time.
        hide: What must not be seen in the logs that a failure shows.
        look_further: Looks at what Kubernetes does not know; raises a `RolloutFailure` where waiting cannot help.
    """

    kubectl: Kubectl
    names: Sequence[str]
    least: Mapping[str, int] = attrs.field(factory=dict)
    selector: str = ""
    show: Show
    clock: Clock = attrs.field(factory=Clock)
    hide: Sequence[Secret] = ()
    look_further: Callable[[Sequence[State]], None] = lambda _: None
    _seen: set[str] = attrs.field(factory=set, init=False)
    _told: dict[str, str] = attrs.field(factory=dict, init=False)
    _since: dict[tuple[str, bool], float] = attrs.field(factory=dict, init=False)
    _scaled: bool = attrs.field(default=False, init=False)

    def begin(self) -> list[State]:
        """Look once, so that what happened before is not told as news, and return the Deployments that are there."""
        states, events = self._look()
        self._seen |= {event.number for event in events}
        self._told |= {pod.name: str(pod) for state in states for pod in state.pods if not pod.new}
        return states

    def wait(self, *, timeout_s: float) -> list[State]:
        """Wait until all Deployments are done, and return them.

        Raises:
            RolloutFailure: If that is hopeless, or takes longer than *timeout_s*; the message has cause and log.
            ClusterFailure: If the cluster refuses to be asked.
        """
        start = self.clock.now()
        silent = False
        while True:
            passed = self.clock.now() - start
            try:
                states, events = self._look()
                silent = False
            except ClusterFailure as error:
                # The API may be gone for long: an upgrade of the control plane, a network that is changed.
                if error.cause not in ("unreachable", "passing") or passed > timeout_s:
                    raise
                if not silent:
                    self.show.line(f"{str(error).splitlines()[0]} Trying again")
                silent = True
                self.clock.sleep(INTERVAL_S)
                continue
            self._tell(states, events)
            self.show.status(f"{', '.join(state.summary for state in states)}, {passed:.0f} of {timeout_s:.0f} s")
            absent = set(self.names) - {state.name for state in states}
            if not absent and self.is_done(states):
                return states
            if absent and passed > PATIENCE_S:
                raise RolloutFailure(f"There is no Deployment {', '.join(sorted(absent))}: has somebody removed it?")
            self._give_up(states)
            self.look_further(states)
            if passed > timeout_s:
                raise self._late(states, timeout_s)
            self.clock.sleep(INTERVAL_S)

    def is_done(self, states: Sequence[State]) -> bool:
        """Say whether Deployments are done; those with an autoscaler as far as there is room for its pods."""
        return all(state.whole or self._fills_its_room(state) for state in states)

    def _fills_its_room(self, state: State) -> bool:
        """Say whether all pods are done but those that an autoscaler asks for and no node takes.

        It asks for pods at any moment, whether there is room for them or not. If all pods were ready before it did,
        that is no matter of the rollout; else the room may only be about to be there, and is waited for.
        """
        if (least := self.least.get(state.name)) is None:
            return False
        now = self.clock.now()
        without = [pod for pod in state.pods if pod.new and pod.trouble and pod.trouble.unscheduled]
        if not state.proven:
            without = [p for p in without if now - self._since.get((f"pod {p.name}", True), now) > UNSCHEDULED_S]
        return state.renewed and state.available >= max(state.wanted - len(without), least, 1)

    def _give_up(self, states: Sequence[State]) -> None:
        """Raise a failure where waiting cannot help, or has not for long enough."""
        now = self.clock.now()
        # Pods that leave free what the new ones need, and so does a node that an autoscaler makes.
        may_fit = self._scaled or any(pod.leaving for state in states for pod in state.pods)
        there = {what: each for state in states for what, each in state.trouble if not (each.unscheduled and may_fit)}
        self._since = {key: self._since.get(key, now) for key in ((w, t.unscheduled) for w, t in there.items())}
        for what, trouble in there.items():
            if trouble.hopeless:
                raise self._failure(what, trouble)
            late = trouble.patience_s is not None and now - self._since[what, trouble.unscheduled] > trouble.patience_s
            if late and not (trouble.lost and self._is_back(what, states)):
                raise self._failure(what, trouble, after=f"for {trouble.patience_s:.0f} s")

    def _is_back(self, what: str, states: Sequence[State]) -> bool:
        """Say whether the node of a pod is ready again, of which an event says that it was not."""
        nodes = {f"pod {pod.name}": pod.node for state in states for pod in state.pods}
        try:
            found = self.kubectl.json("get", "node", nodes[what], doing="look at the node")
        except ClusterFailure:  # gone, or not for this login to see
            return False
        return condition(found.get("status") or {}, "Ready").get("status") == "True"

    def _look(self) -> tuple[list[State], list[Event]]:
        chosen = (f"--selector={self.selector}",) if self.selector else ()
        things = self.kubectl.json("get", "deployments,replicasets,pods", *chosen, doing="look at the pods")
        events = [Event.parse(item) for item in self.kubectl.json("get", "events", doing="look at the events")["items"]]
        found = [State.parse(name, things, events) for name in self.names]
        return [state for state in found if state is not None], events

    def _tell(self, states: Sequence[State], events: Sequence[Event]) -> None:
        """Show what is new."""
        pods = {pod.name for state in states for pod in state.pods}
        news = [e for e in events if e.number not in self._seen and _concerns(e, pods, self.names)]
        self._seen |= {event.number for event in events}
        self._scaled = self._scaled or any(event.scales for event in news)
        for event in news:
            # The same probe fails every few seconds, and each pod that is refused has another name: once is enough.
            text = _QUOTED.sub("", str(event))
            if event.is_told and self._told.get(text) is None:
                self.show.line(str(event))
                self._told[text] = text
        for state in states:
            for pod in state.pods:
                if self._told.get(pod.name) != str(pod):
                    self.show.line(str(pod))
                    self._told[pod.name] = str(pod)
            for what, trouble in state.trouble:
                if what.startswith("Deployment") and self._told.get(what) != trouble.text:
                    self.show.line(f"{what}: {trouble.text}")
                    self._told[what] = trouble.text

    def _failure(self, what: str, trouble: Trouble, *, after: str = "") -> RolloutFailure:
        said = f"{what}: {trouble.text}" + (f" ({after})" if after else "")
        if trouble.advice:
            said += f"\n{trouble.advice}"
        if trouble.container:
            said += self._log(what.removeprefix("pod "), trouble.container)
        return RolloutFailure(said)

    def _late(self, states: Sequence[State], timeout_s: float) -> RolloutFailure:
        waiting = [pod for state in states for pod in state.pods if pod.new and not pod.ready]
        said = f"The pods are not ready after {timeout_s:.0f} s (--timeout): " + "; ".join(s.summary for s in states)
        said += "".join(f"\n  {pod}" for pod in waiting[:5])
        if waiting and waiting[0].node:
            said += self._log(waiting[0].name, "")
        return RolloutFailure(said)

    def _log(self, pod: str, container: str) -> str:
        """Return the errors in a container's log, or else its last lines: of the run that failed."""
        which = (f"--container={container}",) if container else ()
        # Without --previous it is the last run that ended, unless the next one has begun.
        for previous in ((), ("--previous",)):
            try:
                lines = self.kubectl.text("logs", pod, *which, f"--tail={LOG_LINES}", *previous).strip().splitlines()
            except ClusterFailure:
                continue
            if lines and not lines[0].startswith("unable to retrieve container logs"):
                errors = [line for line in lines if _ERROR.match(line) and not _NO_GPU.search(line)]
                shown = "\n  ".join(redact(line, self.hide)[:400] for line in (errors or lines)[-LOG_SHOWN:])
                return f"\nIts last {'errors' if errors else 'lines'}:\n  {shown}"
        return ""


def _concerns(event: Event, pods: set[str], names: Sequence[str]) -> bool:
    # A ReplicaSet is called as its Deployment, with a hash after it.
    return event.about in pods or any(event.about == name or event.about.startswith(f"{name}-") for name in names)
