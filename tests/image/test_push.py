"""From packaged models to a digest in a registry, end to end: moto's API, a real registry with a password, Docker."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image import hub
from tests.image.cloud import KEYS, NAME, Cloud, import_folder, running
from tests.image.conftest import add_version, lack
from tests.image.ground import Engine, Missing
from tests.image.project import Project
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def cloud(
    project: Project, engine: Engine, packaged: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cloud]:
    """Start moto and a registry, and create the repository."""
    try:
        with running(project, engine, packaged=packaged, folder=tmp_path_factory.mktemp("cloud")) as made:
            yield made
    except Missing as reason:
        lack(reason)


# Takes Docker seconds to compress and send.
SIZE = 80_000_000


def digest_of(output: str) -> str:
    """Return the digest at the end of what a push printed."""
    found = re.search(r"@(sha256:[0-9a-f]{64})\n$", output)
    assert found is not None, output
    return found[1]


def test_creating_the_repository_twice_is_creating_it_once(cloud: Cloud) -> None:
    """The second run finds everything as it should be and prints the same address."""
    again = cloud.invoke("create-repository")
    assert again.returncode == 0, again.stderr
    assert again.stdout == f"{cloud.proxy.url}/{NAME}\n"
    assert "is there already" in again.stderr
    assert "Lifecycle" not in again.stderr


def test_what_is_pulled_back_is_what_was_printed(cloud: Cloud, engine: Engine) -> None:
    """Built, pushed, recorded; the registry's bytes hash to the digest, and a pull by it gives the same image."""
    digest = digest_of(cloud.push())
    record = json.loads((cloud.project.root / "build" / "image.json").read_text(encoding="utf-8"))
    assert record["reference"] == f"{cloud.proxy.url}/{NAME}@{digest}"
    assert re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]{12}", record["tag"])
    header, content = hub.manifest(cloud.proxy.url, NAME, record["tag"])
    assert header == digest == "sha256:" + hashlib.sha256(content).hexdigest()
    assert json.loads(content)["config"]["digest"] == record["image_id"]
    config = cloud.home / "puller"
    environment = engine.environment({"DOCKER_CONFIG": str(config)})
    login = ["docker", "login", "--username=AWS", "--password-stdin", cloud.proxy.url]
    subprocess.run(login, input=hub.PASSWORD.encode(), env=environment, check=True, capture_output=True, timeout=60)
    pulled = subprocess.run(
        ["docker", "pull", record["reference"]], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    shutil.rmtree(config)
    assert digest in pulled.stdout
    assert engine.docker("image", "inspect", "--format={{.Id}}", record["reference"]) == record["image_id"]


def test_a_repeat_sends_nothing(cloud: Cloud) -> None:
    """The same tag is found with the same image; under another tag no layer moves."""
    first = digest_of(cloud.push())
    repeated = cloud.push()
    assert "the same image: nothing was sent" in repeated
    assert digest_of(repeated) == first
    before = cloud.proxy.sent
    other = cloud.push("--tag=another")
    assert "0 layers sent" in other
    assert digest_of(other) == first
    assert cloud.proxy.sent - before < 50_000


def test_a_new_version_sends_its_own_layers_only(cloud: Cloud, tmp_path: Path) -> None:
    """Counted on the wire: the new version's layer, and not the 28 MB of the two before."""
    old = json.loads(hub.manifest(cloud.proxy.url, NAME, digest_of(cloud.push()))[1])
    grown = tmp_path / "model_repository"
    shutil.copytree(cloud.packaged, grown)
    add_version(grown, model="mobilenetv2", seed=3)
    before = cloud.proxy.sent
    output = cloud.push(repository=grown)
    sent = cloud.proxy.sent - before
    assert "1 layers sent, 5 were there" in output
    new = json.loads(hub.manifest(cloud.proxy.url, NAME, digest_of(output))[1])
    known = {layer["digest"] for layer in old["layers"]}
    own = sum(layer["size"] for layer in new["layers"] if layer["digest"] not in known)
    everything = sum(layer["size"] for layer in new["layers"])
    assert own <= sent < own * 1.02 + 50_000
    assert own < everything / 2


def test_a_tag_is_never_moved(cloud: Cloud, engine: Engine) -> None:
    """Another image under the same tag is refused, and the registry keeps the first."""
    import_folder(engine, "triton-test/one:1", {"a": b"one"})
    import_folder(engine, "triton-test/two:1", {"a": b"two"})
    first = digest_of(cloud.push("--image=triton-test/one:1", "--tag=release"))
    cloud.refused("push-triton", "--image=triton-test/two:1", "--tag=release", saying="is another image already")
    assert hub.manifest(cloud.proxy.url, NAME, "release")[0] == first


def test_a_dry_run_prints_the_commands_and_sends_nothing(cloud: Cloud) -> None:
    """Neither AWS nor the registry is asked, and the password's place is standard input."""
    before = cloud.proxy.connections
    printed = cloud.push("--dry-run", AWS_ENDPOINT_URL="http://127.0.0.1:1").splitlines()
    assert [re.sub(r"DOCKER_CONFIG=\S+ ", "", line).split()[:2] for line in printed[-3:]] == [
        ["docker", "login"],
        ["docker", "tag"],
        ["docker", "push"],
    ]
    assert "--password-stdin" in printed[-3]
    assert cloud.proxy.connections == before


@pytest.mark.parametrize(
    ("settings", "saying"),
    [
        (dict.fromkeys(KEYS, ""), "no complete AWS credentials were found.*docs/aws.md"),
        (dict.fromkeys(KEYS, "") | {"AWS_PROFILE": "nobody"}, "no such profile"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "AWS_SECRET_ACCESS_KEY go together"),
        ({"AWS_ACCOUNT_ID": "210987654321"}, "of account 123456789012, but .* account 210987654321"),
        ({"AWS_ACCOUNT_ID": ""}, "AWS_ACCOUNT_ID is not set"),
        ({"ECR_REPOSITORY": "no-such-repository"}, "invoke create-repository"),
        ({"AWS_REGION": "us-east-1"}, "invoke create-repository.*correct ECR_REPOSITORY or AWS_REGION"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "AWS cannot be reached in eu-central-1"),
        ({"DOCKER_HOST": "unix:///nowhere/docker.sock"}, "engine is not running"),
        ({"REGISTRY_HOST": "127.0.0.1:1"}, "registry 127.0.0.1:1 cannot be reached"),
        ({"TRITON_BASE_IMAGE": "127.0.0.1:1/no/base:1"}, "base"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else None,
)
def test_what_is_missing_is_one_message(cloud: Cloud, settings: dict[str, str], saying: str) -> None:
    """Credentials, account, repository, region, network, Docker: each ends with the way out."""
    # Its own folder of models, so that no image of an earlier test will do.
    cloud.refused("push-triton", f"--repository={cloud.packaged}", "--tag=never", saying=saying, **settings)


@pytest.mark.parametrize(
    ("code", "saying"),
    [
        ("ExpiredTokenException", r"have expired\. Put fresh"),
        ("UnrecognizedClientException", "does not know these credentials"),
        ("AccessDeniedException", "not allowed .*docs/aws.md"),
        ("InvalidSignatureException", "clock is wrong"),
    ],
)
@pytest.mark.parametrize("task", ["create-repository", "push-triton"])
def test_a_refusal_of_aws_is_one_message_without_what_it_quotes(
    cloud: Cloud, task: str, code: str, saying: str
) -> None:
    """AWS's answer holds the session's token; nothing that is shown does."""
    with hub.Refusing(code).serving() as api:
        cloud.refused(task, saying=saying, AWS_ENDPOINT_URL=api)


def test_a_lost_network_is_told_and_a_repeat_goes_on(cloud: Cloud, engine: Engine) -> None:
    """Cut in the middle of a layer, the push gives up with the way out; the repeat does not send what had arrived."""
    large = os.urandom(SIZE)
    import_folder(engine, "triton-test/large-base:1", {"small": os.urandom(1000)})
    dockerfile = cloud.home / "large"
    dockerfile.mkdir()
    (dockerfile / "large").write_bytes(large)
    (dockerfile / "Dockerfile").write_text("FROM triton-test/large-base:1\nADD large /\n", encoding="utf-8")
    engine.docker("build", "--quiet", "--tag=triton-test/large:1", str(dockerfile))
    start, before = cloud.proxy.sent, len(cloud.blobs())

    def cut() -> None:
        wait_until(lambda: len(cloud.blobs()) != before, "the small layer", within_s=60, every_s=0.001)
        # So that Docker hears that the small layer has arrived.
        time.sleep(0.3)
        cloud.proxy.refuse()

    cutter = threading.Thread(target=cut)
    cutter.start()
    try:
        cloud.refused(
            "push-triton", "--image=triton-test/large:1", "--tag=large", saying="was lost. Run the task again"
        )
        cutter.join()
        assert cloud.proxy.sent - start < SIZE
    finally:
        cloud.proxy.accept()
    output = cloud.push("--image=triton-test/large:1", "--tag=large")
    assert "1 layers sent, 1 were there" in output
    assert digest_of(output) == hub.manifest(cloud.proxy.url, NAME, "large")[0]


def test_a_cancelled_job_leaves_no_login_behind(cloud: Cloud, engine: Engine) -> None:
    """SIGTERM in the middle of a push: the folder with the password is removed before the process ends."""
    import_folder(engine, "triton-test/stopped:1", {"a": os.urandom(5_000_000)})
    environment = engine.environment(cloud.environment() | cloud.settings() | {"PYTHONPATH": str(cloud.project.root)})
    arguments = ("push-triton", "--image=triton-test/stopped:1", "--tag=stopped")
    temporary, start = cloud.home / "tmp", cloud.proxy.sent
    child = subprocess.Popen(
        [sys.executable, "-m", "invoke", *arguments],
        cwd=cloud.project.root,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: cloud.proxy.sent - start >= 1_000_000, "a part of the layer", within_s=60, every_s=0.001)
        cloud.proxy.hold()
        assert [(p / "config.json").exists() for p in temporary.glob("triton-task-*/push")] == [True]
        child.send_signal(signal.SIGTERM)
        child.wait(30)
    finally:
        cloud.proxy.release()
        child.kill()
        child.wait()
    assert child.returncode != 0
    assert list(temporary.iterdir()) == []
