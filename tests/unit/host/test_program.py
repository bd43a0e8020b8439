"""Versions of programs."""

import pytest

from scripts.host.program import Version


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("v3.22.0", Version(3, 22)),
        ("v4.3.1+gabc", Version(4, 3, 1)),
        ("v4.3", Version(4, 3)),
        ("Version v1.32.4-x", Version(1, 32, 4)),
    ],
)
def test_versions_are_read(said: str, version: Version) -> None:
    """With what is around them, and without a patch level."""
    assert Version.parse(said) == version
    assert Version.parse("none") is None
    assert Version(3, 9) < Version(3, 13) < Version(4, 0)
