"""Pull a new image onto the nodes before an old pod goes, by pods that live no longer than that takes."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from scripts.cluster.kubectl import Kubectl
from scripts.cluster.objects import Workload
from scripts.cluster.release.rollout import INTERVAL_S, RolloutFailure, Show
from scripts.cluster.says import ClusterFailure, explain
from scripts.cluster.target import Target
from scripts.cluster.trouble import containers, of_pod
from scripts.host.clock import Clock
from scripts.host.secret import Secret

Object = Mapping[str, Any]
_COPIED = ("securityContext", "imagePullSecrets", "serviceAccountName", "runtimeClassName")


def pod(workload: Workload, *, node: str, name: str, target: Target) -> dict[str, Any]:
    """Return a pod that has the first image of *workload* pulled on *node*, and asks for as good as nothing there."""
    server = workload.pod["containers"][0]
    container = {
        "name": "pull",
        "image": server["image"],
        "command": ["true"],
        "imagePullPolicy": server.get("imagePullPolicy", "IfNotPresent"),
        "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}, "limits": {"cpu": "100m", "memory": "32Mi"}},
    }
    if "securityContext" in server:
        container["securityContext"] = server["securityContext"]
    key, _, value = target.owned.partition("=")
    # Not server: neither a Service nor a ReplicaSet may take it for its own.
    labels = {key: value, "app.kubernetes.io/component": "pull"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            **{key: workload.pod[key] for key in _COPIED if workload.pod.get(key)},
            "nodeName": node,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "tolerations": [{"operator": "Exists"}],
            "containers": [container],
        },
    }


def nodes_of(workload: Workload, pods: Iterable[Object]) -> list[str]:
    """Return the nodes on which pods of *workload* run now: there their successors will find room."""
    found = set()
    for each in pods:
        labels = each["metadata"].get("labels") or {}
        if workload.selector and workload.selector.items() <= labels.items():
            found.add((each.get("spec") or {}).get("nodeName", ""))
    return sorted(found - {""})


@attrs.frozen(kw_only=True)
class Puller:
    """Pulls images ahead.

    Attributes:
        target: For which release.
        kubectl: Set to it.
        show: Where progress goes.
        clock: The time.
    """

    target: Target
    kubectl: Kubectl
    show: Show
    clock: Clock

    def pull(self, workload: Workload, nodes: Sequence[str], *, timeout_s: float) -> None:
        """Have the image pulled on *nodes*, and wait for it.

        Where such pods are not allowed it is said, and the image is pulled when the new pods come.

        Raises:
            RolloutFailure: If the image cannot be had, or not in time: then no pod has gone yet.
            ClusterFailure: If the cluster cannot be asked.
        """
        named = {f"{workload.name}-pull-{number}": node for number, node in enumerate(nodes, 1)}
        start = self.clock.now()
        try:
            for name, node in named.items():
                self._begin(pod(workload, node=node, name=name, target=self.target))
            for name, node in named.items():
                self._wait(name, node, until=start + timeout_s)
        except ClusterFailure as error:
            if error.cause not in ("forbidden", "other"):
                raise
            self.show.line(f"Note: the image is not pulled ahead. {error}")
        else:
            self.show.line(f"The image is on {', '.join(nodes)} after {self.clock.now() - start:.0f} s")
        finally:
            self._end(list(named))

    def _begin(self, wanted: Object) -> None:
        self.show.line(f"Pulling the image on {wanted['spec']['nodeName']}, while the old pods serve")
        self._end([wanted["metadata"]["name"]], wait=True)
        command = self.kubectl.command("create", "--filename=-", stdin=Secret(json.dumps(wanted)))
        done = self.kubectl.patience.ask(lambda: self.kubectl.runner.capture(command))
        if done.status and "already exists" not in done.errors:  # of an attempt whose answer was lost
            raise explain(done.errors or done.output, doing="pull the image ahead")

    def _wait(self, name: str, node: str, *, until: float) -> None:
        while True:
            found = self.kubectl.json("get", "pod", name, doing="look at the pull of the image")
            status = found.get("status") or {}
            if any(each.get("imageID") for each in containers(status)):
                return
            if status.get("phase") == "Failed":  # the kubelet did not take it
                why = status.get("message") or status.get("reason")
                raise ClusterFailure(f"{node} did not take the pod {name}: {why}")
            trouble = of_pod(status, ())
            if trouble and trouble.hopeless:
                raise RolloutFailure(f"{trouble.text} (on {node})\n{trouble.advice}")
            if self.clock.now() > until:
                why = f": {trouble.text}" if trouble else ""
                raise RolloutFailure(f"The image is not on {node} in time (--timeout){why}")
            self.show.status(f"pulling the image on {node}")
            self.clock.sleep(INTERVAL_S)

    def _end(self, names: Sequence[str], *, wait: bool = False) -> None:
        gone = ("delete", "pod", *names, "--ignore-not-found", "--grace-period=0", f"--wait={str(wait).lower()}")
        self.kubectl.run(*gone)
