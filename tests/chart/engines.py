"""What renders the chart: Helm 4's engine from a wheel, on any machine, and the two programs where they are."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import attrs
import helm_python
import platformdirs
import yaml

from scripts.cluster.release.preflight import LOOKING
from tests.cluster.binaries import FAMILIES
from tests.image.ground import Missing

ROOT = Path(__file__).parent.parent.parent
CHART = ROOT / "helm" / "triton"
OURS = ROOT / "helm" / "values.yaml"

Manifest = dict[str, Any]
Values = Mapping[str, Any]


class Refused(Exception):  # noqa: N818 - what the chart does to bad values
    """The chart did not take the values; the text is what a person sees."""


@attrs.frozen
class Rendered:
    """What the chart made of some values.

    Attributes:
        manifests: All objects, those of hooks too.
        text: The same as they were written.
        notes: The text of NOTES.txt; empty where a program does not tell.
    """

    manifests: tuple[Manifest, ...]
    text: str
    notes: str = ""

    def all(self, kind: str) -> list[Manifest]:
        """Return the objects of one kind."""
        return [manifest for manifest in self.manifests if manifest["kind"] == kind]

    def one(self, kind: str, name: str | None = None) -> Manifest:
        """Return the only object of a kind, or the one of that name."""
        found = [m for m in self.all(kind) if name in (None, m["metadata"]["name"])]
        assert len(found) == 1, f"{len(found)} of kind {kind} named {name or 'anything'}"
        return found[0]

    @property
    def pod(self) -> dict[str, Any]:
        """The specification of the server's pods."""
        spec: dict[str, Any] = self.one("Deployment")["spec"]["template"]["spec"]
        return spec

    @property
    def container(self) -> dict[str, Any]:
        """The server's container."""
        container: dict[str, Any] = next(c for c in self.pod["containers"] if c["name"] == "triton")
        return container

    @property
    def agent(self) -> dict[str, Any]:
        """The agent's container."""
        container: dict[str, Any] = next(c for c in self.pod["initContainers"] if c["name"] == "agent")
        return container

    @property
    def plan(self) -> dict[str, Any]:
        """What the agent reads."""
        name = self.one("Deployment")["metadata"]["name"]
        plan: dict[str, Any] = json.loads(self.one("ConfigMap", f"{name}-plan")["data"]["plan.json"])
        return plan


class Engine(Protocol):
    """Renders the chart."""

    def render(
        self, values: Values, *, release: str = ..., namespace: str = ..., kubernetes: str | None = ...
    ) -> Rendered:
        """Render the chart, or raise `Refused`."""
        ...


class Library:
    """Helm 4's own engine, in this process; it takes the newest Kubernetes for granted."""

    def __init__(self) -> None:
        self._chart = helm_python.Chart.load(CHART)

    def render(
        self,
        values: Values,
        *,
        release: str = "triton-infer",
        namespace: str = "triton",
        kubernetes: str | None = None,
    ) -> Rendered:
        """Render the chart."""
        assert kubernetes is None, "the library cannot be told a version"
        try:
            self._chart.validate_schema(dict(values))
            files = self._chart.render(dict(values), name=release, namespace=namespace)
        except helm_python.HelmError as error:
            raise Refused(str(error)) from error
        notes = files.pop("triton/templates/NOTES.txt")
        texts = [text for name, text in sorted(files.items()) if name.endswith(".yaml")]
        return _rendered("\n---\n".join(texts), notes)


@attrs.frozen
class Program:
    """The program ``helm`` of one major version.

    Attributes:
        path: Where it is.
    """

    path: Path

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run it on its own: no user's configuration, no cluster."""
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": "/nonexistent", "KUBECONFIG": "/nonexistent"}
        return subprocess.run(
            [self.path, *arguments],
            input=stdin,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def render(
        self,
        values: Values,
        *,
        release: str = "triton-infer",
        namespace: str = "triton",
        kubernetes: str | None = "1.33",
        looking: bool = False,
    ) -> Rendered:
        """Render the chart with ``helm template``; *looking*: with what only an installation makes."""
        given = json.dumps(values)
        more = [f"--kube-version={kubernetes}", *([f"--api-versions={LOOKING}"] if looking else [])]
        done = self.run("template", release, str(CHART), f"--namespace={namespace}", *more, "--values=-", stdin=given)
        if done.returncode:
            raise Refused(done.stderr)
        return _rendered(done.stdout)


def _rendered(text: str, notes: str = "") -> Rendered:
    return Rendered(tuple(m for m in yaml.safe_load_all(text) if m is not None), text, notes)


def program(major: int) -> Program:
    """Return ``helm`` of a major version: HELM3 or HELM4 name it, or it is on PATH, or the tests of clusters built it.

    Raises:
        Missing: If it is nowhere.
    """
    family = next(family for family in FAMILIES if family.name == f"helm{major}")
    built = platformdirs.user_cache_path("triton-sdk") / "cluster-tools" / f"{family.name}-{family.key()}"
    for path in (os.environ.get(f"HELM{major}"), shutil.which("helm"), built / family.name / "helm"):
        if path and Path(path).exists() and _major(Path(path)) == major:
            return Program(Path(path))
    raise Missing(f"no helm {major} on PATH or in HELM{major}; `nox -s cluster` builds it")


def _major(path: Path) -> int:
    found = re.match(r"v(\d+)", Program(path).run("version", "--short").stdout)
    return int(found[1]) if found else 0
