"""What these tests share."""

from pathlib import Path

import pytest

from tests.doubles.disk_agent import World, two_versions


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return an agent whose image has versions 1 and 2 of the model ``cars``."""
    return two_versions(tmp_path)
