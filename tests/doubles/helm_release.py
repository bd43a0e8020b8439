"""A release of Helm in memory: values of each revision, and the serving plan that the chart makes of them."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from scripts.agent.plan import Plan
from scripts.cluster.helm import Helm
from scripts.cluster.kubectl import Kubectl
from scripts.cluster.release.record import ATTEMPTED, READY
from scripts.cluster.target import Target
from scripts.host.shell import Command, Completed
from tests.doubles.kubernetes import NAME, WHERE, deployment, text

TARGET = Target()


@attrs.define(kw_only=True)
class HelmRelease:
    """Runs kubectl and helm.

    Attributes:
        revisions: The values of each revision, the oldest first.
        image: The image that the chart's Deployment has; another one than deployed is another chart's.
        status: The state of the last revision.
        notes: The annotations of the Deployment.
        meanwhile: Called before an upgrade begins.
        afterwards: Called when it has ended.
        live: What the cluster has of the Deployment; None: what was deployed.
        beside: Further ConfigMaps with plans, of other charts in one umbrella.
        ran: What was run.
    """

    revisions: list[dict[str, Any]]
    image: str = "one"
    status: str = "deployed"
    notes: dict[str, str] = attrs.field(factory=lambda: {READY: "1"})
    meanwhile: Callable[[], None] = lambda: None
    afterwards: Callable[[], None] = lambda: None
    live: dict[str, Any] | None = None
    beside: Sequence[dict[str, Any]] = ()
    ran: list[str] = attrs.field(factory=list)

    @property
    def kubectl(self) -> Kubectl:
        """The kubectl that asks it."""
        return Kubectl(self, where=WHERE, namespace="triton")

    @property
    def helm(self) -> Helm:
        """The helm that changes it."""
        return Helm(self, where=WHERE, namespace="triton")

    @property
    def plan(self) -> Plan:
        """The plan that the pods read."""
        return Plan.parse(plan_of(self.revisions[-1])["data"]["plan.json"])

    def capture(self, command: Command, *, timeout_s: float = 30.0) -> Completed:
        """Answer."""
        assert timeout_s > 0
        words = [word for word in command.argv if not word.startswith(("--context", "--server=", "--namespace="))]
        options = dict(word.partition("=")[::2] for word in words if word.startswith("--"))
        line = " ".join(word for word in words if not word.startswith("--"))
        self.ran.append(line)
        values = json.loads(command.stdin.reveal()) if command.stdin else {}
        return Completed(status=0, output=self._answer(line, options, values))

    def stream(self, command: Command, *, show: Callable[[str], None]) -> Completed:
        """Answer."""
        del show
        return self.capture(command)

    def _answer(self, line: str, options: Mapping[str, str], values: dict[str, Any]) -> str:
        match line.split()[:3]:
            case ["helm", "version", *_]:
                return "v4.3.1"
            case ["helm", "history", *_]:
                states = ["superseded"] * (len(self.revisions) - 1) + [self.status]
                found = [{"revision": n, "status": s} for n, s in enumerate(states, 1)] if self.revisions else []
                return json.dumps(found)
            case ["helm", "get", "values"]:
                return json.dumps(self.revisions[int(options.get("--revision", len(self.revisions))) - 1])
            case ["helm", "get", "manifest"]:
                return text(*self._objects(self.revisions[-1], image="one"))
            case ["helm", "upgrade", *_] if "--dry-run" in options:
                return json.dumps({"manifest": text(*self._objects(values, image=self.image))})
            case ["helm", "upgrade", *_]:
                self.meanwhile()
                self.revisions.append(values)
                self.afterwards()
                return ""
            case ["helm", "rollback", _]:
                self.revisions.append(self.revisions[int(line.split()[3]) - 1])
                return ""
            case ["kubectl", "get", "configmaps"]:
                return json.dumps({"items": [*map(plan_of, self.revisions[-1:]), *self.beside]})
            case ["kubectl", "get", "deployments"]:
                return json.dumps({"items": [{"metadata": {"annotations": self.notes}}]})
            case ["kubectl", "get", what] if "/" in what:
                return json.dumps({"items": [self.live or deployment(replicas=self.revisions[-1].get("replicas", 1))]})
            case ["kubectl", "annotate", "deployments"]:
                for word in line.split()[3:]:
                    key, _, value = word.partition("=")
                    self.notes[key] = value
                    if key.endswith("-"):
                        self.notes = {k: v for k, v in self.notes.items() if k not in (key, ATTEMPTED)}
                return ""
        raise AssertionError(f"no answer to: {line}")

    def _objects(self, values: Mapping[str, Any], *, image: str) -> Sequence[dict[str, Any]]:
        return [deployment(image=image, replicas=values.get("replicas", 1)), plan_of(values)]


def plan_of(values: Mapping[str, Any], *, name: str = f"{NAME}-plan") -> dict[str, Any]:
    """Return the ConfigMap with the plan, as the chart renders it: every model that the values name."""
    parts = {
        name: {"serve": part.get("serve") or [], "candidate": part.get("candidate"), "digests": part.get("digests", {})}
        for name, part in values.get("models", {}).items()
    }
    plan = {"schema": 1, "generation": values.get("plan", {}).get("generation", 0), "models": parts}
    data = {"plan.json": json.dumps(plan)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
