"""The smoke test at a port of Triton's that is not the one of HTTP."""

from pathlib import Path

import pytest

from scripts.server.checks import check_server
from scripts.server.endpoint import Answer, Endpoint
from tests.doubles.fake_triton import FakeTriton
from tests.wire.server import serve


def test_the_port_of_grpc_is_named_as_one(tmp_path: Path) -> None:
    """Its first bytes are no HTTP/1.1; they were printed once."""
    with serve(FakeTriton()) as served:
        place = Endpoint(http=f"http://{served.url}", grpc=served.url, metrics=f"http://{served.url}/metrics")
        (row, *_) = check_server(place, repository=tmp_path, complete=True)
    assert row.state == "failed"
    assert "speaks another protocol than HTTP: is this the port of gRPC? Give the port of HTTP" in row.figure
    assert "\\x" not in row.figure


def test_the_port_of_the_metrics_is_named_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers the probes as HTTP's does, and nothing else."""
    monkeypatch.setattr(Endpoint, "get", lambda *_, **__: Answer(status=200, body={}))
    monkeypatch.setattr(Endpoint, "post", lambda *_, **__: Answer(status=405, body={}))
    place = Endpoint(http="http://127.0.0.1:1", grpc="127.0.0.1:1", metrics="http://127.0.0.1:1/metrics")
    rows = list(check_server(place, repository=tmp_path, complete=True))
    assert [row.state for row in rows] == ["ok", "ok", "failed"]
    assert "If this is the port of the metrics, give the port of HTTP" in rows[-1].figure
