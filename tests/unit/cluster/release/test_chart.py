"""What is deployed and where: names, charts, images, values; from settings, from options."""

from pathlib import Path

import pytest

from scripts.cluster.helm import Helm
from scripts.cluster.release import needs
from scripts.cluster.release.chart import Chart, Installation, naming, values_files
from scripts.cluster.target import Target
from scripts.host.errors import TaskFailure
from scripts.host.settings import VARIABLES, Settings, load
from scripts.registry.ecr import MANIFESTS
from scripts.registry.reference import Reference
from tests.doubles.aws_stubs import ACCOUNT, REGION, ScriptedAws
from tests.doubles.kubernetes import DIGEST, Cluster

NOWHERE = Path("no-such-folder")


def settings(**variables: str) -> Settings:
    """Return the settings of an environment."""
    return load(NOWHERE, environ=variables)


def test_a_target_comes_from_options_then_settings_then_defaults() -> None:
    """An option wins over the environment, and without both the shared names hold."""
    assert Target.from_settings(settings()) == Target(release="triton-infer", namespace="triton", context=None)
    named = settings(TRITON_RELEASE="blue", TRITON_NAMESPACE="prod", KUBE_CONTEXT="arn:aws:eks:x:y:cluster/z")
    assert Target.from_settings(named, namespace="test") == Target(
        release="blue", namespace="test", context="arn:aws:eks:x:y:cluster/z"
    )


def test_a_target_knows_how_its_objects_are_found() -> None:
    """By labels that no value of the chart changes; and what a task must be told to find it."""
    assert Target().options == ""
    away = Target(release="blue", namespace="test", context="my cluster")
    assert away.options == " --release blue --namespace test --context 'my cluster'"
    assert Target(release="blue").selector == "app.kubernetes.io/instance=blue,app.kubernetes.io/component=server"


def test_an_option_that_is_no_name_is_refused() -> None:
    """It is told by the option's name."""
    with pytest.raises(TaskFailure, match="--namespace 'A b' is not a name"):
        Target.from_settings(settings(), namespace="A b")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", "line 5 has the key c again, which line 3 has already"),
        ("- {a: 1, a: 1}\n", "line 1 has the key a again"),
        ("a: {c: 1}\nb: {c: 1}\nx: &y {c: 1}\nz: {<<: *y, d: 1}\n", ""),
        ("a: [", ""),
        ("", ""),
    ],
)
def test_a_key_that_a_values_file_has_twice_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """Helm would take the last one without a word."""
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    if not said:
        assert values_files([str(file)]) == (str(file),)
        return
    with pytest.raises(TaskFailure, match=said):
        values_files([str(file)])


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("TRITON_RELEASE", ("a", "triton-infer", "a" * 53), ("-a", "a-", "A", "a" * 54, "a.b")),
        ("TRITON_NAMESPACE", ("a", "a" * 63), ("a_b", "a" * 64)),
        ("TRITON_CHART", ("helm/triton", "nvidia/triton", "oci://h:5000/x", "./x.tgz", "~/c"), ("-x", "a b", "oci://")),
        ("TRITON_CHART_VERSION", ("0.3.0", "1.0.0-rc.1", "1.0.0+b.2"), ("1", ">=1.0.0", "-x", "1.0.0 --devel")),
        ("TRITON_CHART_REPO", ("https://h/charts",), ("h/charts", "https://u:p@h", "http://h.example")),
    ],
)
def test_the_settings_of_a_deployment_are_checked(name: str, good: tuple[str, ...], bad: tuple[str, ...]) -> None:
    """What helm or kubectl would take for something else is refused."""
    assert [VARIABLES[name](value) for value in good] == [""] * len(good)
    assert all(VARIABLES[name](value) for value in bad)


def test_a_tag_takes_the_place_of_a_digest_in_the_values() -> None:
    """The chart prefers a digest: one of a values file must not win over --image."""
    assert naming(Reference.parse("h/a:1")) == ("image.repository=h/a", "image.digest=", "image.tag=1")
    assert naming(Reference.parse(f"h/a@{DIGEST}")) == ("image.repository=h/a", f"image.digest={DIGEST}")


def test_an_installation_gives_helm_its_arguments() -> None:
    """Files first, single values after them, the image last; an option of the user's never becomes one of Helm's."""
    installation = Installation(
        chart=Chart(name="c"),
        image=Reference.parse("h/a:1"),
        files=["a.yaml", "b.yaml"],
        values=["replicas=2"],
        cpu=True,
    )
    assert installation.by_name == (
        "c",
        "--values=a.yaml",
        "--values=b.yaml",
        "--set=gpu.enabled=false",
        "--set=replicas=2",
        "--set-string=image.repository=h/a",
        "--set-string=image.digest=",
        "--set-string=image.tag=1",
    )


def test_a_chart_of_a_repository_is_made_known_first() -> None:
    """REPOSITORY/NAME with an address: added, updated; and looked at by its address before that."""
    chart = Chart.from_settings(settings(TRITON_CHART="mine/triton", TRITON_CHART_REPO="https://h/charts"))
    helm = Helm(Cluster(answers={}), namespace="n")
    assert [" ".join(command.argv) for command in chart.preparation(helm)] == [
        "helm repo add mine https://h/charts --force-update",
        "helm repo update mine",
    ]
    assert chart.by_address == ("triton", "--repo=https://h/charts")
    assert chart.by_name == ("mine/triton",)


@pytest.mark.parametrize(
    ("variables", "name", "address"),
    [
        (
            {"TRITON_CHART": "mine/triton", "TRITON_CHART_REPO": "https://h/charts"},
            ("mine/triton",),
            ("triton", "--repo=https://h/charts"),
        ),
        ({"TRITON_CHART": "oci://h/triton"}, ("oci://h/triton",), ("oci://h/triton",)),
    ],
)
def test_a_version_is_chosen_for_every_command(
    variables: dict[str, str], name: tuple[str, ...], address: tuple[str, ...]
) -> None:
    """A promotion must not meet a newer chart than the deployment did."""
    chart = Chart.from_settings(settings(**variables, TRITON_CHART_VERSION="0.2.0"))
    assert chart.by_name == (*name, "--version=0.2.0")
    assert chart.by_address == (*address, "--version=0.2.0")
    assert str(chart) == f"{name[0]} 0.2.0"


def test_other_charts_need_no_repository(tmp_path: Path) -> None:
    """A folder and an OCI registry."""
    (tmp_path / "chart").mkdir()
    for name in (str(tmp_path / "chart"), "oci://h/triton"):
        chart = Chart.from_settings(settings(TRITON_CHART=name))
        assert (chart.name, chart.preparation(Helm(Cluster(answers={}), namespace="n"))) == (name, ())
    assert Chart.from_settings(settings(TRITON_CHART="chart"), root=tmp_path).name == str(tmp_path / "chart")


@pytest.mark.parametrize(
    ("variables", "saying"),
    [
        ({"TRITON_CHART": "no/such"}, "There is no chart no/such"),
        ({"TRITON_CHART_REPO": "https://h/charts"}, "TRITON_CHART is REPOSITORY/NAME"),
        ({"TRITON_CHART_VERSION": "0.3.0"}, "helm/triton lies on this machine. Take the variable out"),
        ({"TRITON_CHART": "oci://h/x", "TRITON_CHART_REPO": "https://h/charts"}, "TRITON_CHART is REPOSITORY/NAME"),
    ],
)
def test_a_chart_that_cannot_be_is_refused(variables: dict[str, str], saying: str) -> None:
    """With what to correct."""
    with pytest.raises(TaskFailure, match=saying):
        Chart.from_settings(settings(**variables))


def test_values_files_must_be_there(tmp_path: Path) -> None:
    """All that are missing are named; where none is given, this deployment's own is taken."""
    (tmp_path / "a.yaml").write_text("")
    assert values_files([str(tmp_path / "a.yaml")]) == (str(tmp_path / "a.yaml"),)
    with pytest.raises(TaskFailure, match=r"no b\.yaml and no c\.yaml"):
        values_files(["b.yaml", "c.yaml"], root=tmp_path)
    assert values_files([])[0].endswith("helm/values.yaml")


def test_an_image_in_ecr_is_looked_for_by_its_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    """There: nothing to say. Not there: a problem. No access: a note, since the nodes pull with a role of their own."""
    reference = Reference.parse(f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/triton-infer@{DIGEST}")
    asked = {
        "registryId": ACCOUNT,
        "repositoryName": "triton-infer",
        "imageIds": [{"imageDigest": DIGEST}],
        "acceptedMediaTypes": list(MANIFESTS),
    }
    script = ScriptedAws()
    monkeypatch.setattr("scripts.registry.ecr.aws.open_access", lambda _: script.access)
    script.ecr("batch_get_image", {"images": [{"imageManifest": "{}"}]}, asked)
    assert needs.image(reference, settings()) == ("", "")
    script.ecr("batch_get_image", {"images": []}, asked)
    wrong, unknown = needs.image(reference, settings())
    assert DIGEST in wrong
    assert "push-triton" in wrong
    assert not unknown
    script.close()

    def refuse(_: Settings) -> None:
        raise TaskFailure("No credentials.")

    monkeypatch.setattr("scripts.registry.ecr.aws.open_access", refuse)
    assert needs.image(reference, settings()) == ("", "The image is not checked. No credentials.")


def test_an_image_elsewhere_is_not_looked_for() -> None:
    """Another registry is the nodes' business; that is said."""
    wrong, unknown = needs.image(Reference.parse(f"127.0.0.1:5000/x@{DIGEST}"), settings())
    assert not wrong
    assert "127.0.0.1:5000 is not ECR" in unknown


def test_what_is_not_given_lies_in_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a chart and values of its own is not taken for the repository; what is given is seen first."""
    root, here = tmp_path / "root", tmp_path / "root" / "other"
    for folder in (root, here):
        (folder / "helm" / "triton").mkdir(parents=True)
        (folder / "helm" / "values.yaml").write_text("a: 1\n")
    monkeypatch.chdir(here)
    assert Chart.from_settings(settings(), root=root).name == str(root / "helm" / "triton")
    assert Chart.from_settings(settings(TRITON_CHART="helm/triton"), root=root).name == str(root / "helm" / "triton")
    assert values_files([], root=root) == (str(root / "helm" / "values.yaml"),)
    assert values_files(["helm/values.yaml"], root=root) == (str(here / "helm" / "values.yaml"),)
