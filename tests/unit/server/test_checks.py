"""What the smoke test makes of a server that is not ready at once."""

import time
from pathlib import Path

import pytest

from scripts.server import checks
from scripts.server.endpoint import Answer, Endpoint
from tests.doubles.scripted import Clock


@pytest.mark.parametrize(("not_ready", "state"), [(3, "ok"), (1000, "failed")])
def test_a_server_that_takes_a_version_out_of_use_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, not_ready: int, state: str
) -> None:
    """For a few seconds, since it says meanwhile that it is not ready; one that stays so fails."""
    asked = {"live": 0, "ready": 0}

    def get(_: Endpoint, path: str) -> Answer:
        probe = path.rpartition("/")[2]
        asked[probe] += 1
        return Answer(status=400 if probe == "ready" and asked["ready"] <= not_ready else 200, body={})

    clock = Clock()
    monkeypatch.setattr(Endpoint, "get", get)
    monkeypatch.setattr(time, "monotonic", clock)
    monkeypatch.setattr(time, "sleep", clock.sleep)
    results = checks.check_server(Endpoint.parse("localhost"), repository=Path("none"), complete=False)
    found = [next(results) for _ in ("live", "ready")]
    assert [(result.check, result.state) for result in found] == [("live", "ok"), ("ready", state)]
    assert clock.now - 100.0 <= checks.SETTLES_S + 1
