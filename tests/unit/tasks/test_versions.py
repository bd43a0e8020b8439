"""The tasks of versions, without a cluster."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from invoke import Context

from scripts.cluster.release import mending
from scripts.host.errors import TaskFailure
from scripts.tasks import reaching, versions
from tests.doubles.cluster import TARGET, Cluster, items
from tests.doubles.disk_agent import two_versions


def test_who_only_looks_mends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """`invoke versions` may not even be allowed to; a change of the plan mends first, since Helm would refuse it."""
    cluster = Cluster({f"kubectl --namespace=triton get configmaps --selector={TARGET.owned}": items()})
    mended: list[str] = []

    @contextlib.contextmanager
    def reached(*_: str) -> Iterator[Any]:
        yield TARGET, cluster.kubectl, cluster.helm

    monkeypatch.setattr(reaching, "reached", reached)
    monkeypatch.setattr(mending, "mend", lambda *_, **__: mended.append("mended"))
    with pytest.raises(TaskFailure, match="has no serving plan"), versions.seen("", "", "", ""):
        pass
    assert mended == []
    with reaching.served("", "", "", ""):
        assert mended == ["mended"]


def test_a_model_that_is_nowhere_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty table looked like an answer; a misspelt name shows those there are."""

    def away(*_: str) -> NoReturn:
        raise TaskFailure("There is no cluster.")

    monkeypatch.setattr(versions, "seen", away)
    world = two_versions(tmp_path / "world")
    world.publish(3)
    (tmp_path / "empty").mkdir()
    for store, model, words in (
        (tmp_path / "empty", "cras", "No version of a model 'cras' is known here. Known models: none."),
        (world.root / "store", "cras", "Known models: cars."),
    ):
        monkeypatch.setenv("MODEL_STORE", f"file://{store}")
        with pytest.raises(SystemExit):
            versions.versions(Context(), model=model)
        assert words in capsys.readouterr().err
    versions.versions(Context(), model="cars")
    assert "cars" in capsys.readouterr().out
