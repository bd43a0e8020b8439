"""Other programs for real: what git, docker and a credential_process say beside their answer, and instead of it."""

import json
import stat
import subprocess
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts import check_env
from scripts.host.errors import TaskFailure
from scripts.host.settings import load
from scripts.host.shell import LocalRunner
from scripts.image import commit, engine
from scripts.image.engine import LocalImage
from scripts.registry.aws import open_access
from tests.doubles.runners import ENGINE

PLANTED = "planted/Session+Token=="
GOOD = {"Version": 1, "AccessKeyId": "a", "SecretAccessKey": PLANTED, "SessionToken": "c"}
GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@example.com")


def program(path: Path, body: str) -> Path:
    """Write a program of the shell's."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(stat.S_IRWXU)
    return path


@pytest.mark.parametrize(
    ("variable", "value"), [("GIT_TRACE", "1"), ("GIT_TRACE_SETUP", "1"), ("GIT_TRACE_PERFORMANCE", "2")]
)
def test_gits_traces_are_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """A developer who traces git gets the same labels on the image, and no -dirty."""
    subprocess.run([*GIT, "init", "-q", tmp_path], check=True)
    subprocess.run([*GIT, "-C", tmp_path, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    head = subprocess.run([*GIT, "-C", tmp_path, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    monkeypatch.setenv(variable, value)
    assert commit.of(tmp_path, runner=LocalRunner()).commit == head.stdout.strip()


@pytest.mark.parametrize("before", [True, False])
def test_dockers_warnings_are_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bool) -> None:
    """A warning before or after the JSON, as an unreadable config.json or a broken plugin cause it."""
    described = json.dumps({"Id": "sha256:1", "Config": {}})
    warning = "echo 'WARNING: Error loading config file' >&2"
    answers = f"case $1 in version) echo '{ENGINE}';; *) echo '{described}';; esac"
    program(tmp_path / "docker", f"{warning}\n{answers}" if before else f"{answers}\n{warning}")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert engine.require(LocalRunner()) == "28.0.1"
    assert LocalImage.inspect("x:1", runner=LocalRunner()).id == "sha256:1"


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Give the question who we are, with credentials of a process with this body."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))

    def asked(body: str) -> str:
        helper = program(tmp_path / "my-helper", body)
        (tmp_path / "config").write_text(f"[profile dev]\ncredential_process = {helper} --key {PLANTED}\n")
        settings = load(tmp_path, environ={"AWS_PROFILE": "dev", "AWS_REGION": "eu-central-1"})
        with pytest.raises(TaskFailure) as raised:
            open_access(settings).identity()
        assert PLANTED not in "".join(traceback.format_exception(raised.value))
        return str(raised.value)

    return asked


@pytest.mark.parametrize(
    ("body", "saying"),
    [
        ("echo not json", "what it printed is no JSON object"),
        ("printf '\\377\\376'", "what it printed is no JSON object"),
        ("echo '[1]'", "what it printed is no JSON object"),
        ("true", "what it printed is no JSON object"),
        (f"echo '{PLANTED}' >&2; exit 3", "it failed"),
        (f"echo '{json.dumps(GOOD | {'Version': 2})}'", 'lacks "Version": 1'),
        (f"echo '{json.dumps({'Version': 1, 'AccessKeyId': 'a'})}'", "lacks AccessKeyId or SecretAccessKey"),
        (f"echo '{json.dumps(GOOD | {'Expiration': '2020-01-01T00:00:00Z'})}'", "have expired"),
        (f"echo '{json.dumps(GOOD | {'Expiration': 'soon'})}'", "the Expiration that it printed, cannot be read"),
    ],
)
def test_each_fault_of_a_credential_process_is_one_message(
    ask: Callable[[str], str], capfd: pytest.CaptureFixture[str], body: str, saying: str
) -> None:
    """It names the profile and the process, and repeats nothing that the process was given or said."""
    said = ask(body)
    assert "profile dev and its credential_process my-helper gave no credentials: " in said
    assert saying in said
    assert "Run the credential_process of profile dev in ~/.aws/config by hand" in said
    assert capfd.readouterr().err == ""


def test_a_process_that_is_not_there_is_one_message(tmp_path: Path, ask: Callable[[str], str]) -> None:
    """Not installed, or not to be run: it is the process that is named, and no file of AWS's."""
    program(tmp_path / "sub", "true").chmod(stat.S_IRUSR)
    said = ask("exec no-such-program")
    assert "my-helper gave no credentials: it failed" in said
    (tmp_path / "config").write_text(f"[profile dev]\ncredential_process = {tmp_path / 'sub'}\n")
    settings = load(tmp_path, environ={"AWS_PROFILE": "dev", "AWS_REGION": "eu-central-1"})
    with pytest.raises(TaskFailure, match=r"credential_process sub gave no credentials: it cannot be run \(Permission"):
        open_access(settings).identity()
    (tmp_path / "config").write_text("[profile dev]\ncredential_process = no-such-helper\n")
    with pytest.raises(TaskFailure, match="no-such-helper gave no credentials: it is not installed"):
        open_access(settings).identity()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_the_command_that_saves_a_file_as_utf_8_does_so(tmp_path: Path, encoding: str) -> None:
    """It stands in the message, with the file's whole path; afterwards the settings are read."""
    folder = tmp_path / "my repository"
    folder.mkdir()
    (folder / ".env").write_bytes("AWS_REGION=eu-central-1\r\n".encode(encoding))
    (problem,) = load(folder, environ={}).problems
    subprocess.run(problem.partition("with: ")[2], shell=True, check=True)
    assert load(folder, environ={}).get("AWS_REGION") == "eu-central-1"


def test_podman_under_dockers_name_does_not_pass_the_look_at_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither as a program, whose notice is no version, nor as an engine."""
    notice = "echo 'Emulate Docker CLI using podman. Create /etc/containers/nodocker to quiet msg.' >&2"
    answers = (
        """case $1 in --version) echo 'podman version 4.9.3';; *) echo '{"Client": {"APIVersion": "4.9.3"}}';; esac"""
    )
    program(tmp_path / "docker", f"{notice}\n{answers}")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    asked = check_env._docker(LocalRunner())
    assert (asked.state, asked.found) == ("missing", "podman version 4.9.3")
    assert "docker is Podman" in check_env._engine(LocalRunner()).found
