"""What a deployment tells at its end: a release that runs."""

from collections.abc import Sequence

import attrs

from scripts.cluster.progress import State
from scripts.cluster.release.preflight import Planned
from scripts.cluster.target import Target, Where
from scripts.host.shell import Command

# HTTP and gRPC.
_PORTS = {"8000", "8001"}


@attrs.frozen(kw_only=True)
class Outcome:
    """A release that runs.

    Attributes:
        target: Which.
        where: In which cluster.
        revision: Its revision.
        changed: Whether this deployment changed it.
        planned: What it consists of.
        states: Its Deployments.
    """

    target: Target
    where: Where
    revision: int
    changed: bool
    planned: Planned
    states: Sequence[State]

    @property
    def rows(self) -> list[tuple[str, str]]:
        """What a person wants to know of it."""
        pods = [pod for state in self.states for pod in state.pods if not pod.leaving]
        devices: dict[str, int] = {}
        for workload in self.planned.rendered.workloads:
            for name, count in workload.devices.items():
                devices[name] = devices.get(name, 0) + count * workload.replicas
        services = [
            f"{s['metadata']['name']}.{self.target.namespace}:"
            + ",".join(str(port["port"]) for port in s["spec"].get("ports") or ())
            for s in self.planned.rendered.named("Service")
        ]
        return [
            ("release", f"{self.target.release} in namespace {self.target.namespace}"),
            ("revision", f"{self.revision}{'' if self.changed else ', unchanged'}"),
            ("image", self.planned.rendered.image),
            ("pods ready", f"{sum(s.ready for s in self.states)} of {sum(s.wanted for s in self.states)}"),
            ("on nodes", ", ".join(sorted({pod.node for pod in pods if pod.node})) or "none"),
            ("GPUs", ", ".join(f"{count} {name}" for name, count in devices.items()) or "none"),
            ("endpoints", "\n".join(services)),
        ]

    @property
    def next_steps(self) -> list[str]:
        """The commands that come next."""
        steps = [f"invoke smoke-test{self.target.options}"]
        for service in self.planned.rendered.named("Service"):
            ports = {str(port["port"]) for port in service["spec"].get("ports") or ()}
            if ports >= _PORTS and service["spec"].get("clusterIP") != "None":
                kubectl = ("kubectl", *self.where.kubectl, f"--namespace={self.target.namespace}")
                name = f"service/{service['metadata']['name']}"
                steps.append(str(Command((*kubectl, "port-forward", name, *sorted(_PORTS)))))
        return steps
