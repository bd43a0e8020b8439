"""The chart pushed to a real registry with a password, signed and checked again, by both majors of Helm."""

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import yaml

from scripts.host.settings import ROOT
from tests.chart.conftest import lack
from tests.chart.engines import Program
from tests.image import hub
from tests.image.cloud import KEYS, NAME
from tests.image.ground import Missing

PASSPHRASE = "a-planted-passphrase"
CHART = yaml.safe_load((ROOT / "helm" / "triton" / "Chart.yaml").read_text(encoding="utf-8"))
# A desktop's store of passwords, which writes down what it is given.
STORE = "#!/bin/sh\ncat >> {file}\n"


@attrs.frozen(kw_only=True)
class Desk:
    """A machine of somebody who pushes: with Helm, AWS's login for a registry, and a key.

    Attributes:
        helm: Helm.
        home: The home folder.
        sources: The folder of the project's sources.
        settings: The settings, as environment variables.
    """

    helm: Program
    home: Path
    sources: Path
    settings: dict[str, str]

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a task."""
        path = os.pathsep.join([str(self.home / "bin"), str(self.home / "stores"), os.environ["PATH"]])
        temporary = {"HOME": str(self.home), "TMPDIR": str(self.home / "tmp"), "AWS_EC2_METADATA_DISABLED": "true"}
        return dict(os.environ) | self.settings | temporary | {"PATH": path}

    def push(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run the task; with the settings, but for those that are empty."""
        return self.run(sys.executable, "-m", "invoke", "push-chart", *arguments, **settings)

    def run(self, *command: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a program on this machine."""
        given = {name: value for name, value in (self.environment | settings).items() if value}
        return subprocess.run(
            command, cwd=self.sources, env=given, capture_output=True, text=True, timeout=110, check=False
        )

    def pull(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Pull the chart as the pages say, with a login of one's own."""
        host = self.settings["REGISTRY_HOST"]
        shutil.rmtree(self.home / "stores")
        login = ("registry", "login", host, "--username=AWS", f"--password={hub.PASSWORD}", "--plain-http")
        assert self.run("helm", *login).returncode == 0
        where = (f"oci://{host}/{NAME}/triton", f"--version={CHART['version']}", f"--destination={self.home}")
        return self.run("helm", "pull", *where, "--plain-http", *arguments)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a key with GnuPG, as docs/operations.md says: secret.gpg, public.gpg, and a file with its passphrase."""
    if shutil.which("gpg") is None:
        lack(Missing("gpg not installed"))
    folder = tmp_path_factory.mktemp("keys")
    home = folder / "gnupg"
    home.mkdir(mode=0o700)
    (folder / "passphrase").write_text(PASSPHRASE, encoding="utf-8")
    quiet = ("gpg", f"--homedir={home}", "--batch", "--quiet", "--pinentry-mode=loopback", f"--passphrase={PASSPHRASE}")
    try:
        subprocess.run(
            [*quiet, "--quick-generate-key", "Chart <c@example.com>", "rsa2048", "sign", "never"], check=True
        )
        for option, name in (("--export-secret-keys", "secret.gpg"), ("--export", "public.gpg")):
            done = subprocess.run([*quiet, option, "Chart"], check=True, stdout=subprocess.PIPE)
            (folder / name).write_bytes(done.stdout)
    finally:
        subprocess.run(["gpgconf", f"--homedir={home}", "--kill", "gpg-agent"], check=False)
    return folder


@pytest.fixture
def desk(helm: Program, tmp_path: Path) -> Iterator[Desk]:
    """Start moto and a registry; on this machine a desktop would keep passwords if it were asked to."""
    home, sources = tmp_path / "home", tmp_path / "sources"
    (home / "tmp").mkdir(parents=True)
    (home / "bin").mkdir()
    (home / "stores").mkdir()
    (home / "bin" / "helm").symlink_to(helm.path)
    for name in ("docker-credential-pass", "docker-credential-secretservice"):
        store = home / "stores" / name
        store.write_text(STORE.format(file=home / "kept"), encoding="utf-8")
        store.chmod(store.stat().st_mode | stat.S_IXUSR)
    for part in ("helm", "scripts", "triton_sdk"):
        shutil.copytree(ROOT / part, sources / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "tasks.py", sources)
    try:
        with hub.aws(tmp_path) as api, hub.registry(tmp_path) as host:
            where = {"AWS_REGION": "eu-central-1", "AWS_ACCOUNT_ID": hub.ACCOUNT, "ECR_REPOSITORY": NAME}
            settings = KEYS | where | {"AWS_ENDPOINT_URL": api, "REGISTRY_HOST": host}
            yield Desk(helm=helm, home=home, sources=sources, settings=settings | {"PYTHONPATH": str(sources)})
    except Missing as reason:
        lack(reason)


def test_the_chart_is_pushed_once_signed_and_checked(desk: Desk, keys: Path) -> None:
    """Made, pushed, checked, repeated, changed: what is there stays, and no password stays anywhere."""
    early = desk.push()
    assert early.returncode == 1
    assert "invoke create-repository` (the chart's: --chart)" in " ".join(early.stderr.split())
    made = desk.run(sys.executable, "-m", "invoke", "create-repository", "--chart")
    assert made.stdout == f"{desk.settings['REGISTRY_HOST']}/{NAME}/triton\n", made.stderr

    signing = {"CHART_KEY": "Chart", "CHART_KEYRING": str(keys / "secret.gpg")}
    locked = desk.push(**signing)
    assert "CHART_PASSPHRASE_FILE or --passphrase-file" in " ".join(locked.stderr.split())
    signing["CHART_PASSPHRASE_FILE"] = str(keys / "passphrase")
    done = desk.push(**signing)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"Pushed \S+/{NAME}/triton:{CHART['version']}, signed\n", done.stdout)
    assert f"--version {CHART['version']} --verify --keyring PUBLIC_KEYS.gpg\n" in done.stdout

    again = desk.push()
    assert "was there already with the same content, signed: nothing was sent" in again.stdout, again.stderr
    with (desk.sources / "helm" / "triton" / "values.yaml").open("a", encoding="utf-8") as values:
        values.write("# Changed.\n")
    changed = desk.push()
    assert changed.returncode == 1
    assert "is there already with other content" in changed.stderr

    assert not (desk.home / "kept").exists()
    assert list((desk.home / "tmp").iterdir()) == []
    assert not (desk.home / ".config").exists()
    for each in (early, made, locked, done, again, changed):
        assert not re.search(f"{hub.PASSWORD}|{PASSPHRASE}", each.stdout + each.stderr)
    verified = desk.pull("--verify", f"--keyring={keys / 'public.gpg'}")
    assert "Signed by: Chart <c@example.com>" in verified.stdout, verified.stderr
    assert "Chart Hash Verified" in verified.stdout


def test_another_registry_takes_helms_own_login(desk: Desk) -> None:
    """Without a login, the message says which command gives one, and after it the push succeeds."""
    asked = {"AWS_ACCOUNT_ID": "", "REGISTRY_HOST": ""}
    host = desk.settings["REGISTRY_HOST"]
    where = f"--registry=oci://{host}/charts"
    shutil.rmtree(desk.home / "stores")
    refused = desk.push(where, **asked)
    assert "helm registry login HOST" in " ".join(refused.stderr.split())
    login = ("helm", "registry", "login", host, "--username=AWS", f"--password={hub.PASSWORD}", "--plain-http")
    assert desk.run(*login).returncode == 0
    done = desk.push(where, **asked)
    assert f"Pushed {host}/charts/triton:{CHART['version']}, not signed" in done.stdout, done.stderr
