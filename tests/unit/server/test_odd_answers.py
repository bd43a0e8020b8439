"""Whoever answers at the address of the smoke test, the outcome is rows, and the odd one is a failed row."""

from pathlib import Path
from typing import Any

import pytest
import urllib3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripts.server import endpoint, hardware
from scripts.server.checks import check_server
from scripts.server.endpoint import Answer, Endpoint
from scripts.server.result import Result, run
from tests.properties import examples

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
ITEMS = st.fixed_dictionaries(
    {
        "name": st.none() | st.integers() | st.lists(st.integers(), max_size=1) | st.just({}),
        "version": st.sampled_from(["1", "one", "9" * 5000, "-1", 2, 1.5, [1], {}, True]),
        "state": st.sampled_from(["READY", "UNAVAILABLE", None, 7]),
    }
)
SERVER = Endpoint(http="http://127.0.0.1:1", grpc="127.0.0.1:1", metrics="http://127.0.0.1:1/metrics")


@settings(examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(index=JSON | st.lists(JSON | ITEMS, max_size=3), status=st.sampled_from([200, 204, 302, 403, 500, 999]))
def test_an_odd_index_is_a_failed_row(index: Any, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any JSON in the place of the list of models ends in rows, and none is ok but the probes'."""
    body = index if isinstance(index, dict) else {"items": index}
    monkeypatch.setattr(Endpoint, "get", lambda *_, **__: Answer(status=200, body={}))
    monkeypatch.setattr(Endpoint, "post", lambda *_, **__: Answer(status=status, body=body))
    monkeypatch.setattr(Endpoint, "counters", lambda *_, **__: endpoint.Counters(text=""))
    rows = list(check_server(SERVER, repository=tmp_path, complete=True))
    assert all(isinstance(row, Result) for row in rows)
    assert [row for row in rows[2:] if row.state == "failed"] != []


@pytest.mark.parametrize("error", [KeyError("outputs"), TypeError("x"), RecursionError(), ValueError("5,000 digits")])
def test_a_check_that_trips_is_one_failed_row(error: Exception) -> None:
    """The row says that the answer is none of a Triton's, and why; the next check follows."""

    def trip() -> str:
        raise error

    row = run("HTTP infer", "m v1", trip)
    assert row.state == "failed"
    assert f"none of a Triton's ({type(error).__name__}" in row.figure


@examples(60)
@given(config=JSON, groups=JSON)
def test_an_odd_configuration_does_not_stop_the_checks(config: Any, groups: Any) -> None:
    """How a model runs is guessed where the server's configuration makes no sense."""

    class Odd:
        def get(self, _: str) -> Answer:
            return Answer(status=200, body={"optimization": config, "instance_group": groups})

        def counters(self) -> endpoint.Counters:
            return endpoint.Counters(text="")

    assert isinstance(hardware.runs(Odd(), "m"), hardware.Runs)  # type: ignore[arg-type]


class Body:
    """An answer that never ends."""

    status = 200

    def __enter__(self) -> "Body":
        return self

    def __exit__(self, *_: object) -> None:
        """Close nothing."""

    def read(self, size: int) -> bytes:
        """Give as much as is asked for."""
        return bytes(size)


def test_an_answer_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more is read than any Triton answers here."""
    monkeypatch.setattr(urllib3, "request", lambda *_, **__: Body())
    row = run("metadata", "m v1", lambda: str(SERVER.get("/v2/models/m")))
    assert row.state == "failed"
    assert "more than 64 MiB" in row.figure
