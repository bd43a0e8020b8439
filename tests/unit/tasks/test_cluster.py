"""The tasks of a deployment, without a cluster."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from invoke import Context

from scripts.cluster.helm import Revision
from scripts.cluster.objects import Rendered
from scripts.cluster.release import destroy, namespaces
from scripts.cluster.release.destroy import Removal
from scripts.tasks import cluster
from tests.doubles.cluster import TARGET, Cluster


@pytest.mark.parametrize("there", [True, False])
def test_a_plan_that_outlives_its_release_is_told(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next deployment would serve versions that its image may not have."""

    @contextlib.contextmanager
    def reached(*_: str) -> Iterator[Any]:
        nothing = Cluster({})
        yield TARGET, nothing.kubectl, nothing.helm

    plan = tmp_path / "serving.yaml"
    if there:
        plan.touch()
    monkeypatch.setenv("TRITON_PLAN_FILE", str(plan))
    monkeypatch.setattr(cluster, "reached", reached)
    revision = Revision(number=3, status="deployed")
    removal = Removal(target=TARGET, revision=revision, rendered=Rendered.parse(""))
    monkeypatch.setattr(destroy, "plan", lambda *_: removal)
    monkeypatch.setattr(destroy, "remove", lambda *_, **__: None)
    monkeypatch.setattr(namespaces, "settle_namespace", lambda *_, **__: "")
    cluster.destroy_triton(Context(), yes=True)
    said = capsys.readouterr().out
    assert "triton-infer is removed, and nothing of it is left." in said
    assert (f"{plan} stays: a next deployment serves the versions that it names." in " ".join(said.split())) is there
