"""What these tests share."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.wire.download.scene import Server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Run the server on a free port, past any proxy of this machine."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.gate.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Name the place for the file, in a folder that is not there yet."""
    return tmp_path / "cache" / "file.onnx"
