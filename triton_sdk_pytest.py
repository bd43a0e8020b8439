"""A pytest plugin: the fixture ``local_triton`` is a real Triton that serves your model repository during the tests.

It stands outside of the package, so that a test run that has the SDK installed but does not use it imports none of it.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from triton_sdk.local import LocalTriton


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--triton-repository`` and the ini option ``triton_repository``."""
    text = "model repository that the fixture local_triton serves"
    parser.getgroup("triton").addoption("--triton-repository", metavar="FOLDER", help=text)
    parser.addini("triton_repository", f"{text}, relative to the root folder", default="")


@pytest.fixture(scope="session")
def triton_repository(pytestconfig: pytest.Config) -> Path:
    """Return the model repository to serve; override it where it is made by the tests."""
    given = pytestconfig.getoption("--triton-repository")
    if given:
        return pytestconfig.invocation_params.dir / str(given)
    set_by_ini = pytestconfig.getini("triton_repository")
    if set_by_ini:
        return pytestconfig.rootpath / str(set_by_ini)
    pytest.fail(
        "local_triton does not know what to serve: give --triton-repository=FOLDER, set triton_repository in pytest's "
        "configuration, or override the fixture triton_repository.",
        pytrace=False,
    )


@pytest.fixture(scope="session")
def local_triton(triton_repository: Path) -> Iterator["LocalTriton"]:
    """Serve `triton_repository` on a real Triton on loopback; its ``grpc_url`` is the client's address.

    The first use ever installs the server (100 MB) into the user's cache folder. Where it cannot run, the tests are
    skipped with the reason, or fail if the environment says ``CI=true``.
    """
    try:
        from triton_sdk.errors import LocalServerError
        from triton_sdk.local import LocalTriton, provision
    except ImportError as error:
        _give_up(str(error))
    try:
        runtime = provision()
    except LocalServerError as error:
        _give_up(f"no local Triton here: {error}")
    # From here on what fails is the repository's fault, and no reason to skip.
    with LocalTriton(triton_repository, runtime=runtime) as server:
        yield server


def _give_up(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason} (a skip, but for CI=true)", pytrace=False)
    pytest.skip(reason)
