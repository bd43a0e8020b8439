"""Whatever the values: the objects are valid, fit together, and are the same from every Helm."""

from functools import cache
from typing import Any

import helm_python
import kubernetes_validate
import pytest

from tests.chart.cases import ALL, CASES, LEAST, Values, merge
from tests.chart.engines import CHART, OURS, Library, Manifest, Program, Rendered
from tests.chart.rules import problems

VERSIONS = [v for v in kubernetes_validate.utils.all_versions() if tuple(map(int, v.split(".")))[:2] >= (1, 30)]
# Kinds that Kubernetes itself does not know: tests of their own say what they must be.
FOREIGN = {"ScaledObject", "ServiceMonitor", "PodMonitor", "PrometheusRule", "HTTPRoute", "GRPCRoute"}


@pytest.fixture(scope="module", autouse=True)
def _read_schemas_once() -> Any:
    """Keep the schemas, which the validator would read again from disk for every object."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kubernetes_validate.utils, "schema_contents", cache(kubernetes_validate.utils.schema_contents))
        yield


def _valid(manifest: Manifest, version: str) -> None:
    try:
        kubernetes_validate.validate(manifest, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        place = "/".join(map(str, error.path))
        pytest.fail(f"{manifest['kind']} {manifest['metadata']['name']} for {version}, at {place}: {error.message}")


def _keyless(rendered: Rendered) -> dict[tuple[str, str], Manifest]:
    """Return the objects by kind and name, without the generated key."""
    found = {}
    for manifest in rendered.manifests:
        if manifest["kind"] == "Secret":
            manifest = merge(manifest, {"data": {"key": ""}})
        found[manifest["kind"], manifest["metadata"]["name"]] = manifest
    return found


@pytest.mark.parametrize("values", CASES.values(), ids=CASES.keys())
def test_every_case_is_valid_and_fits_together(library: Library, values: Values) -> None:
    """The oldest and the newest Kubernetes take the objects strictly, and our own checks find nothing."""
    rendered = library.render(values)
    assert problems(rendered.manifests) == []
    for manifest in rendered.manifests:
        if manifest["kind"] not in FOREIGN:
            _valid(manifest, VERSIONS[0])
            _valid(manifest, VERSIONS[-1])


@pytest.mark.parametrize("version", VERSIONS[1:-1])
def test_every_version_in_between_takes_all_flags(library: Library, version: str) -> None:
    """With all flags the objects are valid for each version of Kubernetes between the oldest and the newest."""
    for manifest in library.render(ALL).manifests:
        if manifest["kind"] not in FOREIGN:
            _valid(manifest, version)


def test_all_flags_bring_every_kind(library: Library) -> None:
    """The case with all flags leaves no template out but those that exclude each other."""
    kinds = {manifest["kind"] for manifest in library.render(ALL).manifests}
    assert kinds == {
        *("Deployment", "Service", "ServiceAccount", "Secret", "ConfigMap", "HorizontalPodAutoscaler"),
        *("PodDisruptionBudget", "NetworkPolicy", "Ingress", "Pod"),
        *(FOREIGN - {"ScaledObject", "PodMonitor"}),
    }


@pytest.mark.parametrize(
    "name", ["gpu", "cpu", "cpu, 3 replicas", "keda", "pod monitor", "no memory limit", "any user", "all"]
)
def test_both_programs_render_the_same(library: Library, helm: Program, name: str) -> None:
    """Helm 3 and Helm 4 make of the values what the library makes of them."""
    assert _keyless(helm.render(CASES[name])) == _keyless(library.render(CASES[name]))


@pytest.mark.parametrize("values", [CASES["gpu"], CASES["cpu"], ALL], ids=["gpu", "cpu", "all"])
def test_lint_has_nothing_to_say(values: Values) -> None:
    """`helm lint --strict` finds nothing but that the chart has no icon."""
    report = helm_python.lint(CHART, dict(values), strict=True, kube_version="v1.33.0")
    assert report["errors"] == []
    assert [m["error"] for m in report["messages"]] == ["icon is recommended"]


def test_the_programs_lint_it(helm: Program) -> None:
    """The programs' `lint --strict` passes, with all defaults and with this deployment's values."""
    for values in ((), (f"--values={OURS}",)):
        done = helm.run("lint", str(CHART), "--strict", *values)
        assert done.returncode == 0, done.stdout + done.stderr


def test_rendering_twice_gives_the_same_but_for_the_key(library: Library) -> None:
    """Nothing in the objects depends on chance or time, except the generated admin key."""
    first, second = library.render(ALL), library.render(ALL)
    assert first.one("Secret")["data"] != second.one("Secret")["data"]
    assert _keyless(first) == _keyless(second)
    assert first.notes == second.notes


@pytest.mark.parametrize(
    "releases", [("triton-infer", "triton-next"), ("a", "b"), ("triton", "vision"), ("x", "triton-x")]
)
def test_two_releases_in_one_namespace_do_not_meet(library: Library, releases: tuple[str, str]) -> None:
    """Two releases share no object's name and select none of each other's pods."""
    one, other = (library.render(ALL, release=release) for release in releases)
    assert not _keyless(one).keys() & _keyless(other).keys()
    selector = one.one("Deployment")["spec"]["selector"]["matchLabels"]
    labels = other.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert not selector.items() <= labels.items()


def test_the_longest_name_is_still_valid(library: Library) -> None:
    """A name of 46 characters makes valid names everywhere, and one of 47 is refused (see the bad values)."""
    assert problems(library.render(ALL, release="r" * 39).manifests) == []
    assert library.render(ALL, release="r" * 39).one("Deployment")["metadata"]["name"] == "r" * 39 + "-triton"


def test_this_deployments_values_are_taken(library: Library) -> None:
    """helm/values.yaml, with the image that deploy-triton adds, renders and fits together."""
    rendered = library.render(merge(helm_python.values_from_yaml(OURS.read_text(encoding="utf-8")), LEAST))
    assert problems(rendered.manifests) == []
    assert rendered.container["readinessProbe"]["httpGet"]["path"] == "/v2/models/resnet50/versions/1/ready"
