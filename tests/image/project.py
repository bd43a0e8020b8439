"""Run tasks in a copy of this project, and the containers of the images that they build."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from scripts.host.settings import VARIABLES
from tests.image.ground import PATH, Engine
from tests.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent
# What a build reads, and git's own list of what it may not.
COPIED = ("tasks.py", "scripts", "triton_sdk", "docker", "setup.cfg", "pyproject.toml", "README.md", ".gitignore")
HARDENED = (
    "--user=1000:1000",
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--shm-size=128m",
    "--tmpfs=/tmp:rw,noexec,nosuid,nodev,size=16m",
)
READY_S = 60.0


@attrs.frozen(kw_only=True)
class Project:
    """A copy of this project.

    Attributes:
        root: Its folder, the root of a git repository.
        engine: The engine that its tasks use.
    """

    root: Path
    engine: Engine

    def invoke(self, *arguments: str, extra: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a task."""
        environment = self.engine.environment(
            {"DOCKER_BUILDKIT": "0", "PYTHONPATH": str(self.root)} | dict(extra or {})
        )
        kept = {name: value for name, value in environment.items() if name not in VARIABLES or name in (extra or {})}
        return subprocess.run(
            [sys.executable, "-m", "invoke", *arguments],
            cwd=self.root,
            env=kept,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def build(self, *arguments: str, repository: Path, extra: Mapping[str, str] | None = None) -> str:
        """Build an image and return its name."""
        done = self.invoke("build-image", f"--repository={repository}", *arguments, extra=extra)
        assert done.returncode == 0, done.stdout + done.stderr
        named = re.search(r"^(\S+:\S+): .*budget", done.stdout, re.MULTILINE)
        assert named is not None, done.stdout
        return named[1]


def copied(root: Path, engine: Engine) -> Project:
    """Copy this project to *root*, as a git repository of its own."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, root / name)
    git = ("git", "-C", str(root), "-c", "user.name=test", "-c", "user.email=test@localhost")
    for arguments in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "--message=all")):
        subprocess.run([*git, *arguments], check=True, timeout=30)
    return Project(root=root, engine=engine)


def buildkit_client(engine: Engine) -> str | None:
    """Return a client that can build with BuildKit, or None."""
    clients = [shutil.which("docker", path=folder) for folder in PATH.split(os.pathsep)]
    for client in dict.fromkeys(client for client in clients if client):
        version = engine.docker("version", "--format={{.Client.Version}}", client=client)
        # Built into the client up to 20.10, a plugin since.
        plugin = subprocess.run(
            [client, "buildx", "version"], env=engine.environment(), capture_output=True, check=False
        )
        if int(version.split(".")[0]) < 23 or plugin.returncode == 0:
            return client
    return None


def layers(engine: Engine, image: str) -> list[str]:
    """Return the digests of an image's layers, the oldest first."""
    found: list[str] = json.loads(engine.docker("image", "inspect", "--format={{json .RootFS.Layers}}", image))
    return found


@attrs.frozen(kw_only=True)
class Container:
    """A running server.

    Attributes:
        id: The container.
        http_port: Its HTTP port on this machine; gRPC and metrics are the two after it.
        engine: The engine that runs it.
    """

    id: str
    http_port: int
    engine: Engine

    @property
    def url(self) -> str:
        """Where its HTTP API is, as HOST:PORT."""
        return f"127.0.0.1:{self.http_port}"

    @property
    def grpc_url(self) -> str:
        """Where its gRPC API is."""
        return f"127.0.0.1:{self.http_port + 1}"

    def logs(self) -> str:
        """Return what it printed."""
        done = subprocess.run(
            ["docker", "logs", self.id], env=self.engine.environment(), capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr


@contextlib.contextmanager
def serving(
    engine: Engine, image: str, *, options: tuple[str, ...] = HARDENED, arguments: tuple[str, ...] = ()
) -> Iterator[Container]:
    """Run *image* on three ports of loopback until the block ends; wait until it is ready."""
    port = free_ports(3)
    published = [f"--publish=127.0.0.1:{port + i}:{8000 + i}" for i in range(3)]
    name = engine.docker("run", "--detach", *options, *published, image, *arguments)
    container = Container(id=name, http_port=port, engine=engine)
    try:

        def ready() -> bool:
            running = engine.docker("inspect", "--format={{.State.Running}}", name)
            assert running == "true", container.logs()[-3000:]
            return ready_at(container.url, "/v2/health/ready")

        wait_until(ready, image, within_s=READY_S, every_s=0.2, told=lambda: container.logs()[-3000:])
        yield container
    finally:
        engine.docker("rm", "--force", name)


def ready_at(url: str, path: str) -> bool:
    """Return whether HOST:PORT answers well for a path."""
    try:
        with urllib.request.urlopen(f"http://{url}{path}", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def free_ports(count: int) -> int:
    """Return the first of so many free ports in a row."""
    for first in range(21000, 22000, 7):
        with contextlib.ExitStack() as held:
            try:
                for port in range(first, first + count):
                    held.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            return first
    raise AssertionError(f"no {count} free ports in a row")
