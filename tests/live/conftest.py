"""What the tests against a real local Triton share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.packaging import package
from triton_sdk.errors import LocalServerError
from triton_sdk.local import LocalTriton, Runtime, provision


@pytest.fixture(scope="session")
def runtime() -> Runtime:
    """Install the local Triton once, in the user's cache folder."""
    try:
        return provision()
    except LocalServerError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no local Triton here: {error}")


@pytest.fixture(scope="session")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Package MobileNetV2 twice with different weights, and once with its own FP32 input, into one repository."""
    repository = tmp_path_factory.mktemp("packaged") / "model_repository"
    for model, seed, keep_input in (
        ("mobilenetv2", 1, False),
        ("mobilenetv2", 2, False),
        ("mobilenetv2-fp32", 1, True),
    ):
        package.package(
            package.Source.seeded("mobilenetv2", seed=seed),
            model=model,
            repository=repository,
            keep_input=keep_input,
            max_batch=8,
            progress=lambda _: None,
        )
    return repository


@pytest.fixture(scope="session")
def served(packaged: Path, runtime: Runtime) -> Iterator[LocalTriton]:
    """Serve what was packaged."""
    with LocalTriton(packaged, runtime=runtime) as server:
        yield server
