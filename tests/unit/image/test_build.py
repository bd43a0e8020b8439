"""What an image is asked to be, what a failure means, and what is read from the engine: without Docker."""

import json
import re
import sys
from pathlib import Path

import attrs
import pytest

from scripts.agent.files import File
from scripts.host.errors import TaskFailure
from scripts.host.settings import BASE_IMAGE
from scripts.host.shell import Completed
from scripts.image import build, commit, engine, layers, says
from scripts.image.build import Order, Recipe
from scripts.image.built import inspect
from scripts.image.commit import Revision
from scripts.image.engine import LocalImage
from scripts.image.layers import Models, ModelVersion
from tests.doubles.runners import ENGINE, NoProgram, Script, package_flowers
from triton_sdk import __version__

DOCKER = Path(build.__file__).parents[2] / "docker"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Package a small classifier in two versions."""
    return package_flowers(tmp_path_factory.mktemp("packaged"))


def some_models(*versions: tuple[str, int]) -> Models:
    """Return versions that exist by name only."""
    return Models(
        repository=Path("models"),
        versions=tuple(
            ModelVersion(
                model=m, version=v, folder=Path("models", m, str(v)), files={"model.onnx": File(f"{v:064x}", 1)}
            )
            for m, v in versions
        ),
        configs=(),
    )


SOURCE = Revision(commit=COMMIT, created="2026-01-01T00:00:00Z")


def commands(order: Order) -> list[list[str]]:
    """Return the argument lists that build *order* as ``n:t``, without the labels."""
    recipe = Recipe(order=attrs.evolve(order, tag="n:t"), models=some_models(("m", 1)), revision=SOURCE)
    made = recipe.commands(Path("/c"))
    assert {f"--label={key}={value}" for key, value in recipe.labels.items()} <= set(made[-1].argv)
    return [[argument for argument in command.argv if not argument.startswith("--label=")] for command in made]


def test_the_production_image_is_one_build_with_labels_last() -> None:
    """The base, its digest, the labels and the name are arguments; the context is the staged folder."""
    order = Order(repository=Path("m"), base="host/triton:1@sha256:abc", platform="linux/amd64")
    assert commands(order) == [
        [
            *("docker", "build", "--platform=linux/amd64"),
            *("--build-arg=BASE=host/triton:1", "--build-arg=BASE_DIGEST=sha256:abc"),
            *("--tag=n:t", "/c/image"),
        ]
    ]


def test_a_slim_image_is_built_on_a_slim_base() -> None:
    """The first build makes the base of the second."""
    first, second = commands(Order(repository=Path("m"), kind="slim"))
    assert f"--build-arg=BASE={BASE_IMAGE}" in first
    assert f"--build-arg=MIN={BASE_IMAGE}-min" in first
    assert first[-2:] == ["--tag=n:t-base", "/c/slim"]
    assert "--build-arg=BASE=n:t-base" in second


def test_a_pinned_base_wants_its_minimal_image_named() -> None:
    """A digest does not say what the -min image's is."""
    with pytest.raises(TaskFailure, match="--minimal"):
        commands(Order(repository=Path("m"), kind="slim", base="a:1@sha256:b"))
    named = commands(Order(repository=Path("m"), kind="slim", base="a:1@sha256:b", minimal="a:2"))
    assert "--build-arg=MIN=a:2" in named[0]


@pytest.mark.parametrize(
    ("wrong", "saying"),
    [
        ({"kind": "cpu", "platform": "linux/arm64"}, "no wheel"),
        ({"minimal": "a:1"}, "slim image only"),
        ({"platform": "linux"}, "--platform takes linux/amd64"),
        ({"platform": "windows/amd64"}, "--platform takes linux/amd64"),
        ({"tag": "Upper:1"}, "--tag takes NAME:TAG"),
        ({"tag": "a:" + "x" * 129}, "--tag takes NAME:TAG"),
        ({"base": "https://nvcr.io/x:1"}, "--base takes NAME:TAG"),
    ],
)
def test_an_impossible_order_is_refused(wrong: dict[str, str], saying: str) -> None:
    """Before anything is staged or built."""
    with pytest.raises(TaskFailure, match=saying):
        Order(repository=Path("m"), **wrong)  # type: ignore[arg-type]


def test_the_default_name_tells_source_and_models(packaged: Path) -> None:
    """Another revision or another model is another tag; the image's kind is in the name."""
    recipe = Recipe(order=Order(repository=packaged), models=layers.checked(packaged), revision=SOURCE)
    assert recipe.name == f"triton-infer:{COMMIT[:12]}-{recipe.models.digest[:12]}"
    cpu, named = Order(repository=packaged, kind="cpu"), Order(repository=packaged, tag="x:y")
    assert attrs.evolve(recipe, order=cpu).name.startswith("triton-infer-cpu:")
    slim = Order(repository=packaged, kind="slim")
    assert attrs.evolve(recipe, order=slim).name == recipe.name.replace("triton-infer:", "triton-infer-slim:")
    assert attrs.evolve(recipe, order=named).name == "x:y"
    fewer = attrs.evolve(recipe.models, versions=recipe.models.versions[:1])
    assert attrs.evolve(recipe, models=fewer).name != recipe.name


def test_labels_name_revision_base_and_each_model(packaged: Path) -> None:
    """They are the same for the same source: no time of the build among them."""
    wanted = layers.checked(packaged)
    made = Recipe(order=Order(repository=packaged), models=wanted, revision=SOURCE).labels
    assert made["org.opencontainers.image.revision"] == COMMIT
    assert made["org.opencontainers.image.created"] == "2026-01-01T00:00:00Z"
    assert made["org.opencontainers.image.base.name"] == BASE_IMAGE
    assert made["triton-sdk.model.flowers.1"] == f"sha256:{wanted.versions[0].digest}"
    assert made["triton-sdk.models"] == f"sha256:{wanted.digest}"
    assert made["triton-sdk.agent"] == __version__
    slim = Recipe(order=Order(repository=packaged, kind="slim"), models=wanted, revision=SOURCE)
    assert "triton-sdk.agent" not in slim.labels, "it has no Python to run one on"


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.cpu"])
def test_models_come_last_in_a_dockerfile(name: str) -> None:
    """The lines that add them are filled in, and nothing that makes a layer follows."""
    lines = layers.render((DOCKER / name).read_text(encoding="utf-8"), "ADD a\nADD b").splitlines()
    assert lines[-2:] == ["ADD a", "ADD b"]


def test_a_dockerfile_without_a_place_for_models_is_refused() -> None:
    """Otherwise the image would serve nothing."""
    with pytest.raises(TaskFailure, match="where the models go"):
        layers.render("FROM scratch\n", "ADD a")


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.cpu", "Dockerfile.slim"])
def test_dockerfiles_keep_to_what_both_builders_know(name: str) -> None:
    """No mounts, heredocs or links between layers, and no root at the end."""
    text = (DOCKER / name).read_text(encoding="utf-8")
    code = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    assert not [line for line in code if "--mount" in line or "<<" in line or "--link" in line]
    assert [line for line in code if line.startswith("USER")][-1] == "USER 1000:1000"


def test_both_servers_are_started_alike() -> None:
    """The image for tests differs from the production one in its base, and in that it looks for no GPU."""
    ends = []
    for name in ("Dockerfile", "Dockerfile.cpu"):
        text = (DOCKER / name).read_text(encoding="utf-8")
        ends.append(
            [text[text.index("HEALTHCHECK") : text.index("USER")], text[text.index("ENTRYPOINT") :].split("\n\n")[0]]
        )
    loop = re.compile(r" *for gpu in .*?done; \\\n", re.DOTALL)
    assert [loop.sub("", part) for part in ends[0]] == ends[1]
    assert loop.search(ends[0][1])
    assert "--exit-timeout-secs=30" in ends[0][1]


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?", "not running"),
        ("permission denied while trying to connect to the Docker daemon socket", "may not use Docker"),
        ("error during connect: Get http://x: no route", "DOCKER_HOST"),
        ("something new", "docker info"),
    ],
)
def test_an_engine_that_cannot_be_used_is_one_message(said: str, advice: str) -> None:
    """What the client said, and what to do about it."""
    with pytest.raises(TaskFailure, match=advice) as failure:
        engine.require(Script({"docker version": (1, said)}))
    assert said in str(failure.value)


def test_a_missing_docker_is_one_message() -> None:
    """It says where to get it, and what works without."""
    with pytest.raises(TaskFailure, match=r"(?s)not installed.*docs\.docker\.com.*invoke serve"):
        engine.require(NoProgram({}))


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("write /x: no space left on device", "disk is full"),
        ("unauthorized: authentication required", "docker login nvcr.io, user $oauthtoken"),
        ("pull access denied for x, repository does not exist", "is its name right"),
        ("manifest for x:1 not found: manifest unknown", "no base image of that tag"),
        ("dial tcp: lookup nvcr.io: no such host", "cannot be reached"),
        ("exec /bin/sh: exec format error", "--platform"),
        ("ERROR: BuildKit is enabled but the buildx component is missing or broken.", "DOCKER_BUILDKIT"),
        ("net/http: TLS handshake timeout", "A repeat continues"),
        (
            "Setting up ca-certificates: dial tcp: lookup packages.example.com: no such host",
            "packages.example.com cannot be reached",
        ),
        (
            "toomanyrequests: You have reached your pull rate limit.",
            "With a login it gives more. Log in: docker login nvcr.io",
        ),
    ],
)
def test_a_failed_build_says_what_to_do(said: str, advice: str) -> None:
    """The last lines of the build, and the way out where we know one."""
    failure = str(says.build_failed(Completed(status=1, output=f"Step 1/3\n{said}\n"), base="nvcr.io/b:1"))
    assert said in failure
    assert advice in failure


def test_an_unknown_failure_of_a_build_is_shown_as_it_is() -> None:
    """Nothing is guessed."""
    failure = str(says.build_failed(Completed(status=7, output="boom\n"), base="b:1"))
    assert failure.endswith("boom")


def test_the_revision_tells_local_changes() -> None:
    """A commit with changed files is not that commit; outside git nothing is known."""
    log = (0, f"{COMMIT} 2026-01-01T00:00:00+01:00\n")
    clean = commit.of(Path(), runner=Script({"git -C . log": log, "git -C . status": (0, "")}))
    assert (clean.commit, clean.created, clean.short) == (COMMIT, "2026-01-01T00:00:00+01:00", COMMIT[:12])
    dirty = commit.of(Path(), runner=Script({"git -C . log": log, "git -C . status": (0, " M a\n")}))
    assert dirty.short == f"{COMMIT[:12]}-dirty"
    nothing = commit.of(Path(), runner=Script({"git": (128, "fatal: not a git repository")}))
    assert nothing == commit.of(Path(), runner=NoProgram({})) == Revision()
    assert nothing.short == "unknown"


def history(*entries: tuple[int, str]) -> str:
    """Return what ``docker history`` prints for *entries*, newest first."""
    return "\n".join(json.dumps({"Size": str(size), "CreatedBy": by}) for size, by in entries)


@pytest.mark.parametrize(
    "add", ["/bin/sh -c #(nop) ADD file:0123 in / ", "ADD layers/x.tar / # buildkit"], ids=["legacy", "buildkit"]
)
def test_the_report_knows_the_models_layers(add: str) -> None:
    """Both builders' histories are read: what the models weigh is not held against the budget."""
    told = history((0, "LABEL a=b"), (1, add), (20, add), (10, add), (5, add), (0, "USER 1000"), (500, add), (65, ""))
    shown = json.dumps(
        {"Id": "sha256:i", "Size": 601, "Config": {"Labels": {"a": "b"}}, "RootFS": {"Layers": ["x", "y"]}}
    )
    runner = Script({"docker image inspect": (0, shown), "docker history": (0, told)})
    named = ("agent", *some_models(("m", 1), ("m", 2)).layers)
    image = inspect("n:t", layers=named, budget=570, runner=runner)
    assert [(layer.size, layer.made_by) for layer in image.layers[:4]] == [
        (1, "models: configs"),
        (20, "models: m-2"),
        (10, "models: m-1"),
        (5, "agent"),
    ]
    assert image.without_models == 570
    assert not image.over
    assert attrs.evolve(image, budget=569).over
    assert "within the budget" in image.verdict
    assert [layer.size for layer in image.largest(2)] == [500, 65]


def test_an_image_that_is_not_there_is_one_message() -> None:
    """Not a broken JSON text."""
    runner = Script({"docker": (1, "Error: No such image: n:t")})
    with pytest.raises(TaskFailure, match="No such image"):
        inspect("n:t", layers=some_models(("m", 1)).layers, budget=1, runner=runner)
    assert LocalImage.find("n:t", runner=runner) is None


def test_a_build_goes_from_check_to_report(packaged: Path) -> None:
    """The models are checked before the engine is asked, and the engine before anything is staged."""
    shown = json.dumps({"Id": "sha256:i", "Size": 9, "Config": {}, "RootFS": {"Layers": ["x"]}})
    runner = Script(
        {
            "docker version": (0, ENGINE),
            "git": (128, ""),
            "docker build": (0, "Step 1/2 : FROM x\n"),
            "docker image inspect": (0, shown),
            "docker history": (0, history((9, "ADD layers/configs.tar /"))),
            sys.executable: (0, ""),
        }
    )
    lines: list[str] = []
    recipe = Recipe.of(Order(repository=packaged), runner=runner, root=Path())
    assert "docker" not in {command.argv[0] for command in runner.ran}
    image = build.build(recipe, runner=runner, progress=lines.append)
    assert image.name.startswith("triton-infer:unknown-")
    assert "Step 1/2 : FROM x" in lines
    context = Path(next(c for c in runner.ran if c.argv[1] == "build").argv[-1])
    assert not context.exists()


def test_a_failed_build_ends_with_its_reason(packaged: Path) -> None:
    """No report is made of an image that is not there."""
    runner = Script({"docker version": (0, ENGINE), "git": (128, ""), "docker build": (1, "no space left on device")})
    recipe = Recipe.of(Order(repository=packaged, kind="slim"), runner=runner, root=Path())
    with pytest.raises(TaskFailure, match="disk is full"):
        build.build(recipe, runner=runner, progress=lambda _: None)


def test_a_plan_needs_no_docker(packaged: Path) -> None:
    """A dry run asks git alone."""
    runner = Script({"git": (128, "")})
    recipe = Recipe.of(Order(repository=packaged), runner=runner, root=Path())
    planned = recipe.commands()
    assert f"--tag={recipe.name}" in planned[0].argv
    assert str(planned[0]).endswith("CONTEXT/image")
