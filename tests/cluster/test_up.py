"""How the tests' own cluster ends: nothing of it stays."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.cluster import components
from tests.cluster.plane import ControlPlane, control_plane

ROOT = Path(__file__).parent.parent.parent


def routes() -> str:
    """Return this machine's routes."""
    return subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout


@pytest.mark.usefixtures("node")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_cluster_by_hand_ends_on_a_signal(number: signal.Signals) -> None:
    """It prints how to reach it, and what it prints is gone after Ctrl-C or SIGTERM."""
    command = [sys.executable, "-m", "tests.cluster.ground", "up"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as up:
        try:
            assert up.stdout is not None
            kubeconfig = up.stdout.readline().removeprefix("export KUBECONFIG=").strip()
            path = up.stdout.readline().removeprefix("export PATH=").removesuffix(":$PATH\n")
            asked = [f"{path.split(':')[1]}/kubectl", "get", "node", "--output=name"]
            environment = {"KUBECONFIG": kubeconfig}
            done = subprocess.run(asked, env=environment, capture_output=True, text=True, timeout=30, check=False)
            assert done.stdout.startswith("node/"), done.stderr
            server = urlsplit(
                json.loads(Path(kubeconfig).read_text(encoding="utf-8"))["clusters"][0]["cluster"]["server"]
            )
            assert f"via {server.hostname} " in routes()
        finally:
            up.send_signal(number)
            up.wait(60)
    assert up.returncode == 0
    assert not Path(kubeconfig).exists()
    assert f"via {server.hostname} " not in routes()


def test_a_part_that_does_not_start_is_told(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names it, with the last lines that it printed; what had started is gone."""
    networks = []

    def wrong(parts: components.Parts) -> list[str]:
        networks.append(parts.network)
        return ["--no-such-flag"]

    monkeypatch.setattr(components, "scheduler", wrong)
    said = r"(?s)kube-scheduler: ended with status 1.*unknown flag: --no-such-flag"
    with pytest.raises(RuntimeError, match=said), control_plane():
        pytest.fail("it began without a scheduler")
    (network,) = networks
    assert not Path("/run/netns", network.name).exists()
    assert f"via {network.address} " not in routes()
    assert plane.kubectl("get", "--raw", "/readyz") == "ok"
