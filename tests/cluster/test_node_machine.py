"""What a node runs in: it goes as a whole."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.node_machine import CGROUPS, machine
from tests.image.conftest import lack
from tests.image.ground import Missing, need
from tests.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent
PID_NAMESPACE = ("readlink", "/proc/self/ns/pid")
RUN = """
import sys
from pathlib import Path
from tests.cluster.node_machine import machine

folder = Path(sys.argv[1])
with machine("m", network=(), nameserver="127.0.0.1", cluster_domain="local", folder=folder, logs=folder) as made:
    with made.start("left", "sh", "-c", "setsid sleep 1000 & sleep 1000"):
        print(made.run("readlink", "/proc/self/ns/pid").strip(), flush=True)
        sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _rights() -> None:
    """Skip where no machine can be made."""
    try:
        need("unshare", "nsenter", "setpriv")
        if os.geteuid() != 0:
            raise Missing("only root can make namespaces")
    except Missing as reason:
        lack(reason)


def processes(namespace: str) -> set[str]:
    """Return the processes of a PID namespace."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str((process / "ns" / "pid").readlink()) == namespace:
                found.add(process.name)
    return found


def groups(name: str) -> list[Path]:
    """Return the control groups of a machine."""
    return [*CGROUPS.glob(name), *CGROUPS.glob(f"*/{name}")]


def test_nothing_outlives_the_block(tmp_path: Path) -> None:
    """Processes that lost their parent, mounts, and the control groups that were made for pods all go."""
    with machine(
        "m", network=(), nameserver="127.0.0.1", cluster_domain="local", folder=tmp_path, logs=tmp_path
    ) as made:
        of_a_pod = [group / "pod" for group in groups(tmp_path.name)]
        for group in of_a_pod:
            group.mkdir()
        mounted = made.run("sh", "-c", f"mount -t tmpfs tmpfs {tmp_path} && cat /proc/self/mounts")
        made.run("sh", "-c", "setsid sleep 1000 > /dev/null 2>&1 &")
        inside = made.run(*PID_NAMESPACE).strip()
        assert len(processes(inside)) >= 3  # process 1 and what it waits for, and the one left behind
        assert of_a_pod
        assert str(tmp_path) in mounted
        assert str(tmp_path) not in Path("/proc/self/mounts").read_text(encoding="utf-8")
    assert not groups(tmp_path.name)
    assert not processes(inside)


def test_no_program_outlives_a_killed_test_run(tmp_path: Path) -> None:
    """What cannot clean up after itself leaves empty folders at most."""
    command = [sys.executable, "-c", RUN, str(tmp_path)]
    environment = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        inside = run.stdout.readline().strip()
        # Process 1 and what it waits for; a program, what it waits for, and what it left behind.
        wait_until(lambda: len(processes(inside)) == 5)
        run.send_signal(signal.SIGKILL)
    wait_until(lambda: not processes(inside))
    for group in groups(tmp_path.name):
        group.rmdir()


def test_its_programs_find_services_by_name(tmp_path: Path) -> None:
    """They ask the cluster's name server; the machine's own configuration stays as it is."""
    before = Path("/etc/resolv.conf").read_bytes()
    with machine(
        "m", network=(), nameserver="192.0.2.1", cluster_domain="example", folder=tmp_path, logs=tmp_path
    ) as made:
        there = made.run("cat", "/etc/resolv.conf").splitlines()
        assert there[:2] == ["nameserver 192.0.2.1", "search svc.example example"]
        assert Path("/etc/resolv.conf").read_bytes() == before
        assert made.run("hostname").strip() == "m"
