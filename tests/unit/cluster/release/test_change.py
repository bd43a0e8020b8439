"""Changes through Helm while the API comes and goes: what came of them is read from the history."""

import base64
import gzip
import json
from typing import Any

import pytest

from scripts.cluster.helm import Helm
from scripts.cluster.kubectl import Kubectl
from scripts.cluster.patience import Patience
from scripts.cluster.release.change import change, uninstall
from scripts.cluster.release.stored import Stored
from scripts.cluster.says import ClusterFailure
from scripts.host.program import Version
from tests.doubles.kubernetes import WHERE, Answer, Cluster, Time, failed

AWAY = failed("Error: UPGRADE FAILED: etcdserver: leader changed")
GONE = failed("Error: release: not found")


def history(*statuses: str) -> str:
    """Return what `helm history` prints."""
    return json.dumps([{"revision": n, "status": s} for n, s in enumerate(statuses, 1)])


def helm(histories: list[Answer], **answers: list[Answer]) -> tuple[Helm, Cluster, Time]:
    """Return a Helm, its cluster and its time; each look into the history takes the next."""
    time = Time()
    cluster = Cluster(answers={"helm history": histories, **{f"helm {name}": each for name, each in answers.items()}})
    return Helm(cluster, where=WHERE, namespace="n", patience=Patience(clock=time.clock)), cluster, time


def deploy(one: Helm, *, makes: bool = True) -> None:
    """Upgrade a release; *makes* says whether what is there unfinished is the same."""
    change(
        one,
        Kubectl(one.runner, where=WHERE, namespace="n", patience=one.patience),
        "r",
        one.upgrade("r", ("c",), new_namespace=False, version=Version(3, 13)),
        makes=lambda _: makes,
        doing="deploy",
    )


@pytest.mark.parametrize(
    ("histories", "attempts"),
    [
        ([history("deployed"), history("deployed"), history("deployed")], 3),
        ([history("deployed"), history("superseded", "deployed")], 1),
        ([history("deployed"), history("deployed", "failed"), history("deployed", "failed", "failed")], 3),
        ([GONE, GONE], 3),
    ],
    ids=["not begun", "done, and the answer was lost", "failed as a whole", "not begun, a first one"],
)
def test_what_did_not_begin_or_is_over_is_tried_again(histories: list[Answer], attempts: int) -> None:
    """And what is done is done."""
    one, cluster, _ = helm(histories, upgrade=[AWAY, AWAY, ""])
    deploy(one)
    assert sum(line.startswith("helm upgrade") for line in cluster.ran) == attempts


def test_what_fails_each_time_fails() -> None:
    """Each attempt makes a revision, and Helm does not keep many."""
    one, cluster, _ = helm([history("deployed", *["failed"] * n) for n in range(9)], upgrade=[AWAY])
    with pytest.raises(ClusterFailure):
        deploy(one)
    assert sum(line.startswith("helm upgrade") for line in cluster.ran) == 6


def test_what_our_helm_could_not_call_failed_is_called_so_and_made_again() -> None:
    """It has ended, and the API took no word of its failure."""
    half, failed = history("deployed", "pending-upgrade"), history("deployed", "failed")
    whole = history("superseded", "failed", "deployed")
    one, cluster, _ = helm([history("deployed"), half, failed, whole], upgrade=[AWAY, ""])
    cluster.answers |= {"kubectl get secret": [json.dumps(pending())], "kubectl replace": [""]}
    deploy(one)
    assert [line.split()[:2] for line in cluster.ran if "history" not in line] == [
        ["helm", "upgrade"], ["kubectl", "get"], ["kubectl", "replace"], ["helm", "upgrade"],
    ]  # fmt: skip
    (given,) = (command.stdin for command in cluster.commands if "replace" in command.argv)
    assert given is not None
    written = json.loads(given.reveal())
    assert Stored.parse(written).revision.status == "failed"
    assert (written["metadata"]["labels"]["status"], written["metadata"]["resourceVersion"]) == ("failed", "5")


@pytest.mark.parametrize("makes", [False, True], ids=["somebody else's", "kept elsewhere than in Secrets"])
def test_what_is_half_done_otherwise_stays(makes: bool) -> None:
    """Whoever asked goes back."""
    one, cluster, _ = helm([history("deployed"), history("deployed", "pending-upgrade")], upgrade=[AWAY])
    cluster.answers["kubectl get secret"] = [failed("Error from server (NotFound): secrets not found")]
    with pytest.raises(ClusterFailure, match="away for the moment"):
        deploy(one, makes=makes)
    assert sum(line.startswith("helm upgrade") for line in cluster.ran) == 1
    assert any(line.startswith("kubectl get secret") for line in cluster.ran) == makes


def pending() -> dict[str, Any]:
    """Return the Secret of revision 2, at which a Helm has been at work."""
    body = {"name": "r", "version": 2, "info": {"status": "pending-upgrade"}}
    packed = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(body).encode()))).decode()
    return {"metadata": {"labels": {"owner": "helm"}, "resourceVersion": "5"}, "data": {"release": packed}}


def test_patience_with_a_change_ends_too() -> None:
    """Nothing has begun, and nothing will."""
    one, _, time = helm([history("deployed")], upgrade=[AWAY])
    with pytest.raises(ClusterFailure, match="away for the moment"):
        deploy(one)
    assert 60 <= time.seconds < 70


def test_another_failure_is_one() -> None:
    """Nobody is asked what came of it."""
    one, cluster, _ = helm([history("deployed")], upgrade=[failed("Error: no")])
    with pytest.raises(ClusterFailure, match="Cannot deploy: no"):
        deploy(one)
    assert len(cluster.ran) == 2


@pytest.mark.parametrize("last", [GONE, history("uninstalled")], ids=["gone", "with its history kept"])
def test_a_removal_is_repeated_until_the_release_is_gone(last: Answer) -> None:
    """Removing twice is removing once."""
    one, cluster, _ = helm([history("deployed"), history("uninstalling"), last], uninstall=[AWAY])
    uninstall(one, "r")
    assert sum(line.startswith("helm uninstall") for line in cluster.ran) == 3
