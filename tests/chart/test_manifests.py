"""Whatever the values: the objects are valid, fit together, and are the same from every Helm."""

from functools import cache
from typing import Any

import helm_python
import kubernetes_validate
import pytest

from tests.chart.cases import ALL, CASES, LEAST, Values, merge, without_agent
from tests.chart.combinations import COMBINATIONS
from tests.chart.engines import CHART, OURS, Library, Manifest, Program, Rendered
from tests.chart.rules import problems


def _minor(version: str) -> int:
    return int(version.split(".")[1])


# Helm's engine takes the newest Kubernetes for granted; for those before 1.30 the chart makes other objects.
VERSIONS = [v for v in kubernetes_validate.utils.all_versions() if _minor(v) >= 30]
OLDER = [v for v in kubernetes_validate.utils.all_versions() if 25 <= _minor(v) < 30]
# What Kubernetes itself has only since then.
SINCE = {"claims": 31}
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


def _by_name(rendered: Rendered) -> dict[tuple[str, str], Manifest]:
    return {(manifest["kind"], manifest["metadata"]["name"]): manifest for manifest in rendered.manifests}


@pytest.mark.parametrize("name", CASES)
def test_every_case_is_valid_and_fits_together(library: Library, name: str) -> None:
    """The oldest and the newest Kubernetes take the objects strictly, and our own checks find nothing."""
    rendered = library.render(CASES[name])
    assert problems(rendered.manifests) == []
    fitting = [version for version in VERSIONS if _minor(version) >= SINCE.get(name, 0)]
    for manifest in rendered.manifests:
        if manifest["kind"] not in FOREIGN:
            _valid(manifest, fitting[0])
            _valid(manifest, fitting[-1])


def test_there_are_as_many_combinations_as_the_table_says() -> None:
    """The table of what other people's clusters need has 51 rows, each of them another."""
    assert len(COMBINATIONS) == len({str(values) for values in COMBINATIONS.values()}) == 51


@pytest.mark.parametrize("version", OLDER)
def test_every_older_version_takes_all_flags(helm: Program, version: str) -> None:
    """What is rendered for a version from 1.25 on, that version takes strictly."""
    values = ALL if _minor(version) >= 29 else without_agent(ALL)
    for manifest in helm.render(values, kubernetes=version).manifests:
        if manifest["kind"] not in FOREIGN:
            _valid(manifest, version)


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
        *("Deployment", "Service", "ServiceAccount", "ConfigMap", "HorizontalPodAutoscaler"),
        *("PodDisruptionBudget", "NetworkPolicy", "Ingress", "Pod"),
        *(FOREIGN - {"ScaledObject", "PodMonitor"}),
    }


@pytest.mark.parametrize(
    "name", ["gpu", "cpu", "cpu, 3 replicas", "keda", "pod monitor", "no memory limit", "any user", "all"]
)
def test_both_programs_render_the_same(library: Library, helm: Program, name: str) -> None:
    """Helm 3 and Helm 4 make of the values what the library makes of them."""
    assert _by_name(helm.render(CASES[name])) == _by_name(library.render(CASES[name]))


@pytest.mark.parametrize("values", [CASES["gpu"], CASES["cpu"], ALL], ids=["gpu", "cpu", "all"])
def test_lint_has_nothing_to_say(values: Values) -> None:
    """`helm lint --strict` finds nothing at all."""
    report = helm_python.lint(CHART, dict(values), strict=True, kube_version="v1.33.0")
    assert report["errors"] == []
    assert report["messages"] == []


def test_the_programs_lint_it(helm: Program) -> None:
    """The programs' `lint --strict` passes, with all defaults and with this deployment's values."""
    for values in ((), (f"--values={OURS}",)):
        done = helm.run("lint", str(CHART), "--strict", *values)
        assert done.returncode == 0, done.stdout + done.stderr


def test_rendering_twice_gives_the_same(library: Library) -> None:
    """Nothing in the objects depends on chance or time, so that GitOps finds nothing to do."""
    first, second = library.render(ALL), library.render(ALL)
    assert first.text == second.text
    assert first.notes == second.notes


@pytest.mark.parametrize(
    "releases", [("triton-infer", "triton-next"), ("a", "b"), ("triton", "vision"), ("x", "triton-x")]
)
def test_two_releases_in_one_namespace_do_not_meet(library: Library, releases: tuple[str, str]) -> None:
    """Two releases share no object's name and select none of each other's pods."""
    one, other = (library.render(ALL, release=release) for release in releases)
    assert _by_name(one).keys() & _by_name(other).keys() == {("ConfigMap", "tuning")}, "only what the user names"
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
    assert rendered.agent["image"] == rendered.container["image"]
