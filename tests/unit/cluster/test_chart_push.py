"""The push of the chart: its decisions, its commands and its messages; AWS and Helm answer from a script."""

import base64
import io
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from scripts.cluster.chart_archive import Packed, Signing, contents
from scripts.cluster.chart_push import ChartPush
from scripts.host.errors import TaskFailure
from scripts.host.secret import Secret
from scripts.host.settings import ROOT, Settings, load
from scripts.host.shell import Command, Completed
from tests.doubles.aws_stubs import ACCOUNT, REGION, REGISTRY, WHERE, ScriptedAws

PASSWORD = "planted-registry-password"
DIGEST = "sha256:" + "d" * 64
SETTINGS = {"AWS_ACCOUNT_ID": ACCOUNT, "AWS_REGION": REGION, "ECR_REPOSITORY": "triton-infer"}
TARGET = f"{REGISTRY.uri}/flowers"
NOT_THERE = 'Error: failed to perform "FetchReference" on source: h/x:1.0.0: not found'
FILES = {"flowers/Chart.yaml": b"name: flowers\nversion: 1.0.0\n", "flowers/values.yaml": b"a: 1\n"}


def archive(path: Path, files: dict[str, bytes]) -> None:
    """Write *files* as Helm packages them."""
    with tarfile.open(path, "w:gz") as packed:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            packed.addfile(entry, io.BytesIO(content))


@attrs.define
class ScriptedHelm:
    """Answers Helm's commands, and does what they would do to files.

    Attributes:
        there: The files of the version that the registry has; None for none.
        signed: Whether that is signed.
        fails: Standard error by the word that a command begins with.
        ran: Every command.
        folders: What was in the folder of the login while the push ran, by name, with its mode.
    """

    there: dict[str, bytes] | None = None
    signed: bool = False
    fails: dict[str, str] = attrs.field(factory=dict)
    ran: list[Command] = attrs.field(factory=list)
    folders: list[tuple[Path, int]] = attrs.field(factory=list)

    def capture(self, command: Command, *, timeout_s: float = 30.0) -> Completed:
        """Answer."""
        assert timeout_s > 0
        self.ran.append(command)
        assert command.argv[0] == "helm"
        word = command.argv[1]
        if word in self.fails:
            return Completed(status=1, output="", errors=f"Error: {self.fails[word]}\n")
        option = dict(re.findall(r"--(\S+?)=(\S+)", " ".join(command.argv)))
        if word == "version":
            return Completed(status=0, output="v4.0.0\n")
        if word == "package":
            folder = Path(option["destination"])
            self.folders.append((folder, folder.stat().st_mode & 0o777))
            archive(folder / "flowers-1.0.0.tgz", FILES)
        if word == "pull":
            if self.there is None:
                return Completed(status=1, output="", errors=NOT_THERE)
            archive(Path(option["destination"]) / "flowers-1.0.0.tgz", self.there)
            if self.signed:
                (Path(option["destination"]) / "flowers-1.0.0.tgz.prov").touch()
        return Completed(status=0, output="", errors=f"Pushed: h/x:1.0.0\nDigest: {DIGEST}\n")

    def stream(self, command: Command, *, show: object) -> Completed:
        """Never used."""
        raise AssertionError(command, show)

    @property
    def words(self) -> list[str]:
        """The commands, by their first word."""
        return [command.argv[1] for command in self.ran]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedAws]:
    """Give AWS's answers, all of which must be asked for."""
    script = ScriptedAws()
    monkeypatch.setattr("scripts.registry.ecr.aws.open_access", lambda _: script.access)
    yield script
    script.close()


def settings(**values: str) -> Settings:
    """Return settings that come of nowhere else."""
    return load(Path("no-such-folder"), environ=values)


@pytest.fixture
def chart(tmp_path: Path) -> Packed:
    """Give the sources of a chart."""
    (tmp_path / "Chart.yaml").write_text("name: flowers\nversion: 1.0.0\n", encoding="utf-8")
    return Packed.read(tmp_path)


def own(
    chart: Packed, helm: ScriptedHelm, *, registry: str = "oci://h.example/charts", signed: bool = False
) -> ChartPush:
    """Return a push to somebody's own registry."""
    signing = Signing(key="Chart", keyring=Path("ring.gpg")) if signed else None
    return ChartPush.of(settings(), chart=chart, registry=registry, signing=signing, runner=helm)


def push(asked: ChartPush) -> str:
    """Push, and return what a person is told."""
    done = asked.push(progress=lambda _: None)
    return f"{done.summary}\n{done.use}"


def test_the_login_of_ecr_is_on_stdin_and_in_a_folder_that_is_gone_afterwards(aws: ScriptedAws, chart: Packed) -> None:
    """The chart goes below the images' repository; the password is in no argument; nothing of it stays."""
    aws.identity()
    aws.ecr("describe_images", {}, WHERE | {"repositoryName": "triton-infer/flowers", "maxResults": 1})
    text = base64.b64encode(f"AWS:{PASSWORD}".encode()).decode()
    aws.ecr("get_authorization_token", {"authorizationData": [{"authorizationToken": text}]}, {})
    helm = ScriptedHelm()
    asked = ChartPush.of(settings(**SETTINGS), chart=chart, signing=None, runner=helm)
    done = asked.push(progress=lambda _: None)
    assert (str(done.reference), done.untouched) == (f"{TARGET}:1.0.0@{DIGEST}", False)
    assert helm.words == ["version", "registry", "package", "pull", "push"]
    login = helm.ran[1]
    assert login.stdin == Secret(PASSWORD)
    assert PASSWORD not in repr(helm.ran)
    assert {command.env.get("HELM_REGISTRY_CONFIG") for command in helm.ran[3:]} == {login.env["HELM_REGISTRY_CONFIG"]}
    ((folder, mode),) = helm.folders
    assert mode == 0o700
    assert not folder.exists()
    assert helm.ran[-1].argv[-1] == f"oci://{REGISTRY.uri}"


def test_nothing_is_packaged_for_the_wrong_account(aws: ScriptedAws, chart: Packed) -> None:
    """The account is checked first."""
    aws.identity("210987654321")
    helm = ScriptedHelm()
    with pytest.raises(TaskFailure, match="of account 210987654321"):
        push(ChartPush.of(settings(**SETTINGS), chart=chart, signing=None, runner=helm))
    assert helm.words == ["version"]


def test_another_registry_has_helms_own_login(chart: Packed) -> None:
    """Nobody asks AWS, and Helm reads the login that its user has; a port, a prefix and `oci://` may be left out."""
    for registry in ("oci://h.example/charts", "h.example/charts/"):
        helm = ScriptedHelm()
        assert push(own(chart, helm, registry=registry)).splitlines() == [
            "Pushed h.example/charts/flowers:1.0.0, not signed",
            "helm pull oci://h.example/charts/flowers --version 1.0.0",
        ]
        assert helm.words == ["version", "package", "pull", "push"]
        assert not any(command.env for command in helm.ran)
        assert not any("--plain-http" in command.argv for command in helm.ran)
    assert "--plain-http" in own(chart, ScriptedHelm(), registry="127.0.0.1:5000").plan()[-1]


@pytest.mark.parametrize("registry", ["https://h.example", "h example", "oci://", "--plain-http", "h.example/Charts"])
def test_an_address_that_is_none_is_refused(chart: Packed, registry: str) -> None:
    """Before anything runs."""
    with pytest.raises(TaskFailure, match="--registry takes oci://HOST"):
        own(chart, ScriptedHelm(), registry=registry)


def test_the_same_version_is_success_and_nothing_is_sent(chart: Packed) -> None:
    """Also where another Helm wrote Chart.yaml in another order."""
    helm = ScriptedHelm(there=FILES | {"flowers/Chart.yaml": b"version: '1.0.0'\nname: flowers\n"})
    assert "was there already with the same content, not signed: nothing was sent" in push(own(chart, helm))
    assert "push" not in helm.words


@pytest.mark.parametrize("there", [FILES | {"flowers/values.yaml": b"a: 2\n"}, FILES | {"flowers/more": b""}])
def test_another_content_under_the_version_is_refused(chart: Packed, there: dict[str, bytes]) -> None:
    """A version never changes: nothing is sent, and the way out is a new version."""
    helm = ScriptedHelm(there=there)
    with pytest.raises(TaskFailure, match=r"other content.*Raise `version` in helm/triton/Chart\.yaml"):
        push(own(chart, helm))
    assert "push" not in helm.words


def test_a_signature_is_asked_for_and_kept(chart: Packed) -> None:
    """A version that is there without the signature that is wanted is refused; one that has it is success."""
    with pytest.raises(TaskFailure, match="not signed, and a version is never changed"):
        push(own(chart, ScriptedHelm(there=FILES), signed=True))
    helm = ScriptedHelm(there=FILES, signed=True)
    assert "--verify --keyring PUBLIC_KEYS.gpg" in push(own(chart, helm, signed=True))
    assert {"--sign", "--key=Chart", "--keyring=ring.gpg"} <= set(helm.ran[1].argv)


@pytest.mark.parametrize(
    ("step", "said", "saying"),
    [
        ("package", "private key not found", "gpg --export-secret-keys"),
        ("package", "provided key is not a private key. Try providing a keyring", "with the secret key"),
        ("package", "openpgp: invalid data: tag byte does not have MSB set", "not --armor"),
        ("package", 'Password for key "Me <me@h>" >  \ninappropriate ioctl for device', "--passphrase-file"),
        ("package", "openpgp: invalid data: private key checksum failure", "CHART_PASSPHRASE_FILE"),
        ("pull", 'GET "https://h/v2/x/manifests/1": basic credential not found', "helm registry login HOST"),
        ("pull", "response status code 401: unauthorized: authentication required", "does not take the login"),
        ("pull", 'Get "https://h/v2/": dial tcp 10.0.0.1:443: connect: connection refused', "cannot be reached"),
        ("push", "response status code 404: name unknown: The repository does not exist", "create-repository --chart"),
        ("push", "response status code 403: denied: not authorized to perform: ecr:PutImage", "docs/aws.md"),
        ("push", "tag invalid: The image tag '1.0.0' already exists and cannot be overwritten", "Run the task again"),
        ("push", "something new", "Helm says why.\n  Error: something new"),
    ],
)  # fmt: skip
def test_each_failure_of_helm_has_a_way_out(chart: Packed, step: str, said: str, saying: str) -> None:
    """The message says what to do, and Helm's last line."""
    with pytest.raises(TaskFailure) as raised:
        push(own(chart, ScriptedHelm(fails={step: said}), signed=True))
    assert str(raised.value).startswith("Cannot ")
    assert saying in str(raised.value)
    assert str(raised.value).endswith(said.splitlines()[-1])


def test_the_key_comes_from_flags_or_settings_as_a_whole(tmp_path: Path) -> None:
    """No key means no signature; half a key, or a file that is not there, is told."""
    ring, secret = tmp_path / "ring.gpg", tmp_path / "secret"
    ring.touch()
    assert Signing.from_settings(settings()) is None
    said = settings(CHART_KEY="Chart", CHART_KEYRING=str(ring))
    assert Signing.from_settings(said) == Signing(key="Chart", keyring=ring)
    with pytest.raises(TaskFailure, match="CHART_KEYRING or --keyring"):
        Signing.from_settings(settings(), key="Chart")
    with pytest.raises(TaskFailure, match=r"There is no file .*secret, which"):
        Signing.from_settings(said, passphrase=str(secret))
    secret.touch()
    found = Signing.from_settings(said, key="Other", passphrase=str(secret))
    assert found is not None
    assert Signing.from_settings(settings(CHART_KEY="Chart", CHART_KEYRING="setup.cfg")) == Signing(
        key="Chart", keyring=ROOT / "setup.cfg"
    )
    assert found.options == ("--sign", "--key=Other", f"--keyring={ring}", f"--passphrase-file={secret}")


def test_a_dry_run_names_the_commands_in_their_order(chart: Packed, aws: ScriptedAws) -> None:
    """Neither AWS nor Helm is asked; the password's place is standard input."""
    assert aws.access.region == REGION
    plan = ChartPush.of(settings(**SETTINGS), chart=chart, signing=None, runner=ScriptedHelm()).plan()
    words = [line.removeprefix("HELM_REGISTRY_CONFIG=TEMPORARY/config.json ").split()[1] for line in plan]
    assert words == ["registry", "package", "pull", "push"]
    assert "--password-stdin" in plan[0]


def test_the_tag_of_a_version_with_a_plus_is_helms(tmp_path: Path) -> None:
    """A tag cannot have a plus: Helm writes an underscore, and reads it back."""
    (tmp_path / "Chart.yaml").write_text("name: flowers\nversion: 1.0.0+a.1\n", encoding="utf-8")
    assert Packed.read(tmp_path).tag == "1.0.0_a.1"
    assert Packed.read(tmp_path).file == "flowers-1.0.0+a.1.tgz"


def test_folders_are_no_content(tmp_path: Path) -> None:
    """Only files count."""
    with tarfile.open(tmp_path / "x.tgz", "w:gz") as packed:
        folder = tarfile.TarInfo("flowers")
        folder.type = tarfile.DIRTYPE
        packed.addfile(folder)
    assert contents(tmp_path / "x.tgz") == {}
