"""The tests see no settings of a person and reach nothing beyond this machine; what measures is repeated once."""

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from scripts.host.settings import SECRETS, VARIABLES, load
from tests import environment, sockets
from tests.cluster.plane import Access
from tests.cluster.user import User

ROOT = Path(__file__).parent.parent
PLANTED = "planted-1"
# What people have set, beside the settings of the tasks.
HABITS = (
    *("AWS_DEFAULT_PROFILE", "AWS_DEFAULT_REGION", "AWS_ROLE_ARN", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "KUBECONFIG"),
    *("KUBERNETES_SERVICE_HOST", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_BUILDKIT", "BUILDKIT_HOST", "HELM_NAMESPACE"),
    *("TRITON_GRPC_URL", "TRITON_TOKEN", "TRITON_SOMETHING_NEW", "INVOKE_RUN_ECHO", "GIT_DIR", "GOOGLE_API_KEY"),
    *("OTEL_EXPORTER_OTLP_ENDPOINT", "FORCE_COLOR", "COLUMNS", "GRPC_VERBOSITY"),
)
# Ends in two lines: what a test sees of the settings, and what a program that it starts does.
PROBE = '''
import os, subprocess, sys
from scripts.host.settings import VARIABLES, load

CODE = """
import os
from scripts.host.settings import VARIABLES, load
found = load()
print(sorted(name for name in VARIABLES if found.has(name)), found.problems, found.warnings,
      sorted(name for name, value in os.environ.items() if value == "planted-1"))
"""

def test_what_is_seen(capfd):
    exec(CODE, {})
    subprocess.run([sys.executable, "-c", CODE], check=True)
    seen = capfd.readouterr().out.splitlines()
    assert seen == ["[] () () []"] * 2, seen
'''


def small_project(folder: Path) -> Path:
    """Copy what a test's surroundings are made of, and return the folder."""
    for name in ("scripts/__init__.py", "scripts/host", "tests/__init__.py", "setup.cfg"):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copyfile(source, target)
    for name in ("conftest", "environment", "sockets"):
        shutil.copyfile(ROOT / "tests" / f"{name}.py", folder / "tests" / f"{name}.py")
    return folder


def run_tests(folder: Path, code: str, environ: Mapping[str, str], *options: str, before: Sequence[str] = ()) -> str:
    """Run *code* as a module of tests in a small project, and return what pytest prints; *before* starts it."""
    (folder / "tests" / "test_probe.py").write_text(code, encoding="utf-8")
    command = [*before, sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/test_probe.py", *options]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=50,
        check=False,
    )
    return done.stdout


@pytest.mark.parametrize("broken", [False, True], ids=["whole", "broken"])
def test_a_planted_file_and_environment_reach_no_settings(tmp_path: Path, broken: bool) -> None:
    """Neither a test nor a program that it starts sees a setting of .env or of a person, nor a broken line."""
    root = small_project(tmp_path)
    planted = "".join(f"{name}={PLANTED}\n" for name in VARIABLES)
    (root / ".env").write_text(planted + "KUBE_CONTEXT\nAWS_PROFILE='x\n" * broken, encoding="utf-8")
    assert all(load(root, environ={}).has(name) for name in VARIABLES)
    said = run_tests(root, PROBE, dict.fromkeys((*VARIABLES, *HABITS), PLANTED))
    assert "1 passed" in said, said


def test_nothing_of_a_person_s_is_kept_but_what_is_named(tmp_path: Path) -> None:
    """A planted variable is gone, or empty where that hides .env's; the machine's own and the project's stay."""
    kept = {"PATH": "/bin", "CI": "true", "TRITON_TEST_DATA": "/data", "https_proxy": "http://p", "LC_ALL": "C"}
    made = environment.clean(dict.fromkeys((*VARIABLES, *HABITS), PLANTED) | kept, empty=tmp_path)
    assert PLANTED not in made.values()
    assert kept.items() <= made.items()


def test_programs_find_no_account_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3 takes no keys from ~/.aws, although they lie there."""
    botocore_session = pytest.importorskip("botocore.session")
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text("[default]\naws_access_key_id=A\naws_secret_access_key=B\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert botocore_session.get_session().get_credentials() is None
    monkeypatch.delenv("AWS_SHARED_CREDENTIALS_FILE")
    assert botocore_session.get_session().get_credentials().access_key == "A"


def test_a_user_of_a_cluster_has_the_settings_of_the_test_alone(tmp_path: Path) -> None:
    """The KUBE_CONTEXT of a real .env reaches no task that a test runs, though the user's cluster is named."""
    (tmp_path / ".env").write_text("".join(f"{name}={PLANTED}\n" for name in VARIABLES), encoding="utf-8")
    outside = {"PATH": "/bin", "AWS_PROFILE": PLANTED, "KUBE_CONTEXT": PLANTED}
    user = User(plane=Access(kubeconfig=tmp_path, bin=tmp_path, variables=outside), namespace="own")
    found = load(tmp_path, environ=user.environment())
    assert found.values.keys() == {"TRITON_NAMESPACE", "TRITON_RELEASE", "TRITON_CHART"}
    assert PLANTED not in found.values.values()
    assert not SECRETS & found.secrets.keys()


def connect() -> None:
    """Open a connection to an address that is nobody's."""
    with socket.socket() as used:
        used.settimeout(0.01)
        used.connect(("192.0.2.1", 80))


def send() -> None:
    """Send a datagram there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as used:
        used.sendto(b"x", ("192.0.2.1", 80))


def listen() -> None:
    """Listen where others can come."""
    with socket.socket() as used:
        used.bind(("0.0.0.0", 0))


def ask() -> None:
    """Ask a name server."""
    socket.getaddrinfo("example.com", 443)


@pytest.mark.parametrize("reach", [connect, send, listen, ask])
def test_no_socket_reaches_beyond_this_machine(reach: Callable[[], None]) -> None:
    """The test fails, whatever errors its code expects, and is known to have done it."""
    with pytest.raises(pytest.fail.Exception, match="beyond this machine"):
        reach()
    assert len(sockets.refused()) == 1


def test_a_test_that_hides_it_fails_too(tmp_path: Path) -> None:
    """A refused socket in a thread, or in code that takes every error for its own, fails the test."""
    hides = """
import socket

def test_hides_it():
    try:
        socket.create_connection(("192.0.2.1", 80), timeout=0.01)
    except BaseException:
        pass
"""
    said = run_tests(small_project(tmp_path), hides, {})
    assert "1 failed" in said, said
    assert "the test reached beyond this machine: socket.getaddrinfo 192.0.2.1" in said


def test_loopback_files_and_the_tests_own_networks_are_used(tmp_path: Path) -> None:
    """Both families of loopback, a socket in a folder, and a network that a test has made, while it is there."""
    with socket.create_server(("127.0.0.1", 0)) as served, socket.create_connection(served.getsockname()):
        pass
    with socket.socket(socket.AF_UNIX) as served:
        served.bind(str(tmp_path / "s"))
    for name in ("localhost", "127.0.0.1", None):
        assert socket.getaddrinfo(name, 80)
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("models.invalid", 80)
    with sockets.made("192.0.2.1/24"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as used:
        used.connect(("192.0.2.7", 9))
    with pytest.raises(pytest.fail.Exception):
        connect()
    assert len(sockets.refused()) == 1


MEASURES = """
from pathlib import Path
import pytest

@pytest.fixture
def fresh():
    return []

@pytest.mark.timing
@pytest.mark.parametrize("good", [1, 2, 3])
def test_measures(good, fresh):
    with Path("runs").open("a") as runs:
        runs.write(f"{good}")
    fresh.append(1)
    assert fresh == [1]
    assert Path("runs").read_text().count(f"{good}") >= good, "too slow"

def test_does_not_measure():
    Path("runs").write_text("-")
"""


def test_what_measures_runs_last_and_is_repeated_once(tmp_path: Path) -> None:
    """A test that is right the second time passes and is told; one that is wrong twice fails."""
    said = run_tests(small_project(tmp_path), MEASURES, {})
    assert (tmp_path / "runs").read_text() == "-12233"
    assert "1 failed, 3 passed" in said, said
    assert "repeated: tests/test_probe.py::test_measures[2]" in said
    assert "too slow" in said


HEEDS = """
import signal, subprocess, sys
import pytest

@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_program_hears_it(number):
    signal.raise_signal(number)
    with subprocess.Popen(["sleep", "60"]) as child:
        child.send_signal(number)
        assert child.wait(20) == -number
"""


def test_programs_hear_ctrl_c_where_the_run_ignores_it(tmp_path: Path) -> None:
    """In a shell's background, or with nohup, the run goes on at Ctrl-C and hang-up, and what it starts does not."""
    ignoring = ("sh", "-c", "trap '' INT HUP; exec \"$@\"", "sh")
    said = run_tests(small_project(tmp_path), HEEDS, {}, before=ignoring)
    assert "2 passed" in said, said


EXAMPLES = """
from hypothesis import given, settings, strategies as st

def test_profile():
    print(settings.get_current_profile_name(), settings().max_examples, settings().derandomize, settings().deadline)
"""


@pytest.mark.parametrize(
    ("variables", "options", "expected"),
    [
        ({"CI": ""}, (), "default 100 False None"),
        ({"CI": "true"}, (), "ci 100 True None"),
        ({"CI": "true"}, ("--hypothesis-profile=nightly",), "nightly 2000 False None"),
    ],
)
def test_examples_are_the_same_in_ci_and_many_at_night(
    tmp_path: Path, variables: Mapping[str, str], options: tuple[str, ...], expected: str
) -> None:
    """In CI a property fails always or never; the profile `nightly` looks longer; no example has a deadline."""
    said = run_tests(small_project(tmp_path), EXAMPLES, variables, "-s", *options)
    assert expected in said, said
    assert f"examples: {expected.split()[0]}" in said
    assert "tritonclient 2" in said


def test_a_socket_of_a_thread_is_refused_too() -> None:
    """Whatever thread asks: the rule is the process's."""
    caught: list[BaseException] = []

    def reach() -> None:
        try:
            connect()
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=reach)
    thread.start()
    thread.join()
    assert [type(error) for error in caught] == [pytest.fail.Exception]
    assert len(sockets.refused()) == 1
