"""What the objects are called: by any release, in any umbrella, under any alias."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.cluster.pods import server_of
from scripts.cluster.target import Target
from tests.chart.cases import ALL, LEAST, Values, merge
from tests.chart.engines import CHART, Library, Manifest, Program, Rendered
from tests.chart.rules import problems

NAMES = ["triton", "triton-infer", "vision", "on", "null", "yes", "2024", "0x1f", "1e3", "12e03", "2triton"]


@pytest.mark.parametrize("release", NAMES)
def test_any_release_gets_names_that_the_tasks_know(library: Library, release: str) -> None:
    """Names that look like numbers or truth values stay text, begin with a letter, and are what the tasks look for."""
    target = Target(release=release)
    rendered = library.render(ALL, release=release, namespace=release)
    assert problems(rendered.manifests) == []
    assert _found_by_tasks(rendered, target)
    assert {m["metadata"]["namespace"] for m in rendered.manifests} == {release, "monitoring", "grafana"}
    assert [text for text in _named(rendered.manifests) if not isinstance(text, str)] == []


@pytest.mark.parametrize("release", ["on", "0x1f"])
def test_the_programs_take_such_names_too(helm: Program, library: Library, release: str) -> None:
    """What Helm's programs make of such a release is what the library makes."""
    manifests = (engine.render(ALL, release=release, namespace="2024").manifests for engine in (helm, library))
    one, other = ({(m["kind"], m["metadata"]["name"]): m for m in each} for each in manifests)
    assert one == other


def _found_by_tasks(rendered: Rendered, target: Target) -> bool:
    """Say whether the tasks find the Deployment and its pods, by their labels and the server's container."""
    deployment = rendered.one("Deployment")
    pod = deployment["spec"]["template"]
    selected = dict(pair.split("=") for pair in target.selector.split(",")).items()
    both = [each["metadata"]["labels"] for each in (deployment, pod)]
    return all(selected <= labels.items() for labels in both) and bool(server_of(pod["spec"]))


def _named(manifests: tuple[Manifest, ...]) -> list[object]:
    """Return all that stands under keys whose values Kubernetes takes as text only."""
    found: list[object] = []

    def walk(part: Any) -> None:
        for key, inner in part.items() if isinstance(part, dict) else ():
            if key in ("labels", "matchLabels", "annotations"):
                found.extend(inner.values())
            elif key in ("name", "namespace", "serviceAccountName", "host"):
                found.append(inner)
            walk(inner)
        for inner in part if isinstance(part, list) else ():
            walk(inner)

    for manifest in manifests:
        walk(manifest)
    return found


@pytest.mark.parametrize(
    ("values", "name", "label"),
    [
        ({"nameOverride": "vision"}, "triton-infer-vision", "vision"),
        ({"nameOverride": "infer"}, "triton-infer", "infer"),
        ({"fullnameOverride": "classifier"}, "classifier", "triton"),
        ({"fullnameOverride": "classifier", "nameOverride": "vision"}, "classifier", "vision"),
    ],
)
def test_names_can_be_chosen(library: Library, values: Values, name: str, label: str) -> None:
    """The overrides name the objects and the label by which pods are selected; the tasks find them all the same."""
    rendered = library.render(merge(LEAST, values))
    assert rendered.one("Deployment")["metadata"]["name"] == name
    assert rendered.one("Deployment")["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"] == label
    assert _found_by_tasks(rendered, Target())


def _umbrella(folder: Path, values: Values, *aliases: str, condition: str = "") -> Path:
    """Make a chart that has this one in it, once or by several aliases."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    entry = {"name": "triton", "version": chart["version"], "repository": ""}
    entries = [entry | {"alias": alias} for alias in aliases] or [entry]
    if condition:
        entries = [each | {"condition": condition} for each in entries]
    about = {"apiVersion": "v2", "name": "umbrella", "version": "1.0.0", "dependencies": entries}
    (folder / "Chart.yaml").write_text(json.dumps(about), encoding="utf-8")
    (folder / "values.yaml").write_text(json.dumps(values), encoding="utf-8")
    shutil.copytree(CHART, folder / "charts" / "triton")
    return folder


def _rendered(helm: Program, chart: Path) -> list[Manifest]:
    done = helm.run("template", "platform", str(chart), "--namespace=models", "--kube-version=1.33")
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def test_an_umbrella_speaks_for_all_its_charts(helm: Program, tmp_path: Path) -> None:
    """In an umbrella the chart takes its registry and pull secrets; other globals do not disturb it."""
    globals_ = {"imageRegistry": "mirror.example.com", "imagePullSecrets": ["pull"], "stage": "test"}
    manifests = _rendered(helm, _umbrella(tmp_path, {"global": globals_, "triton": {**LEAST, "enabled": True}}))
    assert problems(manifests) == []
    (pod,) = (m["spec"]["template"]["spec"] for m in manifests if m["kind"] == "Deployment")
    assert pod["containers"][0]["image"].startswith("mirror.example.com/triton-infer@sha256:")
    assert pod["imagePullSecrets"] == [{"name": "pull"}]


@pytest.mark.parametrize("enabled", [True, False])
def test_an_umbrella_can_leave_it_out(helm: Program, tmp_path: Path, enabled: bool) -> None:
    """`enabled` is the umbrella's condition, and a value that the schema knows."""
    chart = _umbrella(tmp_path, {"triton": {**LEAST, "enabled": enabled}}, condition="triton.enabled")
    assert bool(_rendered(helm, chart)) is enabled


@pytest.mark.parametrize("aliases", [("resnet", "mobilenet"), ("plat", "form"), ("triton", "second")])
def test_the_chart_may_be_there_twice_by_alias(helm: Program, tmp_path: Path, aliases: tuple[str, str]) -> None:
    """Two of it in one release share no name and select none of each other's pods, empty sections included."""
    values = {aliases[0]: {**LEAST, "gpu": None}, aliases[1]: {**LEAST, "gpu": {"enabled": False}, "metrics": None}}
    manifests = _rendered(helm, _umbrella(tmp_path, values, *aliases))
    names = [(m["kind"], m["metadata"]["name"]) for m in manifests]
    assert len(names) == len(set(names)) == 12
    first, second = (m["spec"] for m in manifests if m["kind"] == "Deployment")
    assert (
        first["template"]["spec"]["containers"][0]["resources"]
        != second["template"]["spec"]["containers"][0]["resources"]
    )
    for one, other in ((first, second), (second, first)):
        assert not one["selector"]["matchLabels"].items() <= other["template"]["metadata"]["labels"].items()
    for service in (m["spec"]["selector"] for m in manifests if m["kind"] == "Service"):
        assert sum(service.items() <= spec["template"]["metadata"]["labels"].items() for spec in (first, second)) == 1
