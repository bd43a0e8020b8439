"""What the tests of images share: an engine, a base image, packaged models, a copy of this project to build from."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from scripts.packaging import package
from tests.image import ground
from tests.image.ground import Engine
from tests.image.project import Project, copied

BASE = "triton-test/base:1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test of this layer the time that images take."""
    for item in items:
        if Path(__file__).parent in item.path.parents and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(400))


def lack(reason: ground.Missing) -> NoReturn:
    """Skip on a laptop what a missing tool makes impossible; in CI, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"needed in CI: {reason}")
    pytest.skip(str(reason))


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """Give a Docker engine: the running one, or one of the tests' own."""
    try:
        with ground.engine() as running:
            yield running
            ground.remove_images(running, "triton-test/*")
    except ground.Missing as reason:
        lack(reason)


@pytest.fixture(scope="session")
def base(engine: Engine) -> str:
    """Import the base image for the CPU image."""
    try:
        return ground.base(engine, BASE)
    except ground.Missing as reason:
        lack(reason)


@pytest.fixture(scope="session")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Package MobileNetV2 twice, with different weights, under one name."""
    repository = tmp_path_factory.mktemp("packaged") / "model_repository"
    for seed in (1, 2):
        add_version(repository, model="mobilenetv2", seed=seed)
    return repository


def add_version(repository: Path, *, model: str, seed: int) -> None:
    """Package the next version of *model*."""
    source = package.Source.seeded("mobilenetv2", seed=seed)
    package.package(source, model=model, repository=repository, max_batch=8, progress=lambda _: None)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Project:
    """Copy this project into a git repository of its own, so that files can be planted in it."""
    return copied(tmp_path_factory.mktemp("project"), engine)


@pytest.fixture(scope="session")
def cpu_image(project: Project, packaged: Path, base: str) -> str:
    """Build the CPU image of what was packaged, with the legacy builder."""
    return project.build("--cpu", f"--base={base}", "--tag=triton-test/cpu:1", repository=packaged)


@pytest.fixture(scope="session")
def nvidia_base(engine: Engine, cpu_image: str, base: str) -> str:
    """Make an image with the layout of NVIDIA's, and its smaller sister under the same name with ``-min``."""
    full = ground.build(engine, ground.FULL.format(cpu=cpu_image, base=base), "triton-test/nvidia:1")
    ground.build(engine, ground.MINIMAL.format(full=full, base=base), f"{full}-min")
    return full
