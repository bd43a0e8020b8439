"""A Docker engine of the tests' own, and base images made on the spot: no registry is needed."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs
import platformdirs

from tests import environment
from tests.waiting import wait_until

# Debian with CPython 3.11 and its libpython; without what an image does not need.
SUITE = "bookworm"
PACKAGES = "python3-minimal,libpython3.11,ca-certificates,python3"
LEFT_OUT = ("usr/share/doc", "usr/share/locale", "usr/share/man", "var/cache/apt", "var/lib/apt/lists", "dev")
# Debian keeps the engine where not every user's PATH leads.
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
START_S = 60.0


class Missing(Exception):  # noqa: N818 - a reason to skip
    """Something that the tests of images need is not here."""


@attrs.frozen(kw_only=True)
class Engine:
    """A Docker engine.

    Attributes:
        variables: What a client needs in its environment to reach it.
        own: Whether it is the tests' own.
    """

    variables: Mapping[str, str]
    own: bool

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return this process's environment with the way to the engine, and *extra*."""
        return dict(os.environ) | {"PATH": PATH} | dict(self.variables) | dict(extra or {})

    def docker(self, *arguments: str, client: str = "docker") -> str:
        """Run Docker's client and return its standard output; a failure shows all that it printed."""
        done = subprocess.run(
            [client, *arguments],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout.strip()


def need(*programs: str) -> None:
    """Check that *programs* are here.

    Raises:
        Missing: If one is not.
    """
    if absent := [program for program in programs if shutil.which(program, path=PATH) is None]:
        raise Missing(f"{', '.join(absent)} not installed")


@contextlib.contextmanager
def engine() -> Iterator[Engine]:
    """Give the engine that answers here, or start one; what was started ends with the block.

    Raises:
        Missing: If there is none and none can be started.
    """
    need("docker")
    named = environment.meant(environment.ENGINE)
    if _answers(named):
        yield Engine(variables=named, own=False)
        return
    need("dockerd", "ip", "setpriv")
    if os.geteuid() != 0:
        raise Missing("no Docker engine answers, and only root can start one")
    with (
        tempfile.TemporaryDirectory(prefix="triton-engine-") as folder,
        _bridge() as bridge,
        _daemon(Path(folder), bridge) as host,
    ):
        yield Engine(variables={"DOCKER_HOST": host}, own=True)


def remove_images(running: Engine, names: str) -> None:
    """Remove the images of *names*, a pattern, from an engine that was there before: it must not fill up."""
    if not running.own:
        listed = running.docker("image", "ls", "--format={{.Repository}}:{{.Tag}}", f"--filter=reference={names}")
        for name in listed.split():
            running.docker("image", "rm", "--force", name)


@contextlib.contextmanager
def _bridge() -> Iterator[str]:
    """Make a network bridge for one engine: two engines that share `docker0` take it from each other."""
    name = f"triton{os.getpid() % 10**8}"
    taken = subprocess.run(["ip", "route"], env={"PATH": PATH}, capture_output=True, text=True, check=True).stdout
    network = next(f"172.31.{n}" for n in range(200, 255) if f"172.31.{n}." not in taken)
    _ip("link", "add", name, "type", "bridge")
    try:
        _ip("address", "add", f"{network}.1/24", "dev", name)
        _ip("link", "set", name, "up")
        yield name
    finally:
        _ip("link", "delete", name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], env={"PATH": PATH}, check=True, timeout=10)


@contextlib.contextmanager
def _daemon(folder: Path, bridge: str) -> Iterator[str]:
    host = f"unix://{folder}/docker.sock"
    log = folder / "log"
    with log.open("wb") as stream:
        # Published ports go through Docker's proxy program, so the machine's packet filter stays as it is.
        daemon = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig=TERM", "dockerd", f"--host={host}", f"--data-root={folder}/data"),
                *(f"--exec-root={folder}/exec", f"--pidfile={folder}/pid", f"--bridge={bridge}"),
                *("--iptables=false", "--ip6tables=false"),
            ],
            env=dict(os.environ) | {"PATH": PATH},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            # Out of reach of the terminal's Ctrl-C, or it would be gone before the containers are.
            start_new_session=True,
        )
        try:

            def told() -> str:
                return log.read_text(errors="replace")[-2000:]

            def answers() -> bool:
                if daemon.poll() is not None:
                    raise Missing(f"dockerd does not start: {told()}")
                return _answers({"DOCKER_HOST": host})

            wait_until(answers, "dockerd", within_s=START_S, every_s=0.2, told=told, error=Missing)
            yield host
        finally:
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(30)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def _answers(variables: Mapping[str, str]) -> bool:
    done = subprocess.run(
        ["docker", "version", "--format", "{{.Server.Version}}"],
        env=dict(os.environ) | {"PATH": PATH} | dict(variables),
        capture_output=True,
        timeout=30,
        check=False,
    )
    return done.returncode == 0


def base(running: Engine, name: str) -> str:
    """Import a small Debian with Python as the image *name*, made once and kept in the user's cache folder.

    Raises:
        Missing: If it cannot be made here.
    """
    archive = platformdirs.user_cache_path("triton-sdk") / f"test-base-{SUITE}.tar"
    if not archive.exists():
        need("debootstrap", "tar")
        if os.geteuid() != 0:
            raise Missing("only root can make a base image")
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="triton-base-", dir=archive.parent) as folder:
            root, packed = Path(folder) / "root", Path(folder) / "base.tar"
            _run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(root))
            excluded = [f"--exclude=./{path}" for path in LEFT_OUT]
            _run("tar", f"--directory={root}", *excluded, "--create", f"--file={packed}", ".")
            packed.rename(archive)
    running.docker("import", str(archive), name)
    return name


def _run(*command: str) -> None:
    done = subprocess.run(
        command, env=dict(os.environ) | {"PATH": PATH}, capture_output=True, text=True, timeout=400, check=False
    )
    if done.returncode:
        raise Missing(f"{command[0]} failed: {(done.stdout + done.stderr)[-1000:]}")


# The layout of NVIDIA's image, with the wheel's server in it: so that what is built on it runs.
FULL = """
FROM {cpu} AS wheel
FROM {base}
COPY --from=wheel /opt/runtime /opt/runtime
RUN cd /opt/runtime/lib/python3.11/site-packages \\
    && mv pytriton/tritonserver /opt/tritonserver \\
    && mv nvidia_pytriton.libs / \\
    && mkdir -p /opt/tritonserver/backends/pytorch /opt/nvidia \\
    && echo 500 MB of libraries > /opt/tritonserver/backends/pytorch/libtriton_pytorch.so \\
    && echo a licence > /opt/tritonserver/LICENSE \\
    && echo 2.51.0 > /opt/tritonserver/TRITON_VERSION \\
    && printf '#!/bin/sh\\necho a banner\\nexec "$@"\\n' > /opt/nvidia/nvidia_entrypoint.sh \\
    && chmod +x /opt/nvidia/nvidia_entrypoint.sh
ENV PATH=/opt/tritonserver/bin:/opt/runtime/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
WORKDIR /opt/tritonserver
ENTRYPOINT ["/opt/nvidia/nvidia_entrypoint.sh"]
"""

# Its smaller sister: no server, no ONNX backend, and without some of the libraries that they link.
MINIMAL = """
FROM {full} AS full
FROM {base}
COPY --from=full /opt/runtime /opt/runtime
COPY --from=full /nvidia_pytriton.libs /nvidia_pytriton.libs
COPY --from=full /opt/tritonserver/backends/python /opt/tritonserver/backends/python
COPY --from=full /opt/tritonserver/python_backend_stubs /opt/tritonserver/python_backend_stubs
RUN rm /nvidia_pytriton.libs/libtritonserver-* /nvidia_pytriton.libs/libdcgm-*
ENV PATH=/opt/runtime/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
"""


def build(running: Engine, dockerfile: str, name: str) -> str:
    """Build the image *name* from the text of a Dockerfile that needs no files."""
    with tempfile.TemporaryDirectory(prefix="triton-context-") as context:
        (Path(context) / "Dockerfile").write_text(dockerfile, encoding="utf-8")
        running.docker("build", "--quiet", f"--tag={name}", context)
    return name
