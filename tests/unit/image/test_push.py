"""The push: its order, its decisions and its messages; AWS and Docker answer from a script."""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from scripts.host.errors import TaskFailure
from scripts.host.secret import Secret
from scripts.host.settings import load
from scripts.host.shell import Command, Completed
from scripts.image import delivery, says
from scripts.image.build import Order
from scripts.image.delivery import Wanted
from scripts.image.engine import LocalImage
from scripts.image.labels import tag_of
from scripts.image.push import Pushed, Pusher
from scripts.registry import ecr
from scripts.repository.lint.finding import Finding
from scripts.repository.lint.model import lint
from tests.doubles.aws_stubs import ACCOUNT, REGION, REGISTRY, WHERE, ScriptedAws
from tests.doubles.runners import ENGINE, package_flowers

PASSWORD = "planted-registry-password"
ID = "sha256:" + "1" * 64
DIGEST = "sha256:" + "d" * 64
OTHER = "sha256:" + "e" * 64
COMMIT = "0123456789abcdef0123456789abcdef01234567"
LABELS = {"org.opencontainers.image.revision": COMMIT, "triton-sdk.models": "sha256:" + "f" * 64}
PUSHED = f"""aaaaaaaaaaaa: Preparing
bbbbbbbbbbbb: Preparing
aaaaaaaaaaaa: Layer already exists
bbbbbbbbbbbb: Pushed
t: digest: {DIGEST} size: 7"""


@attrs.define
class ScriptedDocker:
    """Answers docker's commands by their first words, and keeps what was asked.

    Attributes:
        answers: Status and output, by the words that a command begins with; ``(0, "")`` where there is none.
        ran: Every command.
        config: What the folder of DOCKER_CONFIG was while the push ran: its path and its mode.
    """

    answers: dict[str, tuple[int, str]] = attrs.field(factory=dict)
    ran: list[Command] = attrs.field(factory=list)
    config: list[tuple[Path, int]] = attrs.field(factory=list)

    def capture(self, command: Command, *, timeout_s: float = 30.0) -> Completed:  # noqa: ARG002
        """Answer from the script."""
        self.ran.append(command)
        line = " ".join(command.argv)
        answers = self.answers | {"docker version": (0, ENGINE)}
        status, output = next((a for words, a in answers.items() if line.startswith(words)), (0, ""))
        return Completed(status=status, output=output)

    def stream(self, command: Command, *, show: Callable[[str], None]) -> Completed:
        """Answer from the script, line by line."""
        if "DOCKER_CONFIG" in command.env:
            folder = Path(str(command.env["DOCKER_CONFIG"]))
            self.config.append((folder, folder.stat().st_mode & 0o777))
        done = self.capture(command)
        for line in done.output.splitlines():
            show(line)
        return done

    @property
    def lines(self) -> list[str]:
        """What was run, without the program's name."""
        return [" ".join(command.argv[1:]) for command in self.ran]


@pytest.fixture
def aws() -> Iterator[ScriptedAws]:
    """Give AWS's answers, all of which must be asked for."""
    script = ScriptedAws()
    yield script
    script.close()


def image(*, digests: tuple[str, ...] = ()) -> LocalImage:
    """Return an image as the engine describes it."""
    return LocalImage(name="n", id=ID, labels=LABELS, digests=digests)


def token(aws: ScriptedAws) -> None:
    """Let ECR give a login."""
    text = base64.b64encode(f"AWS:{PASSWORD}".encode()).decode()
    aws.ecr("get_authorization_token", {"authorizationData": [{"authorizationToken": text}]}, {})


def holds(aws: ScriptedAws, digest: str | None, config: str = ID) -> None:
    """Let ECR have an image under the tag, or none."""
    manifest = json.dumps({"config": {"digest": config}})
    images = [{"imageId": {"imageDigest": digest}, "imageManifest": manifest}] if digest else []
    expected = {**WHERE, "imageIds": [{"imageTag": "t"}], "acceptedMediaTypes": list(ecr.MANIFESTS)}
    aws.ecr("batch_get_image", {"images": images}, expected)


def pusher(aws: ScriptedAws, docker: ScriptedDocker, *, shown: list[tuple[int, int]] | None = None) -> Pusher:
    """Return a push to the scripted registry."""
    bar = [] if shown is None else shown
    return Pusher(
        access=aws.access,
        repository=REGISTRY,
        runner=docker,
        progress=lambda _: None,
        layers=lambda done, total: bar.append((done, total)),
    )


def test_a_push_logs_in_on_stdin_in_a_folder_that_is_gone_afterwards(aws: ScriptedAws) -> None:
    """The password is in no argument; the configuration is ours alone, and removed; the layers are counted."""
    token(aws)
    holds(aws, None)
    docker, shown = ScriptedDocker({"docker push": (0, PUSHED)}), list[tuple[int, int]]()
    pushed = pusher(aws, docker, shown=shown).push(image(), "t")
    assert (pushed.image.digest, pushed.sent, pushed.there) == (DIGEST, 1, 1)
    assert str(pushed.image.by_digest) == f"{REGISTRY.uri}@{DIGEST}"
    assert shown[-1] == (2, 2)
    login = next(command for command in docker.ran if "login" in command.argv)
    assert login.stdin == Secret(PASSWORD)
    assert "--password-stdin" in login.argv
    assert PASSWORD not in repr(docker.ran)
    ((folder, mode),) = docker.config
    assert mode == 0o700
    assert not folder.exists()
    assert docker.lines[-1] == f"image rm --no-prune {REGISTRY.uri}:t"


@pytest.mark.parametrize("step", ["docker login", "docker push"])
def test_a_failure_leaves_no_login_behind(aws: ScriptedAws, step: str) -> None:
    """Whatever fails, the folder with the password is removed and the failure has no password."""
    token(aws)
    holds(aws, None)
    docker = ScriptedDocker({step: (1, "unauthorized: authentication required")})
    with pytest.raises(TaskFailure, match="does not take the login") as raised:
        pusher(aws, docker).push(image(), "t")
    assert PASSWORD not in str(raised.value)
    folder = next(Path(str(c.env["DOCKER_CONFIG"])) for c in docker.ran if "DOCKER_CONFIG" in c.env)
    assert not folder.exists()


def test_the_engine_of_the_users_context_is_kept(aws: ScriptedAws) -> None:
    """Which engine is used stands in the configuration that the login sets aside: it is handed over."""
    token(aws)
    holds(aws, None)
    docker = ScriptedDocker(
        {"docker context": (0, "rootless unix:///run/user/1/docker.sock"), "docker push": (0, PUSHED)}
    )
    pusher(aws, docker).push(image(), "t")
    assert next(c for c in docker.ran if "push" in c.argv).env["DOCKER_HOST"] == "unix:///run/user/1/docker.sock"


@pytest.mark.parametrize(
    ("found", "here"),
    [
        ((DIGEST, ID), image()),
        ((DIGEST, OTHER), image(digests=(f"{REGISTRY.uri}@{DIGEST}",))),
        ((ID, OTHER), image()),
    ],
    ids=["same configuration", "pushed from here before", "an engine that names images by manifest"],
)
def test_the_same_image_under_the_tag_is_success_and_nothing_is_sent(
    aws: ScriptedAws, found: tuple[str, str], here: LocalImage
) -> None:
    """A repeat of a push that was done says so, with the digest."""
    token(aws)
    holds(aws, *found)
    docker = ScriptedDocker()
    pushed = pusher(aws, docker).push(here, "t")
    assert (pushed.image.digest, pushed.untouched) == (found[0], True)
    assert docker.ran == []


def test_another_image_under_the_tag_is_refused_with_both(aws: ScriptedAws) -> None:
    """A tag is never moved: nothing is sent, and the way out is a tag of its own."""
    token(aws)
    holds(aws, DIGEST, config=OTHER)
    docker = ScriptedDocker()
    with pytest.raises(TaskFailure, match=f"is another image already, {DIGEST}.*--tag NAME"):
        pusher(aws, docker).push(image(), "t")
    assert docker.ran == []


@pytest.mark.parametrize("config", [ID, OTHER])
def test_who_loses_a_race_for_the_tag_fails_only_if_the_image_differs(aws: ScriptedAws, config: str) -> None:
    """ECR refuses the second of two pushes; the same image is success all the same."""
    token(aws)
    holds(aws, None)
    holds(aws, DIGEST, config=config)
    said = "tag invalid: The image tag 't' already exists in the 'x' repository and cannot be overwritten"
    docker = ScriptedDocker({"docker push": (1, said)})
    if config == ID:
        assert pusher(aws, docker).push(image(), "t").untouched
    else:
        with pytest.raises(TaskFailure, match="another image already"):
            pusher(aws, docker).push(image(), "t")


@pytest.mark.parametrize(
    ("output", "saying"),
    [
        ("write /var/lib/docker/tmp/x: no space left on device", "the disk is full"),
        ("Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?", "Docker is not running"),
        ("Got permission denied while trying to connect to the Docker daemon socket", "group docker"),
        ("denied: User: arn is not authorized to perform: ecr:InitiateLayerUpload on resource: x", "registry's owner"),
        ("denied: Your authorization token has expired. Reauthenticate.", "login to reg.example:5000 has expired"),
        ("name unknown: The repository with name 'x' does not exist in the registry with id '1'", "ECR_REPOSITORY"),
        ("no basic auth credentials", "did not send the login"),
        ("tag invalid: The image tag 'x' already exists and the repository is immutable", "--tag NAME"),
        ('Put "https://x/v2/": write tcp 1.1.1.1:1->2.2.2.2:443: connection reset by peer', "connection to x was lost"),
        ("dial tcp: lookup x on 1.1.1.1:53: no such host", "are not sent again"),
        ("net/http: TLS handshake timeout", "connection to reg.example:5000 was lost"),
        ("unexpected EOF", "connection to reg.example:5000 was lost"),
        ("x509: certificate signed by unknown authority", "/etc/docker/certs.d/reg.example:5000/ca.crt"),
        ("tls: failed to verify certificate: x509: certificate has expired or is not yet valid", "clock of this"),
        ("toomanyrequests: Rate exceeded", "in a minute"),
        ("something new", "Docker's last words are below.\n  something new"),
    ],
)  # fmt: skip
def test_each_failure_of_docker_has_a_way_out(output: str, saying: str) -> None:
    """The message says what to do, and Docker's last line."""
    message = str(says.push_failed(f"aaaaaaaaaaaa: Preparing\n{output}\n", doing="push x", registry="reg.example:5000"))
    assert message.startswith("Cannot push x: ")
    assert saying in message
    assert message.endswith(output)


def test_the_tag_says_what_is_in_the_image() -> None:
    """Revision and models, 12 digits of each; uncommitted files and kinds of image show; a stranger has none."""
    assert tag_of(LABELS) == "0123456789ab-ffffffffffff"
    dirty = LABELS | {"org.opencontainers.image.revision": COMMIT + "-dirty", "triton-sdk.kind": "cpu"}
    assert tag_of(dirty) == "0123456789ab-dirty-ffffffffffff-cpu"
    assert tag_of(LABELS | {"triton-sdk.kind": "full"}) == tag_of(LABELS)
    assert tag_of({}) is None


def deliver(
    aws: ScriptedAws,
    docker: ScriptedDocker,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    *,
    models: Path | None = None,
    **wanted: str,
) -> Pushed:
    """Deliver from a folder without sources, and without models but for *models*."""
    access = aws.access
    monkeypatch.setattr("scripts.registry.ecr.aws.open_access", lambda _: access)
    values = {"AWS_ACCOUNT_ID": ACCOUNT, "AWS_REGION": REGION, "ECR_REPOSITORY": "triton-infer"}
    return delivery.deliver(
        load(Path("no-such-folder"), environ=values),
        Wanted(order=Order(repository=models or tmp_path), root=tmp_path, **wanted),
        runner=docker,
        progress=lambda _: None,
        layers=lambda _done, _total: None,
    )


def test_nothing_is_built_for_the_wrong_account(
    aws: ScriptedAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The account is checked before any program runs."""
    aws.identity("210987654321")
    docker = ScriptedDocker()
    with pytest.raises(TaskFailure, match="of account 210987654321"):
        deliver(aws, docker, monkeypatch, tmp_path)
    assert docker.ran == []


def test_nothing_is_built_without_a_repository(
    aws: ScriptedAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nor where the registry has no such repository."""
    aws.identity()
    aws.refuse("describe_images", "RepositoryNotFoundException")
    docker = ScriptedDocker()
    with pytest.raises(TaskFailure, match="invoke create-repository"):
        deliver(aws, docker, monkeypatch, tmp_path)
    assert docker.ran == []


def test_an_image_that_is_there_is_pushed_and_recorded(
    aws: ScriptedAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """--image and --tag take what they are given; the digest is in build/image.json."""
    aws.identity()
    aws.ecr("describe_images", {}, {**WHERE, "maxResults": 1})
    token(aws)
    holds(aws, None)
    described = json.dumps({"Id": ID, "Config": {"Labels": None}, "RepoDigests": []})
    docker = ScriptedDocker({"docker image inspect": (0, described), "docker push": (0, PUSHED)})
    deliver(aws, docker, monkeypatch, tmp_path, image="mine:1", tag="t")
    assert json.loads((tmp_path / "build" / "image.json").read_text())["digest"] == DIGEST


def test_the_models_and_git_are_looked_at_once(
    aws: ScriptedAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Name, labels, build and tag come of one look: linting reads every model, which takes seconds for large ones."""
    models, linted = package_flowers(tmp_path), list[Path]()

    def counted(repository: Path) -> list[Finding]:
        linted.append(repository)
        return lint(repository)

    monkeypatch.setattr("scripts.image.layers.lint", counted)
    aws.identity()
    aws.ecr("describe_images", {}, {**WHERE, "maxResults": 1})
    token(aws)
    expected = {
        **WHERE, "imageIds": [{"imageTag": f"{COMMIT[:12]}-ffffffffffff"}], "acceptedMediaTypes": list(ecr.MANIFESTS)
    }  # fmt: skip
    aws.ecr("batch_get_image", {"images": []}, expected)
    described = {"Id": ID, "Size": 1, "Config": {"Labels": LABELS}, "RootFS": {"Layers": []}}
    docker = ScriptedDocker(
        {
            f"git -C {tmp_path} log": (0, f"{COMMIT} 2026-01-01T00:00:00+00:00"),
            "docker image inspect": (0, json.dumps(described)),
            "docker push": (0, PUSHED),
        }
    )
    assert deliver(aws, docker, monkeypatch, tmp_path, models=models).image.digest == DIGEST
    assert linted == [models]
    asked = [command.argv[3] for command in docker.ran if command.argv[0] == "git"]
    assert asked == ["log", "status"]
    assert sum(line.startswith("build ") for line in docker.lines) == 1


@pytest.mark.parametrize(
    ("described", "saying"),
    [
        ((1, "Error: No such image: mine:1"), "invoke build-image"),
        ((0, json.dumps({"Id": ID, "Config": None, "RepoDigests": None})), "does not say what is in it"),
    ],
)
def test_an_image_that_cannot_be_named_is_refused(
    aws: ScriptedAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, described: tuple[int, str], saying: str
) -> None:
    """One that is not there, and one without our labels and without a tag."""
    aws.identity()
    aws.ecr("describe_images", {}, {**WHERE, "maxResults": 1})
    docker = ScriptedDocker({"docker image inspect": described})
    with pytest.raises(TaskFailure, match=saying):
        deliver(aws, docker, monkeypatch, tmp_path, image="mine:1")
