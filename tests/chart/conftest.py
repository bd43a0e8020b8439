"""What the tests of the chart share: the engines that render it."""

import os
from typing import NoReturn

import pytest

from tests.chart.engines import Library, Program, program
from tests.image.ground import Missing


def lack(reason: Missing) -> NoReturn:
    """Skip on a laptop what a missing tool makes impossible; in CI, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"needed in CI: {reason}")
    pytest.skip(str(reason))


@pytest.fixture(scope="session")
def library() -> Library:
    """Give Helm 4's engine, which is there on any machine."""
    return Library()


@pytest.fixture(scope="session", params=[3, 4], ids=["helm3", "helm4"])
def helm(request: pytest.FixtureRequest) -> Program:
    """Give the program of each major version."""
    try:
        return program(request.param)
    except Missing as reason:
        lack(reason)
