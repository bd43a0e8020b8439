"""Sessions for a bare machine: each makes its own environment, so `pip install nox` is all that it needs."""

import atexit
import os
import sys
import tempfile
from pathlib import Path

import nox
from filelock import FileLock, Timeout  # nox brings it, with virtualenv

nox.needs_version = ">=2025.5"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = True

ROOT = Path(__file__).parent


def _wait_for_other_runs() -> None:
    """Let one nox at a time use the environments of this clone; the lock ends with the process."""
    (ROOT / ".nox").mkdir(exist_ok=True)
    lock = FileLock(ROOT / ".nox" / "lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        sys.stderr.write("Another nox is at work in this folder; waiting for it to end.\n")
        lock.acquire()
    atexit.register(lock.release)


if not {"-l", "--list", "-h", "--help", "--version"} & set(sys.argv):
    _wait_for_other_runs()


@nox.session
def smoke(session: nox.Session) -> None:
    """Package three models, serve them on a real Triton (`-- --gpu`: on GPUs), check them; or check --url's server."""
    session.install("--quiet", "-e", ".[tasks]")
    gpu = [argument for argument in session.posargs if argument == "--gpu"]
    if session.posargs != gpu or (os.environ.get("TRITON_URL") and not gpu):
        session.run("invoke", "smoke-test", *session.posargs)
        return
    with tempfile.TemporaryDirectory(prefix="triton-smoke-") as folder:
        repository = f"{folder}/model_repository"
        # Every batch size up to the largest is proved: for ResNet50 and 32 that is 17 s on two cores, for 8 it is 1 s.
        seeded = ("--weights", "seeded", "--max-batch", "8")
        package = ("invoke", "package-model", *seeded, "--repository", repository)
        session.run(*package, "--model", "resnet50", "--seed", "1")
        session.run(*package, "--model", "resnet50", "--seed", "2")
        session.run(*package, "--model", "mobilenetv2", "--seed", "1")
        session.run("invoke", "smoke-test", "--local", *gpu, "--repository", repository)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests: unit, wire, tasks and live."""
    session.install("--quiet", "-e", ".[test]")
    # The same examples each time: a run of plain pytest looks for new ones.
    session.run("pytest", "--hypothesis-profile=ci", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the client beside its peers and write docs/performance.md; `-- --quick` is rough and writes nothing."""
    session.install("--quiet", "-e", ".[bench]")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def image(session: nox.Session) -> None:
    """Build the images, run and push them: on the Docker engine that answers, or, as root, on one of their own."""
    session.install("--quiet", "-e", ".[image]")
    session.run("pytest", "tests/image", *session.posargs)


@nox.session
def chart(session: nox.Session) -> None:
    """Check the Helm chart without a cluster: render, validate, lint, alert; with Helm's programs where they are."""
    session.install("--quiet", "-e", ".[chart]")
    # It pins an older boto3, so it has an environment of its own.
    policies = ROOT / ".nox" / "checkov"
    session.run("python", "-m", "venv", str(policies), silent=True)
    session.run(str(policies / "bin" / "pip"), "install", "--quiet", "checkov==3.3.30", external=True)
    session.run("pytest", "tests/chart", *session.posargs, env={"CHECKOV": str(policies / "bin" / "checkov")})


@nox.session
def cluster(session: nox.Session) -> None:
    """Deploy to a real Kubernetes: the cluster that KUBECONFIG names, or, as root, one that the tests make."""
    session.install("--quiet", "-e", ".[cluster]")
    # Here, where its progress shows; without Go the tests say what is missing.
    session.run("python", "-m", "tests.cluster.binaries")
    session.run("pytest", "tests/cluster", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install("--quiet", "ruff==0.17.6")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types, strictly."""
    session.install("--quiet", "-e", ".[types]")
    session.run("mypy")
    session.run("mypy", "tasks.py", "noxfile.py")
    # It finds the package by its path: an editable installation is a hook of the interpreter's.
    where = {"PYTHONPATH": str(ROOT)}
    session.run("pyright", "--verifytypes", "triton_sdk", "--ignoreexternal", env=where, silent=True)
    session.run("pytest", "tests/typing")
