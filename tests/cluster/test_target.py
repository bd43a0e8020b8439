"""A kubeconfig that is switched to another cluster under a task: the task goes on where it began."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.deployment import Deployment, Offer, deployment
from tests.cluster.plane import Access
from tests.cluster.user import ROOT

pytestmark = pytest.mark.timeout(300, func_only=True)


@pytest.fixture(scope="module")
def made(access: Access, offer: Offer) -> Iterator[Deployment]:
    """Give a place to deploy to."""
    with deployment(access, offer, restricted=True) as found:
        yield found


def run(on: Deployment, kubeconfig: Path, *command: str, meanwhile: Callable[[], None]) -> str:
    """Run a task that must succeed, and do something as soon as it has said where it acts; return what it printed."""
    with subprocess.Popen(
        [sys.executable, "-m", "invoke", *command],
        cwd=ROOT,
        env=on.user.environment({"KUBECONFIG": str(kubeconfig)}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as task:
        assert task.stdout is not None
        said = ""
        for line in task.stdout:
            said += line
            if "context " in line:
                meanwhile()
    assert task.returncode == 0, said
    return said


def test_a_switch_of_the_context_moves_no_task(made: Deployment, access: Access, tmp_path: Path) -> None:
    """Deployed, looked at and removed, each while the current context changes to a cluster that is not there."""
    found = json.loads(access.kubectl("config", "view", "--raw", "--flatten", "--output=json"))
    here, server = found["current-context"], found["clusters"][0]["cluster"]["server"]
    found["clusters"].append({"name": "other", "cluster": {"server": "https://127.0.0.1:9"}})
    other = {**found["contexts"][0]["context"], "cluster": "other"}
    found["contexts"].append({"name": "other", "context": other})
    kubeconfig = tmp_path / "config"

    def choose(context: str) -> None:
        kubeconfig.write_text(json.dumps({**found, "current-context": context}), encoding="utf-8")

    for task in (made.command(), ["status"], ["destroy-triton", "--yes"]):
        choose(here)
        said = run(made, kubeconfig, *task, meanwhile=lambda: choose("other"))
        assert f"{here} ({server})" in said
        assert "127.0.0.1:9" not in said
    assert made.contents() == set()
