"""What these tests share."""

import pytest

from tests.unit.sdk.routing.caller import Caller, caller


@pytest.fixture
def client() -> Caller:
    """Return a client of a server with versions 1 and 2, both known."""
    made = caller()
    made.warm(1, 2)
    return made
