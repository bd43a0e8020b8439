"""The pytest plugin, in projects of our users: what it serves, when it skips, and that it keeps out of the way."""

import sys
from pathlib import Path

import pytest

from triton_sdk import local
from triton_sdk.errors import LocalServerError

pytest_plugins = ["pytester"]

USE = """
def test_served(local_triton):
    assert local_triton == "server"
"""


class Server:
    """Stands in for LocalTriton, and notes what it is to serve."""

    served: Path

    def __init__(self, repository: Path, *, runtime: object) -> None:
        assert runtime == "runtime"
        Server.served = Path(repository)

    def __enter__(self) -> str:
        if not self.served.is_dir():
            raise LocalServerError("The model repository is not there.")
        return "server"

    def __exit__(self, *_: object) -> None:
        """Leave."""


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch, pytester: pytest.Pytester) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(local, "LocalTriton", Server)
    monkeypatch.setattr(local, "provision", lambda: "runtime")
    pytester.mkdir("models")
    pytester.makepyfile(USE)


def test_the_repository_comes_from_the_configuration(pytester: pytest.Pytester) -> None:
    """The ini option counts from the root folder, wherever the run was started."""
    pytester.makeini("[pytest]\ntriton_repository = models\n")
    pytester.runpytest_inprocess("--strict-config").assert_outcomes(passed=1)
    assert Server.served == pytester.path / "models"


def test_the_repository_comes_from_the_command_line(pytester: pytest.Pytester) -> None:
    """The option wins over the configuration."""
    pytester.makeini("[pytest]\ntriton_repository = elsewhere\n")
    pytester.runpytest_inprocess("--triton-repository=models").assert_outcomes(passed=1)
    assert Server.served == pytester.path / "models"


def test_the_repository_comes_from_a_fixture(pytester: pytest.Pytester) -> None:
    """A project that makes its repository in its tests overrides one fixture."""
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture(scope="session")
        def triton_repository(tmp_path_factory):
            return tmp_path_factory.mktemp("made")
        """
    )
    pytester.runpytest_inprocess().assert_outcomes(passed=1)
    assert Server.served.name == "made0"


def test_without_a_repository_the_error_says_what_to_do(pytester: pytest.Pytester) -> None:
    """All three ways are named, without a traceback."""
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*--triton-repository=FOLDER*triton_repository*override the fixture*"])
    assert "Traceback" not in result.stdout.str()


@pytest.mark.parametrize("missing", ["server", "packages"])
def test_where_no_triton_runs_its_tests_are_skipped(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """The reason is shown; on CI the same is an error."""
    if missing == "server":

        def refuse() -> None:
            raise LocalServerError("Triton is built for Linux only.")

        monkeypatch.setattr(local, "provision", refuse)
    else:
        monkeypatch.setitem(sys.modules, "triton_sdk.local", None)
    words = {"server": "built for Linux", "packages": "triton_sdk.local"}[missing]
    result = pytester.runpytest_inprocess("-rs", "--triton-repository=models")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines([f"SKIPPED*{words}*"])
    monkeypatch.setenv("CI", "true")
    result = pytester.runpytest_inprocess("--triton-repository=models")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*{words}*"])


def test_a_repository_that_does_not_load_is_an_error(pytester: pytest.Pytester) -> None:
    """What is wrong with the user's own models is never skipped."""
    pytester.runpytest_inprocess("--triton-repository=nowhere").assert_outcomes(errors=1)
