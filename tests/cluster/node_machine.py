"""What makes a node a machine of its own: its processes, mounts and control groups, which all end together."""

import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from tests.cluster.processes import child, wait_until_ready
from tests.image.ground import PATH

CGROUPS = Path("/sys/fs/cgroup")
# Process 1 of the machine: it prepares the mounts, and takes in whatever loses its parent.
SETUP = """
set -e
mount --make-rshared /
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/log
mount --bind {resolv_conf} /etc/resolv.conf
hostname {name}
touch {up}
while :; do sleep 86400; done
"""


@attrs.frozen(kw_only=True)
class Machine:
    """A set of namespaces, and the control group for what runs there.

    Attributes:
        inside: What starts a program there, as the first words of its command.
        cgroup: The path of its control group, as from the root of each hierarchy.
        logs: Where its programs' logs lie.
    """

    inside: tuple[str, ...]
    cgroup: str
    logs: Path

    def start(self, name: str, *command: str) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
        """Run a program until the block ends; what it prints goes to ``NAME.log``."""
        # nsenter hands no signal on: its child ends because its parent does.
        return child(name, (*self.inside, "setpriv", "--pdeathsig=TERM", *command), logs=self.logs)

    def run(self, *command: str, within_s: float = 120) -> str:
        """Run a program to its end and return its standard output; a failure shows all that it printed."""
        done = subprocess.run(
            (*self.inside, *command),
            env={"PATH": PATH},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout


@contextlib.contextmanager
def machine(
    name: str, *, network: Sequence[str], nameserver: str, cluster_domain: str, folder: Path, logs: Path
) -> Iterator[Machine]:
    """Make a machine; it ends with the block, with every process and every mount in it.

    Args:
        name: Its host name.
        network: What starts a program in its network namespace.
        nameserver: The name server of its programs.
        cluster_domain: Where that one finds Services, ``"cluster.local"``.
        folder: Where its files may lie.
        logs: Where the logs of its programs are to lie.
    """
    resolv_conf, up = folder / "resolv.conf", folder / "up"
    search = f"search svc.{cluster_domain} {cluster_domain}"
    resolv_conf.write_text(f"nameserver {nameserver}\n{search}\noptions ndots:5\n", encoding="utf-8")
    script = SETUP.format(resolv_conf=shlex.quote(str(resolv_conf)), name=name, up=shlex.quote(str(up)))
    namespaces = ("--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc")
    # If this process is killed, so is unshare, with process 1: and where that ends, all of its namespace does.
    command = ("setpriv", "--pdeathsig=KILL", *network, "unshare", *namespaces, "sh", "-c", script)
    with _cgroup(folder.name) as cgroup, child("machine", command, logs=logs) as process:
        wait_until_ready("the node's namespaces", up.exists, log=logs / "machine.log", process=process, within_s=20)
        own = ("--mount", "--net", "--ipc", "--uts", f"--pid=/proc/{process.pid}/ns/pid_for_children")
        with _ended(process):
            yield Machine(inside=("nsenter", f"--target={process.pid}", *own), cgroup=cgroup, logs=logs)


@contextlib.contextmanager
def _ended(unshare: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kill process 1 with the block; unshare ends when nothing is left of its namespace."""
    (first,) = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children").read_text(encoding="ascii").split()
    handle = os.pidfd_open(int(first))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        os.close(handle)
        unshare.wait(20)


@contextlib.contextmanager
def _cgroup(name: str) -> Iterator[str]:
    """Make a control group in each hierarchy; it goes with the block, when its last process has."""
    unified = (CGROUPS / "cgroup.controllers").exists()
    groups = [top / name for top in ([CGROUPS] if unified else CGROUPS.iterdir())]
    try:
        for group in groups:
            group.mkdir()
        yield f"/{name}"
    finally:
        for group in groups:
            _remove(group)


def _remove(group: Path) -> None:
    deadline = time.monotonic() + 20
    folders = [folder for folder in (group, *group.rglob("*/")) if folder.is_dir()]
    for folder in sorted(folders, reverse=True):  # the innermost first
        while True:
            try:
                folder.rmdir()
                break
            except FileNotFoundError:
                break
            except OSError:  # a process of it is still ending
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
