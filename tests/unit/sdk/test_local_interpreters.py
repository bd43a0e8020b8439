from typing import Any

import pytest

from triton_sdk.errors import LocalServerError
from triton_sdk.local._interpreters import Interpreter, check_platform, find

GOOD: dict[str, Any] = {
    "version": "3.12.1",
    "implementation": "cpython",
    "free_threaded": False,
    "executable": "/opt/bin/python3.12",
    "library": "/opt/lib/libpython3.12.so.1.0",
}


@pytest.mark.parametrize(
    ("system", "machine", "libc", "found"),
    [
        ("Darwin", "arm64", ("", ""), "Darwin on arm64"),
        ("Windows", "AMD64", ("", ""), "Windows on AMD64"),
        ("Linux", "aarch64", ("glibc", "2.39"), "Linux on aarch64"),
        ("Linux", "x86_64", ("", ""), "another C library"),
        ("Linux", "x86_64", ("glibc", "2.31"), "glibc 2.31"),
    ],
)
def test_other_platforms_are_named_and_shown_the_way_out(
    system: str, machine: str, libc: tuple[str, str], found: str
) -> None:
    """A platform without a Triton is refused with what it is and what to do instead."""
    with pytest.raises(LocalServerError, match=found) as caught:
        check_platform(system, machine, libc)
    assert "invoke serve --docker" in str(caught.value)


@pytest.mark.parametrize("version", ["2.35", "2.36", "3.0"])
def test_linux_with_a_new_glibc_will_do(version: str) -> None:
    """The oldest glibc of the wheel and every later one are accepted."""
    check_platform("Linux", "x86_64", ("glibc", version))


def test_the_first_usable_interpreter_is_taken() -> None:
    """Candidates are tried in their order, and the first that fits ends the search."""
    answers = {"a": {"problem": "it does not run"}, "b": GOOD, "c": GOOD | {"version": "3.11.2"}}
    asked: list[str] = []

    def ask(program: str) -> dict[str, Any]:
        asked.append(program)
        return answers[program]

    found = find(["a", "b", "c"], ask=ask)
    assert (found.version, found.minor, asked) == ("3.12.1", "3.12", ["a", "b"])
    assert isinstance(found, Interpreter)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"library": None}, "Python 3.12.1 without a shared libpython"),
        ({"version": "3.14.0"}, "Python 3.14.0"),
        ({"implementation": "pypy"}, "not a standard CPython"),
        ({"free_threaded": True}, "not a standard CPython"),
        ({"problem": "it does not run"}, "it does not run"),
    ],
)
def test_an_unfit_interpreter_is_reported_with_its_reason(change: dict[str, Any], reason: str) -> None:
    """Where nothing fits, the message says what was found, what is wrong with it, and both ways out."""
    with pytest.raises(LocalServerError) as caught:
        find(["python"], ask=lambda _: GOOD | change)
    message = str(caught.value)
    assert f"python: {reason}" in message
    assert "libpython3.11" in message
    assert "--docker" in message
