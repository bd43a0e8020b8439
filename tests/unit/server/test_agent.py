"""The agent beside a local server: its command, its folders, and what is shown of its state."""

from pathlib import Path
from typing import Any, cast

import pytest

from scripts.host import settings
from scripts.host.errors import TaskFailure
from scripts.server.agent import Folders, agent_command
from scripts.server.local import version_rows
from triton_sdk.local import LocalTriton


class Started:
    """A server whose addresses are known."""

    http_url = "http://127.0.0.1:8100"
    metrics_url = "http://127.0.0.1:8102/metrics"


def test_no_secret_stands_in_its_arguments(tmp_path: Path) -> None:
    """What the store needs is handed over in the environment, and what prints the command hides it."""
    environ = {"AWS_ACCESS_KEY_ID": "AKIA-PLANTED", "AWS_SECRET_ACCESS_KEY": "planted", "MODEL_STORE": "s3://models/x"}
    loaded = settings.load(tmp_path, environ=environ)
    folders = Folders(work=tmp_path / "work", served=tmp_path / "served")
    server = cast(LocalTriton, Started())
    command = agent_command(tmp_path, folders, loaded=loaded, port=8103, gpu=False, server=server)
    assert "--http-port=8100" in command.argv
    assert "--metrics-port=8102" in command.argv
    assert not any("planted" in argument.lower() for argument in command.argv)
    assert "planted" not in str(command).lower()
    assert command.environment["AWS_SECRET_ACCESS_KEY"] == "planted"
    assert command.environment["MODEL_STORE"] == "s3://models/x"


def test_a_repository_is_served_by_one(tmp_path: Path) -> None:
    """A second server is refused; after the first, what was promoted is still there, and what Triton served is not."""
    folders = Folders(work=tmp_path / "id" / "work", served=tmp_path / "id" / "served")
    with folders.taken(tmp_path):
        (folders.served / "cars").mkdir()
        (folders.work / "plan.json").touch()
        with pytest.raises(TaskFailure, match="Another `invoke serve`"), folders.taken(tmp_path):
            pytest.fail("both have it")
    assert not folders.served.exists()
    assert (folders.work / "plan.json").exists()
    with folders.taken(tmp_path):
        assert list(folders.served.iterdir()) == []
        (folders.work / "plan.json").unlink()
    assert not folders.work.exists()


def test_what_waits_to_be_promoted_is_shown() -> None:
    """Each version is named with what the agent says of it; one that it does not know waits."""

    def one(phase: str, why: str | None = None) -> dict[str, Any]:
        return {"phase": phase, "why": why}

    cars = {"versions": {"2": one("serving"), "10": one("failed", "no")}, "candidate": None}
    bikes = {"versions": {"1": one("serving")}, "candidate": {"version": 3, **one("serving")}}
    state = {"models": {"cars": cars, "bikes": bikes}}
    rows = version_rows(state, [])
    assert [row[:3] for row in rows] == [
        ("bikes", "1", "served"),
        ("bikes", "3", "candidate: serving"),
        ("cars", "2", "served"),
        ("cars", "10", "failed: no"),
    ]
