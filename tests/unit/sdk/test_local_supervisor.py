"""What a server leaves behind when it ends."""

import time
from pathlib import Path

import pytest

from triton_sdk.local import _supervisor


def test_the_servers_own_folder_goes_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of others stay: what was there before, what came long after the start, and what has something in it."""
    monkeypatch.setattr(_supervisor, "TEMPORARY", tmp_path)
    before, own, used, other = (tmp_path / name for name in ("python_env_a", "python_env_b", "python_env_c", "mine"))
    for folder in (before, own, used, other):
        folder.mkdir()
    (used / "package.py").touch()
    _supervisor.remove_environments({before}, time.time() - 2 * _supervisor.MADE_WITHIN_S)
    assert own.exists()
    _supervisor.remove_environments({before}, time.time())
    assert sorted(tmp_path.iterdir()) == [other, before, used]
