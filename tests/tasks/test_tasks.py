"""The tasks as a person runs them: what they print, how they fail, and that they never show a secret."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx
import pytest
import yaml

from scripts.host.settings import BASE_IMAGE
from tests.doubles import small_classifiers

ROOT = Path(__file__).parent.parent.parent
SECRETS = {"AWS_ACCESS_KEY_ID": "AKIAPLANTEDPLANTED00", "AWS_SECRET_ACCESS_KEY": "planted/secret+value"}
INVOKE = (sys.executable, "-m", "invoke")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment, in which every setting is empty, and *extra*."""
    return dict(os.environ) | dict(extra or {})


def invoke(*arguments: str, extra: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a task in the repository's root."""
    return subprocess.run(
        [*INVOKE, *arguments], cwd=ROOT, env=environment(extra), capture_output=True, text=True, timeout=50, check=False
    )


def refused(*arguments: str, saying: str, extra: Mapping[str, str] | None = None) -> None:
    """Check that a task fails with status 1 and one message, not a traceback."""
    done = invoke(*arguments, extra=extra)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("Error: ") == 1
    assert saying in done.stderr


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small classifier of seven classes."""
    path = tmp_path_factory.mktemp("own") / "flowers.onnx"
    onnx.save(small_classifiers.classifier(classes=7), path)
    return path


def test_help_names_every_task() -> None:
    """`invoke --list` has the tasks that the README names."""
    listed = invoke("--list").stdout
    for name in (
        "check-env",
        "package-model",
        "lint-repository",
        "generate-input",
        "serve",
        "smoke-test",
        "create-store",
        "publish-model",
        "versions",
        "promote",
        "rollback",
        "build-image",
        "create-repository",
        "push-triton",
        "push-chart",
        "deploy-triton",
        "status",
        "destroy-triton",
    ):
        assert name in listed
        assert f"invoke {name}" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "saying"),
    [
        (("package-model",), "Which model?"),
        (("package-model", "--model", "resnet51"), "--onnx PATH"),
        (("package-model", "--model", "resnet50", "--version", "one"), "--version takes a whole number"),
        (("package-model", "--model", "resnet50", "--mean", "0.5,0.5"), "--mean takes one number, or three"),
        (("package-model", "--onnx", "missing.onnx"), "missing.onnx"),
        (("serve", "--repository", "no-such-folder"), "Package one first"),
        (("serve", "--http-port", "eight"), "--http-port takes a whole number"),
        (("serve", "--http-port", "65536"), "--http-port takes a whole number from 0 to 65535"),
        (("serve", "--dry-run"), "belongs to --docker"),
        (("build-image", "--cpu", "--slim"), "two different images"),
        (("build-image", "--cpu", "--platform", "linux/arm64"), "no wheel for linux/arm64"),
        (("build-image", "--repository", "no-such-folder"), "Package one first"),
        (("smoke-test", "--local", "--all-pods"), "give one of the three"),
        (("smoke-test", "--namespace", "No_Name"), "--namespace 'No_Name' is not a name"),
        (("smoke-test", "--local", "--url", "localhost"), "give one of the three"),
        (("smoke-test", "--local", "--repository", "no-such-folder"), "Package one first"),
        (("smoke-test", "--url", "https://x/y"), "HOST:HTTP_PORT"),
        (("smoke-test", "--url", "127.0.0.1:1"), "checks failed"),
        (("generate-input", "--model", "resnet51"), "No model 'resnet51'"),
        (("create-store",), "MODEL_STORE=file:///FOLDER"),
        (("publish-model",), "Which model? For example: invoke publish-model --model resnet50"),
        (("publish-model", "--model", "resnet50"), "There is no model store"),
        (("versions", "--url", "localhost", "--namespace", "triton"), "give one of the two"),
        (("promote", "--model", "resnet50"), "Which version?"),
        (("promote", "--model", "resnet50", "--version", "2", "--namespace", "A b"), "--namespace 'A b' is not a name"),
        (("promote", "--model", "cars", "--version", "2", "--only-file", "--url", "localhost"), "touches no server"),
        (("promote", "--model", "cars", "--version", "2", "--only-file"), "models: {cars: {serve: [1]}}"),
        (("promote", "--model", "resnet50", "--version", "2", "--url", "127.0.0.1:1"), "No agent answers"),
        (("promote", "--model", "resnet50", "--version", "2", "--keep", "-1"), "--keep takes a whole number from 0"),
        (("rollback", "--model", "resnet50", "--to", "0"), "--to takes a whole number"),
        (("rollback", "--model", "cars", "--only-file"), "Neither serving.yaml nor helm/values.yaml"),
        (("push-chart", "--registry", "https://h"), "--registry takes oci://HOST"),
        (("push-chart", "--registry", "oci://h", "--key", "me"), "CHART_KEYRING or --keyring"),
        (("deploy-triton", "--image", "triton"), "--image takes HOST/NAME@sha256:DIGEST"),
        (("deploy-triton", "--image", "h/a:1", "--values", "no-such.yaml"), "There is no no-such.yaml"),
        (("deploy-triton", "--image", "h/a:1", "--timeout", "soon"), "--timeout takes a whole number"),
        (("deploy-triton", "--image", "h/a:1", "--namespace", "A b"), "--namespace 'A b' is not a name"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_wrong_call_is_one_message(arguments: tuple[str, ...], saying: str) -> None:
    """Each mistake ends with status 1 and says what to do."""
    refused(*arguments, saying=saying)


@pytest.mark.parametrize(
    "task",
    [
        ("smoke-test",),
        ("status",),
        ("destroy-triton",),
        ("versions",),
        ("promote", "--model", "cars", "--version", "2"),
        ("rollback", "--model", "cars"),
    ],
    ids=lambda task: str(task[0]),
)
def test_tasks_for_a_cluster_say_what_they_need(task: tuple[str, ...], tmp_path: Path) -> None:
    """On a machine without kubectl that is one message, with where to get it."""
    refused(*task, saying="kubectl is needed to reach a cluster: https://", extra={"PATH": str(tmp_path)})


def test_without_a_cluster_the_store_is_listed(tmp_path: Path) -> None:
    """What is published needs no cluster to be seen; why no pod was asked is said."""
    (tmp_path / "store").mkdir()
    done = invoke("versions", "--json", extra={"PATH": str(tmp_path), "MODEL_STORE": f"file://{tmp_path / 'store'}"})
    assert (done.returncode, done.stdout.strip()) == (0, "[]")
    assert "Only the store is looked at. kubectl is needed to reach a cluster" in done.stderr


def test_a_promotion_for_git_writes_the_file_and_asks_nobody(tmp_path: Path) -> None:
    """From file to file: promoted, rolled back, each generation higher than the one before."""
    path = tmp_path / "serving.yaml"
    path.write_text("plan: {generation: 4}\nmodels: {cars: {serve: [1, 2]}}\n")
    own = {"PATH": str(tmp_path), "TRITON_PLAN_FILE": str(path)}
    for task, serve in ((("promote", "--version", "3"), [2, 3]), (("rollback",), [2])):
        done = invoke(*task, "--model", "cars", "--only-file", extra=own)
        assert done.returncode == 0, done.stderr
        assert yaml.safe_load(path.read_text())["models"]["cars"]["serve"] == serve
        assert "Commit it" in done.stdout
    assert yaml.safe_load(path.read_text())["plan"] == {"generation": 6}


def test_a_file_becomes_a_checked_version_and_a_request(tmp_path: Path, onnx_file: Path) -> None:
    """Package, lint and generate-input work one after the other on a user's own model."""
    repository, body = str(tmp_path / "model_repository"), tmp_path / "input.json"
    packaged = invoke("package-model", "--onnx", str(onnx_file), "--repository", repository)
    assert packaged.returncode == 0, packaged.stderr
    assert "Packaged flowers version 1" in packaged.stdout
    assert "Proof" in packaged.stderr
    linted = invoke("lint-repository", "--repository", repository)
    assert linted.returncode == 0, linted.stdout
    assert "no errors" in linted.stdout
    made = invoke("generate-input", "--model", "flowers", "--repository", repository, "--output", str(body))
    assert made.returncode == 0, made.stderr
    assert "curl" in made.stdout
    assert json.loads(body.read_bytes())["inputs"][0]["name"] == "image"


def test_a_repository_with_an_error_fails_the_linter(tmp_path: Path) -> None:
    """A folder that Triton would refuse is an error with its rule."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.pbtxt").write_text('name: "other"\n', encoding="utf-8")
    done = invoke("lint-repository", "--repository", str(tmp_path))
    assert done.returncode == 1
    assert "config-name" in done.stdout


def test_the_docker_command_can_be_printed(tmp_path: Path) -> None:
    """A dry run shows a command that listens on loopback only, and runs nothing."""
    done = invoke("serve", "--docker", "--dry-run", "--repository", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("docker run")
    assert done.stdout.count("--publish=127.0.0.1:") == 3
    assert f" {BASE_IMAGE} tritonserver " in done.stdout


def test_the_image_that_is_served_is_the_one_that_images_are_built_on(tmp_path: Path) -> None:
    """TRITON_BASE_IMAGE says it for both."""
    chosen = {"TRITON_BASE_IMAGE": "h/triton:1"}
    served = invoke("serve", "--docker", "--dry-run", "--repository", str(tmp_path), extra=chosen)
    assert " h/triton:1 tritonserver " in served.stdout, served.stderr


def test_check_env_shows_gaps_and_no_secret() -> None:
    """Keys that are set are only said to be there."""
    done = invoke("check-env", extra=SECRETS | {"AWS_REGION": "eu-central-1"})
    assert done.returncode == 0, done.stderr
    assert "credentials: keys" in done.stdout
    for value in SECRETS.values():
        assert value not in done.stdout + done.stderr


def test_check_env_fails_on_a_setting_that_cannot_be_used() -> None:
    """A wrong value is named by its variable, and the exit status tells."""
    done = invoke("check-env", extra={"AWS_ACCOUNT_ID": "not-an-account"})
    assert done.returncode == 1
    assert "AWS_ACCOUNT_ID" in done.stdout
    assert "not-an-account" not in done.stdout + done.stderr


@pytest.fixture(scope="module")
def flowers(tmp_path_factory: pytest.TempPathFactory, onnx_file: Path) -> str:
    """Return a repository with one version of the model ``flowers``."""
    repository = str(tmp_path_factory.mktemp("flowers") / "model_repository")
    assert invoke("package-model", "--onnx", str(onnx_file), "--repository", repository).returncode == 0
    return repository


@contextlib.contextmanager
def serving(repository: str) -> Iterator[tuple["subprocess.Popen[str]", list[str]]]:
    """Run `invoke serve` on free ports until it has announced itself, and give what it printed until then."""
    ports = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")
    child = subprocess.Popen(
        [*INVOKE, "serve", "--repository", repository, *ports],
        cwd=ROOT,
        env=environment({"PYTHONUNBUFFERED": "1"}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert child.stdout is not None
    lines = []
    try:
        for line in child.stdout:
            lines.append(line)
            if "Ctrl-C" in line:
                break
        yield child, lines
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def agent_address(lines: list[str]) -> tuple[str, int]:
    """Return where the agent listens, as the table of endpoints says."""
    found = re.search(r"agent +http://([\d.]+):(\d+)", "".join(lines))
    assert found is not None, "".join(lines)
    return found[1], int(found[2])


@pytest.mark.timeout(120)
def test_serve_announces_itself_and_ends_with_ctrl_c(flowers: str) -> None:
    """The first calls are shown with the real addresses, the agent on the HTTP port and three; Ctrl-C ends it all."""
    with serving(flowers) as (child, lines):
        port = agent_address(lines)[1]
        second = invoke("serve", "--repository", flowers, "--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")
        child.send_signal(signal.SIGINT)
        assert child.stdout is not None
        text = "".join(lines) + child.stdout.read()
        assert child.wait(30) == 130
    assert "flowers" in text
    assert f"curl -X POST http://127.0.0.1:{port - 3}/v2" in text
    assert "Traceback" not in text
    assert second.returncode == 1
    assert "Another `invoke serve` serves" in second.stderr


@pytest.mark.timeout(120)
def test_a_killed_serve_takes_its_agent_along(flowers: str) -> None:
    """After kill -9 nobody listens on the agent's port any more."""
    with serving(flowers) as (child, lines):
        address = agent_address(lines)
        socket.create_connection(address, timeout=5).close()
        child.kill()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                socket.create_connection(address, timeout=5).close()
            except ConnectionRefusedError:
                return
            except ConnectionResetError:
                pass  # it is ending
            time.sleep(0.1)
    pytest.fail("the agent outlives the server that it belongs to")


def test_a_deployment_needs_its_tools(tmp_path: Path) -> None:
    """Without kubectl and helm both are named in one message, with where to get them."""
    done = invoke("deploy-triton", "--image", "localhost:5000/x:1", "--release", "blue", extra={"PATH": str(tmp_path)})
    assert done.returncode == 1
    assert "kubectl is needed to reach a cluster: https://kubernetes.io" in done.stderr
    assert "helm is needed to deploy to a cluster: https://helm.sh" in done.stderr
    assert done.stderr.count("Error: ") == 1


def test_a_task_acts_on_the_repository_from_anywhere(onnx_file: Path, tmp_path: Path) -> None:
    """Called in a folder below: a link gives the model its name, what is named is meant from there, paths are whole."""
    link = tmp_path / "roses.onnx"
    link.symlink_to(onnx_file)

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*INVOKE, *arguments], cwd=ROOT / "docs", env=environment(), capture_output=True, text=True, timeout=50,
            check=False,
        )  # fmt: skip

    named = call("lint-repository")
    assert f"{ROOT / 'model_repository'}: no errors" in named.stdout
    models = os.path.relpath(tmp_path / "models", ROOT / "docs")
    made = call("package-model", "--onnx", str(link), "--repository", models, "--gpu-precision", "none")
    assert f"Packaged roses version 1 in {(tmp_path / 'models').resolve() / 'roses' / '1'}" in made.stdout, made.stderr
    nothing = call("build-image", "--dry-run", "--slim", "--repository", models)
    assert "docker build" in nothing.stdout, nothing.stderr


def test_a_smoke_test_without_a_cluster_names_the_other_two_ways() -> None:
    """Who has no cluster may have come for the server here; who named the cluster did not."""
    refused("smoke-test", saying="Without a cluster, --local starts a server here for the check, and --url HOST checks")
    assert "--local" not in invoke("smoke-test", "--namespace", "triton").stderr
