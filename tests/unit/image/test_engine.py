"""What answers under docker's name, and whether an answer is what was asked for."""

import json
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from scripts.host.errors import TaskFailure
from scripts.host.shell import Command, Completed
from scripts.image import commit, engine
from scripts.image.built import inspect
from scripts.image.commit import Revision
from scripts.image.engine import LocalImage
from scripts.image.login import _same_engine
from tests.doubles.runners import ENGINE

NOTICE = "Emulate Docker CLI using podman. Create /etc/containers/nodocker to quiet msg."
CLIENT = {"Version": "28.2.2", "ApiVersion": "1.50"}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@attrs.frozen
class Says:
    """A program that answers every command alike."""

    output: str
    errors: str = ""
    status: int = 0

    def capture(self, command: Command, *, timeout_s: float = 30.0) -> Completed:  # noqa: ARG002
        """Answer."""
        return Completed(status=self.status, output=self.output, errors=self.errors)

    def stream(self, command: Command, *, show: Callable[[str], None]) -> Completed:
        """Refuse: nothing here is streamed."""
        raise AssertionError(command, show)


def image_of(runner: Says) -> object:
    """Look at an image as the report on a build does."""
    return inspect("x:1", layers=(), budget=1, runner=runner)


@pytest.mark.parametrize(
    "program",
    [
        Says(json.dumps({"Client": {"APIVersion": "4.9.3", "Version": "4.9.3"}})),
        Says(json.dumps({"Client": CLIENT}), NOTICE),
        Says("", f"{NOTICE}\nCannot connect to Podman. Please verify your connection", 125),
        Says(json.dumps({"Client": CLIENT, "Server": {"Version": "4.9.3", "Components": [{"Name": "Podman Engine"}]}})),
        Says(json.dumps({"Client": CLIENT}), "Cannot connect to the Docker daemon at unix:///x/podman.sock.", 1),
    ],
    ids=["its client", "its notice", "without its machine", "its engine", "its socket"],
)
def test_podman_is_refused_first(program: Says) -> None:
    """Under docker's name or behind docker's client: the message says so, before anything is built."""
    with pytest.raises(TaskFailure, match=r"docker is Podman, or leads to Podman's engine.*Docker alone"):
        engine.require(program)


@pytest.mark.parametrize(
    "said", ['{"Client": {"Version": "v1.7"}}', "28.0.1", "", "[]", '{"Client": {}, "Server": {"Version": "1"}}']
)
def test_another_program_of_that_name_is_refused(said: str) -> None:
    """nerdctl, or a wrapper that answers something else: an answer counts only if it is what was asked for."""
    with pytest.raises(TaskFailure, match="docker is another program"):
        engine.require(Says(said))


def test_warnings_are_no_answer() -> None:
    """What docker says on standard error changes neither the engine's version nor its address."""
    warning = "WARNING: Error loading config file: /root/.docker/config.json"
    assert engine.require(Says(ENGINE, warning)) == "28.0.1"
    assert _same_engine(Says("mine unix:///x.sock\n", warning)) == {"DOCKER_HOST": "unix:///x.sock"}


@pytest.mark.parametrize("said", [NOTICE, "", "mine", "mine /x.sock", "a b unix:///x.sock"])
def test_only_an_address_is_an_engines_address(said: str) -> None:
    """A notice on standard output becomes no DOCKER_HOST."""
    assert _same_engine(Says(said)) == {}


@pytest.mark.parametrize("look", [image_of, lambda runner: LocalImage.find("x:1", runner=runner)])
@pytest.mark.parametrize("said", ["hello", "", "[]", "{}", '{"Id": 7}', "<html>proxy</html>", "null"])
def test_an_image_that_is_described_otherwise_is_one_message(look: Callable[[Says], object], said: str) -> None:
    """No JSON, another shape, nothing at all: the message has the answer, and no traceback follows."""
    with pytest.raises(TaskFailure, match="docker was asked for the image x:1 and answered something else"):
        look(Says(said))


@pytest.mark.parametrize("missing", ["Size", "Config", "RootFS"])
def test_an_answer_that_lacks_a_part_is_one_message(missing: str) -> None:
    """Another program's description has other names in it."""
    whole = {"Id": "sha256:1", "Size": 1, "Config": {}, "RootFS": {"Layers": []}, "CreatedBy": "x"}
    assert image_of(Says(json.dumps(whole)))
    with pytest.raises(TaskFailure, match="answered something else"):
        image_of(Says(json.dumps({name: value for name, value in whole.items() if name != missing})))


@pytest.mark.parametrize(
    "said", ["", "hello 2026-01-01T00:00:00Z", f"{COMMIT[:12]} 2026-01-01T00:00:00Z", f"{COMMIT} yesterday"]
)
def test_only_a_commit_is_a_commit(said: str) -> None:
    """What else git, or a wrapper around it, prints becomes no label of an image."""
    assert commit.of(Path(), runner=Says(said)) == Revision()


def test_a_wrappers_lines_around_a_commit_do_not_matter() -> None:
    """The line that is one is found; git's own traces are on the other stream."""
    runner = Says(f"welcome\n{COMMIT} 2026-01-01T00:00:00Z\n", "12:00:00.1 git.c:460 trace: built-in: git log")
    assert commit.of(Path(), runner=runner).commit == f"{COMMIT}-dirty"
