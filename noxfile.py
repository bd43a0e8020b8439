"""Sessions for a bare machine: each makes its own environment, so `pip install nox` is all that it needs."""

import atexit
import os
import shutil
import sys
from pathlib import Path

import nox
from filelock import FileLock, Timeout  # nox brings it, with virtualenv

nox.needs_version = ">=2025.5"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = True

ROOT = Path(__file__).parent
CONSTRAINTS = ROOT / "constraints.txt"
# The same examples each time: a run of plain pytest looks for new ones.
SAME_EXAMPLES = "--hypothesis-profile=ci"


def _wait_for_other_runs() -> None:
    """Let one nox at a time use the environments of this clone; the lock ends with the process."""
    folder = ROOT / ".nox"
    lock = FileLock(folder / "lock")
    try:
        folder.mkdir(exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        sys.stderr.write("Another nox is at work in this folder; waiting for it to end.\n")
        lock.acquire()
    except OSError as error:
        sys.exit(
            f"nox keeps its environments in {folder}, which cannot be used: {error.strerror}. Let a clone that you "
            "may write be the working folder."
        )
    atexit.register(lock.release)


if not {"-l", "--list", "-h", "--help", "--version"} & set(sys.argv):
    _wait_for_other_runs()


def install(session: nox.Session, *packages: str) -> None:
    """Install *packages* in the versions of constraints.txt, which also holds for what builds ours."""
    # A URL, since pip would divide a path with a space in two.
    build = {"PIP_BUILD_CONSTRAINT": CONSTRAINTS.as_uri()}
    session.install("--quiet", "--constraint", str(CONSTRAINTS), *packages, env=build)


@nox.session
def smoke(session: nox.Session) -> None:
    """Package three models, serve them on a real Triton (`-- --gpu`: on GPUs), check them; or check --url's server."""
    session.log(
        "First Python's packages are installed, a minute or two; then three models are packaged, served by a real"
    )
    session.log("Triton and checked: 2 minutes in all on a quiet machine, 5 on a busy one.")
    install(session, "-e", ".[tasks]")
    gpu = [argument for argument in session.posargs if argument == "--gpu"]
    if session.posargs != gpu or (os.environ.get("TRITON_URL") and not gpu):
        session.run("invoke", "smoke-test", *session.posargs)
        return
    # Always the same folder, so that what a killed run left goes with the next one.
    folder = ROOT / ".nox" / "smoke-models"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        repository = f"{folder}/model_repository"
        # Every batch size up to the largest is proved: for ResNet50 and 32 that is 17 s on two cores, for 8 it is 1 s.
        seeded = ("--weights", "seeded", "--max-batch", "8")
        package = ("invoke", "package-model", *seeded, "--repository", repository)
        session.run(*package, "--model", "resnet50", "--seed", "1")
        session.run(*package, "--model", "resnet50", "--seed", "2")
        session.run(*package, "--model", "mobilenetv2", "--seed", "1")
        session.run("invoke", "smoke-test", "--local", *gpu, "--repository", repository)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests: unit, wire, tasks and live."""
    if not session.posargs:
        session.log("About 18 minutes on two quiet cores, half of them with a real Triton; `-- tests/unit` takes 3.")
    install(session, "-e", ".[test]")
    session.run("pytest", SAME_EXAMPLES, *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the tests and show which lines no test reaches; what child processes run counts too."""
    install(session, "-e", ".[test]", "coverage")
    session.run("coverage", "erase")
    # Counting lines takes time, which is what the others measure.
    session.run("coverage", "run", "-m", "pytest", SAME_EXAMPLES, "-m", "not timing", *session.posargs)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session
def lowest(session: nox.Session) -> None:
    """Run the tests with the lowest versions that setup.cfg allows."""
    install(session, "uv")
    lowest_versions = ("--resolution", "lowest-direct", "--editable", ".[test]")
    session.run("uv", "pip", "install", "--quiet", "--python", session.virtualenv.location, *lowest_versions)
    session.run("pytest", SAME_EXAMPLES, *session.posargs)


@nox.session
def constraints(session: nox.Session) -> None:
    """Write constraints.txt anew, with the newest versions that suit each other, on each Python and platform."""
    install(session, "uv")
    bare = ("--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links")
    every = ("--all-extras", "--universal", "--python-version", "3.11", "--upgrade")
    output = ("--output-file", CONSTRAINTS.name)
    session.run("uv", "pip", "compile", "--quiet", "setup.cfg", *every, *bare, *output)


@nox.session
def release(session: nox.Session) -> None:
    """Build the package into dist/ and check it; `-- v1.2.3` also checks it against the tag of that name."""
    install(session, "-e", ".[test]", "build")
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    build = {"PIP_CONSTRAINT": CONSTRAINTS.as_uri()}
    session.run("python", "-m", "build", "--outdir", "dist", silent=True, env=build)
    tag = session.posargs[0] if session.posargs else ""
    session.run("pytest", "tests/release", env={"TRITON_TEST_DIST": str(ROOT / "dist"), "TRITON_TEST_TAG": tag})


@nox.session
def docs(session: nox.Session) -> None:
    """Make a site of the pages and of the API's docstrings in build/docs; a link that leads nowhere fails."""
    # With ruff, signatures are wrapped.
    install(session, "-e", ".[docs]", "ruff")
    quiet = {"NO_MKDOCS_2_WARNING": "1"}
    session.run("mkdocs", "build", "--strict", "--quiet", env=quiet)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure client and model store beside others and write docs/performance.md; `-- --quick` only prints, roughly."""
    install(session, "-e", ".[bench]")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def image(session: nox.Session) -> None:
    """Build the images, run and push them: on the Docker engine that answers, or, as root, on one of their own."""
    install(session, "-e", ".[image]")
    session.run("pytest", "tests/image", *session.posargs)


@nox.session
def chart(session: nox.Session) -> None:
    """Check the Helm chart without a cluster: render, validate, lint, alert; with Helm's programs where they are."""
    install(session, "-e", ".[chart]")
    # It pins an older boto3, so it has an environment of its own.
    policies = ROOT / ".nox" / "checkov"
    session.run("python", "-m", "venv", str(policies), silent=True)
    session.run(str(policies / "bin" / "pip"), "install", "--quiet", "checkov==3.3.30", external=True)
    session.run("pytest", "tests/chart", *session.posargs, env={"CHECKOV": str(policies / "bin" / "checkov")})


@nox.session
def cluster(session: nox.Session) -> None:
    """Deploy to a real Kubernetes: the cluster that KUBECONFIG names, or, as root, one that the tests make."""
    install(session, "-e", ".[cluster]")
    # Here, where its progress shows; without Go the tests say what is missing.
    session.run("python", "-m", "tests.cluster.binaries")
    session.run("pytest", "tests/cluster", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting, and the workflows of .github."""
    install(session, "ruff", "zizmor")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("zizmor", "--offline", "--quiet", ".github")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types, strictly."""
    install(session, "-e", ".[types]")
    session.run("mypy")
    session.run("mypy", "tasks.py", "noxfile.py")
    # It finds the package by its path: an editable installation is a hook of the interpreter's.
    where = {"PYTHONPATH": str(ROOT)}
    session.run("pyright", "--verifytypes", "triton_sdk", "--ignoreexternal", env=where, silent=True)
    session.run("pytest", "tests/typing")
