"""Planted secrets: nowhere in what any task prints, logs, runs, builds or leaves, in success and in failure."""

import base64
import os
import re
import shutil
import traceback
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import attrs
import pytest
from invoke import Context

from scripts.tasks import images
from tests.image import hub
from tests.image.cloud import KEYS, NAME, Cloud, running
from tests.image.conftest import lack
from tests.image.ground import Engine, Missing
from tests.image.project import Project

# Notes what a program is called with, and then lets it do its work; the context of a build is noted with its content.
WRAPPER = """#!/bin/sh
printf '%s\\n' "$0 $*" >> "{log}"
for context; do :; done
if [ "$1" = build ] && [ -d "$context" ]; then find "$context" -type f -exec cat {{}} + >> "{log}"; fi
exec {real} "$@"
"""
# Python imports this by itself: everything that logs is written down, at its most talkative.
TALKATIVE = """
import logging
logging.basicConfig(filename={log!r}, level=logging.DEBUG)
logging.getLogger("talkative").debug("on")
"""
SCENARIOS: dict[str, tuple[tuple[str, ...], dict[str, str], int]] = {
    "check": (("check-env",), {}, 0),
    "create": (("create-repository",), {}, 0),
    "push": (("push-triton", "--repository={packaged}"), {}, 0),
    "push again": (("push-triton", "--repository={packaged}"), {}, 0),
    "dry run": (("push-triton", "--repository={packaged}", "--dry-run"), {}, 0),
    "build": (("build-image", "--repository={packaged}"), {}, 0),
    "lint": (("lint-repository", "--repository={packaged}"), {}, 0),
    "serve": (("serve", "--docker", "--dry-run", "--repository={packaged}"), {}, 0),
    "request": (
        ("generate-input", "--model=mobilenetv2", "--repository={packaged}", "--output={home}/input.json"),
        {},
        0,
    ),
    "no such model": (("package-model", "--model=no-such-model"), {}, 1),
    "no server": (("smoke-test", "--url=127.0.0.1:1", "--repository={packaged}"), {}, 1),
    "wrong account": (("push-triton",), {"AWS_ACCOUNT_ID": "210987654321"}, 1),
    "no repository": (("push-triton",), {"ECR_REPOSITORY": "nothing-here"}, 1),
    "no network": (("push-triton",), {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, 1),
    "no registry": (("push-triton", "--repository={packaged}", "--tag=x"), {"REGISTRY_HOST": "127.0.0.1:1"}, 1),
    "no docker": (("push-triton",), {"DOCKER_HOST": "unix:///nowhere/docker.sock"}, 1),
    "expired": (("push-triton",), {"AWS_ENDPOINT_URL": "ExpiredTokenException"}, 1),
    "quoted back": (("create-repository",), {"AWS_ENDPOINT_URL": "InvalidSignatureException"}, 1),
    "check, refused": (("check-env",), {"AWS_ENDPOINT_URL": "AccessDeniedException"}, 1),
    "bad setting": (("check-env",), {"AWS_ACCOUNT_ID": "x"}, 1),
}


def forms(value: str) -> set[bytes]:
    """Return what *value* looks like as it is, in a URL, and in base64, alone or after ``AWS:``."""
    encoded = [base64.b64encode(text.encode()).rstrip(b"=") for text in (value, f"AWS:{value}")]
    return {value.encode(), quote(value, safe="").encode(), *encoded}


HIDDEN = {form for value in (*KEYS.values(), hub.PASSWORD) for form in forms(value)}


@attrs.frozen(kw_only=True)
class Watched:
    """The cloud, with everything that its tasks do written down.

    Attributes:
        cloud: The cloud.
        folder: The logs and the wrappers.
    """

    cloud: Cloud
    folder: Path

    def environment(self, extra: dict[str, str]) -> dict[str, str]:
        """Return what makes a task talk."""
        engine = self.cloud.project.engine
        path = os.pathsep.join([str(self.folder / "bin"), engine.environment()["PATH"]])
        python = os.pathsep.join([str(self.cloud.project.root), str(self.folder / "python")])
        return self.cloud.environment() | {"PATH": path, "PYTHONPATH": python} | extra

    def traces(self) -> dict[str, bytes]:
        """Return the names and contents of all files that were written: logs, home, temporary files, records."""
        places = [self.folder / "log", self.folder / "argv", self.cloud.home, self.cloud.project.root / "build"]
        files = [p for place in places for p in ([place] if place.is_file() else place.rglob("*")) if p.is_file()]
        return {str(path): path.read_bytes() + str(path).encode() for path in files}


@pytest.fixture(scope="module")
def watched(
    project: Project, engine: Engine, packaged: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    """Plant the keys in .env, and write down what is run and logged."""
    folder = tmp_path_factory.mktemp("watched")
    (folder / "bin").mkdir()
    (folder / "python").mkdir()
    for name in ("docker", "git"):
        real = shutil.which(name, path=engine.environment()["PATH"])
        wrapper = folder / "bin" / name
        wrapper.write_text(WRAPPER.format(log=folder / "argv", real=real), encoding="utf-8")
        wrapper.chmod(0o755)
    hook = TALKATIVE.format(log=str(folder / "log"))
    (folder / "python" / "sitecustomize.py").write_text(hook, encoding="utf-8")
    planted = project.root / ".env"
    try:
        with running(project, engine, packaged=packaged, folder=tmp_path_factory.mktemp("cloud")) as cloud:
            planted.write_text("".join(f"{k}={v}\n" for k, v in cloud.settings().items()), encoding="utf-8")
            planted.chmod(0o600)
            yield Watched(cloud=cloud, folder=folder)
    except Missing as reason:
        lack(reason)
    finally:
        planted.unlink(missing_ok=True)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_no_task_shows_runs_or_leaves_a_secret(watched: Watched, scenario: str) -> None:
    """Output, logs at level DEBUG, arguments of children, build context, temporary files and ~/.docker: 0 hits."""
    arguments, settings, status = SCENARIOS[scenario]
    cloud = watched.cloud
    given = [a.format(packaged=cloud.packaged, home=cloud.home) for a in arguments]
    refusal = settings.get("AWS_ENDPOINT_URL", "http")
    if refusal.startswith("http"):
        done = cloud.project.invoke(*given, extra=watched.environment(settings))
    else:
        with hub.Refusing(refusal).serving() as api:
            done = cloud.project.invoke(*given, extra=watched.environment({"AWS_ENDPOINT_URL": api}))
    assert done.returncode == status, done.stdout + done.stderr
    if status == 1:
        assert done.stderr.count("Error: ") == 1
        assert "Traceback" not in done.stderr
    traces = {"output": (done.stdout + done.stderr).encode(), **watched.traces()}
    hits = [(name, form) for name, content in traces.items() for form in HIDDEN if form in content]
    assert not hits
    assert not list((cloud.home / "tmp").iterdir())
    assert not (cloud.home / ".docker").exists()


def test_the_traces_are_really_written(watched: Watched) -> None:
    """What was searched holds the calls of docker and git, the build context, and Python's logs."""
    done = watched.cloud.project.invoke(
        "push-triton", f"--repository={watched.cloud.packaged}", "--tag=traces", extra=watched.environment({})
    )
    assert done.returncode == 0, done.stderr
    calls = (watched.folder / "argv").read_bytes()
    assert re.search(rb"docker login --username AWS --password-stdin", calls)
    assert re.search(rb"git -C .* log", calls)
    assert b"talkative:on" in (watched.folder / "log").read_bytes()


def test_the_image_has_no_secret_in_history_or_layers(watched: Watched, engine: Engine, tmp_path: Path) -> None:
    """The archive of the image, configuration and plain layers, is searched byte by byte."""
    pushed = watched.cloud.project.invoke(
        "push-triton", f"--repository={watched.cloud.packaged}", extra=watched.environment({})
    )
    assert pushed.returncode == 0, pushed.stderr
    names = engine.docker("image", "ls", "--format={{.Repository}}:{{.Tag}}", f"--filter=reference={NAME}").split()
    saved = tmp_path / "image.tar"
    engine.docker("save", f"--output={saved}", names[0])
    content = saved.read_bytes()
    assert b"triton-sdk.models" in content
    assert not [form for form in HIDDEN if form in content]


@pytest.mark.parametrize(
    "settings",
    [
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"},
        {"AWS_ENDPOINT_URL": "InvalidSignatureException"},
        {"AWS_ACCOUNT_ID": "210987654321"},
        {"ECR_REPOSITORY": "nothing-here"},
        {"REGISTRY_HOST": "127.0.0.1:1"},
        {"DOCKER_HOST": "unix:///nowhere/docker.sock"},
    ],
    ids=lambda settings: "+".join(f"{k}" for k in settings),
)
def test_a_traceback_shows_no_secret(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]
) -> None:
    """What a crash reporter would print of each failure, with all causes, has none."""
    cloud = watched.cloud
    given = cloud.settings() | cloud.environment() | dict(cloud.project.engine.variables) | settings
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with hub.Refusing(given["AWS_ENDPOINT_URL"]).serving() as api:
        if not given["AWS_ENDPOINT_URL"].startswith("http"):
            monkeypatch.setenv("AWS_ENDPOINT_URL", api)
        with pytest.raises(SystemExit) as raised:
            images.push_triton(Context(), image="triton-test/tiny:1", tag="traceback")
    text = "".join(traceback.format_exception(raised.value))
    assert "TaskFailure" in text
    assert not [form for form in HIDDEN if form.decode() in text]
