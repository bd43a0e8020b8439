"""A cluster whose API leaves requests unanswered: no good deployment goes back for that."""

import json
import time
from pathlib import Path

import attrs
import pytest

from tests.cluster.deployment import Offer, deployment
from tests.cluster.flaky import flaky
from tests.cluster.plane import ControlPlane
from tests.cluster.user import RELEASE

pytestmark = [
    pytest.mark.timeout(900, func_only=True),
    pytest.mark.timing,  # which requests have no answer is another matter in each run
    # Of a connection with TLS that is over asyncio does not know that it is closed.
    pytest.mark.filterwarnings("ignore:unclosed <StreamWriter:ResourceWarning"),
]
# These take a few minutes; 300 of them, with 47 deployments, took half an hour on a busy machine.
UNANSWERED = 40
# So long Helm can write nothing; it gives up at once.
AWAY_S = 5.0


def test_requests_without_an_answer_take_nothing_back(plane: ControlPlane, offer: Offer, tmp_path: Path) -> None:
    """deploy-triton, status and smoke-test again and again, and destroy-triton: each does what it is for."""
    with (
        deployment(plane, offer, restricted=True) as made,
        flaky(plane, folder=tmp_path, seed=1, looks=0.03, changes=0.02) as (access, between),
    ):
        made.deployed()
        user, turn = attrs.evolve(made.user, plane=access), 0
        while between.unanswered < UNANSWERED:
            turn += 1
            user.succeed(*made.command(f"--set=podAnnotations.turn=turn-{turn}"), within_s=200)
            user.succeed("status")
            user.succeed("smoke-test", f"--repository={offer.models}")
            assert int(made.ask()) in offer.versions
        user.succeed("destroy-triton", "--yes", within_s=200)
        assert made.contents() == set()
        print(f"{between.unanswered} requests had no answer, {turn} deployments")  # noqa: T201 - shown with -rP


def test_an_upgrade_that_could_not_even_say_that_it_failed_is_made_again(
    plane: ControlPlane, offer: Offer, tmp_path: Path
) -> None:
    """The API goes away in its middle, and is still away when Helm gives up; nothing goes back."""
    until: list[float] = []

    def refuses(verb: str, path: str) -> bool:
        if verb == "PATCH" and "/services/" in path and not until:
            until.append(time.monotonic() + AWAY_S)
            return True
        return verb == "PUT" and "/secrets/sh.helm.release." in path and bool(until) and time.monotonic() < until[0]

    with (
        deployment(plane, offer, restricted=True) as made,
        flaky(plane, folder=tmp_path, refuses=refuses) as (access, _),
    ):
        made.deployed()
        attrs.evolve(made.user, plane=access).succeed(*made.command("--set=podAnnotations.turn=next"), within_s=200)
        revisions = json.loads(made.helm("history", RELEASE, "--output=json"))
    assert until
    assert [one["status"] for one in revisions] == ["superseded", "failed", "deployed"]
    assert revisions[1]["description"] == "The API was away before Helm could say more"
