"""Check a deployment: the checks of a server, through a port-forward to one pod or to each in turn."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import attrs

from scripts.cluster import serving
from scripts.cluster.admin import admin_headers
from scripts.cluster.agents import agents
from scripts.cluster.follows import Follows
from scripts.cluster.forward import Forwarding, forward
from scripts.cluster.kubectl import Kubectl
from scripts.cluster.pods import CONTAINER, Pod, pods_of, ready_pod
from scripts.cluster.says import ClusterFailure, gist
from scripts.cluster.target import Target
from scripts.host.errors import TaskFailure
from scripts.host.secret import Secret
from scripts.server.checks import check_server
from scripts.server.endpoint import Endpoint
from scripts.server.result import Result, State

_GPU_QUERY = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
_EXEC_TIMEOUT_S = 30.0
# What the chart restricts, and what Triton answers then.
_CLOSED, _FORBIDDEN = "/v2/repository/index", 403

Check = Callable[..., Iterator[Result]]
Forward = Callable[..., AbstractContextManager[Forwarding]]


def check_pods(
    kubectl: Kubectl,
    target: Target,
    *,
    repository: Path,
    all_pods: bool,
    progress: Callable[[str], None],
    forward: Forward = forward,
    check: Check = check_server,
) -> Iterator[Result]:
    """Check the pods of a release and yield each result as it comes.

    Args:
        kubectl: The cluster and the namespace.
        target: The release.
        repository: Where the packaged versions are: their manifests and golden data say what is right.
        all_pods: Check every pod, and fail those that are not ready, instead of one that is.
        progress: Takes a line for each stage.
        forward: Gives ports that lead to a pod.
        check: Checks one server.

    Raises:
        TaskFailure: If there is nothing to check, or it cannot be reached; the message says what to do.
    """
    pods = pods_of(kubectl, target)
    first = ready_pod(pods, of=f"release {target.release}")
    headers = admin_headers(kubectl, pods, progress=progress)
    ask = partial(_one, kubectl, headers, repository=repository, progress=progress, forward=forward, check=check)
    for pod in pods if all_pods else [first]:
        try:
            for result in ask(pod):
                yield attrs.evolve(result, pod=pod.name)
        except TaskFailure as error:
            if not all_pods:
                raise
            yield attrs.evolve(_result("port-forward", "failed", str(error)), pod=pod.name)
    if any(pod.agent for pod in pods):
        yield from served(kubectl, target, {pod.name for pod in pods if pod.ready}, progress=progress, forward=forward)


def served(
    kubectl: Kubectl, target: Target, ready: Collection[str], *, progress: Callable[[str], None], forward: Forward
) -> Iterator[Result]:
    """Check that every pod that gets requests serves the release's plan.

    Raises:
        TaskFailure: If the plan cannot be read.
    """
    if not (plans := serving.planned(kubectl, target)):
        return
    progress(f"Asking the agents of all pods for the plan, {serving.all_told(plans)}")
    with agents(kubectl, target, progress=progress, forward=forward) as found:
        for agent in found.look():
            if agent.pod in ready:
                try:
                    follows = Follows.of(agent.state(), serving.read_by(agent.pod, plans, agent.plan))
                    result = _result("serving plan", "ok" if follows.mark == "ok" else "failed", str(follows))
                except TaskFailure as error:
                    result = _result("serving plan", "failed", str(error))
                yield attrs.evolve(result, pod=agent.pod)


def _one(
    kubectl: Kubectl,
    headers: Mapping[str, Secret],
    pod: Pod,
    *,
    repository: Path,
    progress: Callable[[str], None],
    forward: Forward,
    check: Check,
) -> Iterator[Result]:
    if not pod.ready:
        yield _result("ready", "skipped" if pod.leaving else "failed", pod.reason)
        return
    progress(f"Forwarding ports to pod {pod.name}")
    with forward(kubectl, f"pod/{pod.name}", progress=progress) as forwarding:
        failed = False
        for result in _through(forwarding, partial(check, repository=repository, complete=False), headers):
            failed = failed or result.state == "failed"
            yield result
        if not failed and pod.key:
            yield closed(forwarding.endpoint({}), forwarding.endpoint(headers) if headers else None)
        if (failed or forwarding.trouble) and (gone := _gone(kubectl, pod)):
            yield _result("pod", "failed", gone)
            return
        if forwarding.trouble:
            yield _result("port-forward", "failed", forwarding.trouble)
    yield gpu(kubectl, pod)


def _through(
    forwarding: Forwarding, check: Callable[[Endpoint], Iterator[Result]], headers: Mapping[str, Secret]
) -> Iterator[Result]:
    """Yield each result once; what fails because the port-forward broke is checked anew when that works again."""
    done = 0
    for last in (False, False, True):
        restarts = forwarding.restarts
        for place, result in enumerate(check(forwarding.endpoint(headers))):
            if place < done:
                continue
            if result.state == "failed" and not last and forwarding.mended(restarts):
                break
            yield result
            done = place + 1
        else:
            return


def _gone(kubectl: Kubectl, pod: Pod) -> str:
    """Return that the pod was deleted meanwhile, which explains whatever failed; empty where it is still there."""
    try:
        leaving = Pod.parse(kubectl.json("get", "pod", pod.name, doing=f"look for the pod {pod.name}")).leaving
    except ClusterFailure as error:
        if error.cause != "not found":
            raise
        leaving = True
    return "the pod was deleted while it was checked: check another one (`invoke smoke-test`)" if leaving else ""


def closed(without: Endpoint, with_key: Endpoint | None) -> Result:
    """Check that the API which loads and lists models is closed without the key, and open with it.

    Args:
        without: The server, asked without the key.
        with_key: The server, asked with it; None where this login may not read it.
    """
    subject = "models' API"
    try:
        shut = without.post(_CLOSED, b"{}").status
        opened = with_key.post(_CLOSED, b"{}").status if with_key else None
    except TaskFailure as error:
        return _result(subject, "failed", str(error))
    if shut != _FORBIDDEN:
        said = f"it answers without the key (HTTP {shut}): whoever reaches the port can load and unload models"
        return _result(subject, "failed", said)
    if opened not in (None, 200):
        return _result(subject, "failed", f"it is closed even with the key (HTTP {opened}): were the pods restarted?")
    return _result(subject, "ok", "closed without the key" + (", open with it" if opened else "; the key is not ours"))


def gpu(kubectl: Kubectl, pod: Pod) -> Result:
    """Ask in *pod* which GPUs it has; skipped where it asked for none."""
    if not pod.gpus:
        return _result("nvidia-smi", "skipped", "the pod asks for no GPU")
    # Not through Kubectl.run, whose options would go to nvidia-smi.
    command = kubectl.command("exec", pod.name, f"--container={CONTAINER}", "--", *_GPU_QUERY)
    try:
        done = kubectl.patience.ask(lambda: kubectl.runner.capture(command, timeout_s=_EXEC_TIMEOUT_S))
    except TaskFailure as error:
        return _result("nvidia-smi", "failed", str(error))
    found = [line.strip() for line in done.output.splitlines() if line.strip()]
    if done.status or not found:
        said = gist(done.errors or done.output) or "no GPU"
        return _result("nvidia-smi", "failed", f"{said} (of the {pod.gpus} that it asked for)")
    return _result("nvidia-smi", "ok", "; ".join(found))


def _result(check: str, state: State, figure: str) -> Result:
    return Result(check=check, subject="pod", state=state, figure=figure)
