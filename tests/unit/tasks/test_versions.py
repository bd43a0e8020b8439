"""The tasks of versions, without a cluster."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from scripts.cluster.release import mending
from scripts.host.errors import TaskFailure
from scripts.tasks import versions
from tests.doubles.cluster import TARGET, Cluster, items


def test_who_only_looks_mends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """`invoke versions` may not even be allowed to; a change of the plan mends first, since Helm would refuse it."""
    cluster = Cluster({f"kubectl --namespace=triton get configmaps --selector={TARGET.owned}": items()})
    mended: list[str] = []

    @contextlib.contextmanager
    def reached(*_: str) -> Iterator[Any]:
        yield TARGET, cluster.kubectl, cluster.helm

    monkeypatch.setattr(versions, "reached", reached)
    monkeypatch.setattr(mending, "mend", lambda *_, **__: mended.append("mended"))
    with pytest.raises(TaskFailure, match="has no serving plan"), versions.seen("", "", "", ""):
        pass
    assert mended == []
    with versions.served("", "", "", ""):
        assert mended == ["mended"]
