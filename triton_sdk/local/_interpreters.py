"""Find a Python that the local Triton can embed."""

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from triton_sdk.errors import LocalServerError

VERSIONS = ("3.13", "3.12", "3.11")
# The wheel's tag is manylinux_2_35_x86_64.
GLIBC = (2, 35)
WAY_OUT = "Run it in a container instead: `invoke serve --docker`."
PROBE = Path(__file__).with_name("_probe.py")


@attrs.frozen(kw_only=True)
class Interpreter:
    """A Python with a shared library.

    Attributes:
        executable: The program.
        version: Its version: ``"3.11.7"``.
        library: Its ``libpython3.x.so.1.0``.
    """

    executable: Path
    version: str
    library: Path

    @property
    def minor(self) -> str:
        """The version that names its wheels and its folders: ``"3.11"``."""
        return ".".join(self.version.split(".")[:2])


def check_platform(system: str, machine: str, libc: tuple[str, str]) -> None:
    """Check that there is a Triton for this platform.

    Args:
        system: What ``platform.system()`` says.
        machine: What ``platform.machine()`` says.
        libc: What ``platform.libc_ver()`` says: name and version.

    Raises:
        LocalServerError: If there is none.
    """
    needs = f"The local Triton needs x86-64 Linux with glibc {GLIBC[0]}.{GLIBC[1]} or later; this is"
    if system != "Linux" or machine not in ("x86_64", "AMD64"):
        raise LocalServerError(f"{needs} {system} on {machine}. {WAY_OUT}")
    name, version = libc
    if name != "glibc" or tuple(int(part) for part in version.split(".")[:2]) < GLIBC:
        raise LocalServerError(f"{needs} Linux with {' '.join(libc).strip() or 'another C library'}. {WAY_OUT}")


def find(
    candidates: Iterable[str] | None = None, *, ask: Callable[[str], Mapping[str, Any]] | None = None
) -> Interpreter:
    """Return the first interpreter that Triton can embed: the running one if it will do, else one on PATH.

    Args:
        candidates: Programs to try, in this order.
        ask: Tells what a program is: what ``_probe.py`` prints, or ``{"problem": reason}``.

    Raises:
        LocalServerError: If there is none; the message says what was found, and what is missing.
    """
    found: list[str] = []
    for candidate in names() if candidates is None else candidates:
        answer = (ask or probe)(candidate)
        problem = unfit(answer)
        if problem is None:
            return Interpreter(
                executable=Path(answer["executable"]), version=answer["version"], library=Path(answer["library"])
            )
        found.append(f"{candidate}: {problem}")
    raise LocalServerError(
        f"The local Triton needs a Python {VERSIONS[-1]} to {VERSIONS[0]} with its shared library; found "
        f"{'; '.join(found) or 'none'}. Install the library (on Debian and Ubuntu, for Python 3.11, it is the package "
        f"libpython3.11) or another Python. {WAY_OUT}"
    )


def names() -> list[str]:
    """Return the programs to try: the one under this (virtual) environment, then those on PATH."""
    running: str = getattr(sys, "_base_executable", None) or sys.executable
    on_path = (shutil.which(f"python{version}") for version in VERSIONS)
    return list(dict.fromkeys([running, *(path for path in on_path if path)]))


def unfit(answer: Mapping[str, Any]) -> str | None:
    """Return why the interpreter that gave this *answer* cannot be used, or None."""
    if "problem" in answer:
        return str(answer["problem"])
    if answer["implementation"] != "cpython" or answer["free_threaded"]:
        return f"not a standard CPython ({answer['implementation']} {answer['version']})"
    if ".".join(answer["version"].split(".")[:2]) not in VERSIONS:
        return f"Python {answer['version']}"
    if answer["library"] is None:
        return f"Python {answer['version']} without a shared libpython"
    return None


def probe(program: str) -> Mapping[str, Any]:
    """Ask *program* in a short child process what it is."""
    try:
        child = subprocess.run(
            [program, "-I", "-S", str(PROBE)], capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL
        )
        answer: Mapping[str, Any] = json.loads(child.stdout)
    except (OSError, subprocess.TimeoutExpired, json.JSONDecodeError):
        return {"problem": "it does not run"}
    return answer


def find_interpreter() -> Interpreter:
    """Return the Python on this machine that a local Triton can embed.

    Raises:
        LocalServerError: If there is none, or no Triton for this platform.
    """
    check_platform(platform.system(), platform.machine(), platform.libc_ver())
    return find()
