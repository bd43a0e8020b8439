"""What these tests share."""

from pathlib import Path

import pytest

from tests.doubles.disk_agent import two_versions
from tests.unit.canary.scene import Scene, Served
from tests.unit.versions.test_roll import sibling


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Return one server whose store has version 3."""
    world = two_versions(tmp_path / "one")
    world.publish(3)
    return Scene(served=Served(one=world), folder=tmp_path)


@pytest.fixture
def two(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Return two servers whose store has version 3."""
    world = two_versions(tmp_path / "one")
    world.publish(3)
    return Scene(served=Served(one=world, two=sibling(world, tmp_path_factory)), folder=tmp_path)
