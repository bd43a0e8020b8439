"""The packages of the CPU image, as one layer: fetched and checked here, so that the build needs no network."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from packaging.markers import Marker

from scripts.host import temporary
from scripts.host.shell import Runner
from scripts.image import wheels
from scripts.image.tarball import File, Link, write_tar
from triton_sdk.local import BACKEND, REQUIREMENTS

# The Python of the image, and the platforms whose wheels its glibc (2.35 or later) takes.
PYTHON = "3.11"
PLATFORMS = ("manylinux_2_35_x86_64", "manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux2014_x86_64")
SITE = f"opt/runtime/lib/python{PYTHON}/site-packages"
TRITON = "pytriton/tritonserver"
STUB = "triton_python_backend_stub"


def requirements(text: str, *, python: str) -> str:
    """Return the lines of a requirements file that apply to *python*, such as ``"3.11"``.

    pip would judge the conditions by the Python that it runs on itself.
    """
    kept = []
    for entry in text.replace("\\\n", " ").splitlines():
        if not entry.strip() or entry.startswith("#"):
            continue
        what, _, hashes = entry.partition(" --hash=")
        name, _, condition = what.partition(";")
        if not condition or Marker(condition.strip()).evaluate({"python_version": python}):
            kept.append(f"{name.strip()} --hash={hashes}")
    return "\n".join(kept) + "\n"


def stage(archive: Path, *, runner: Runner, progress: Callable[[str], None]) -> None:
    """Write the layer that holds the packages and the backend.

    Raises:
        TaskFailure: If the packages cannot be had.
    """
    progress("Fetching Triton and ONNX Runtime for the image (100 MB, unless pip has them in its cache)")
    with temporary.folder("packages") as site:
        wanted = requirements(REQUIREMENTS.read_text(encoding="utf-8"), python=PYTHON)
        tags = ("--implementation=cp", f"--python-version={PYTHON}", *(f"--platform={one}" for one in PLATFORMS))
        wheels.unpack(wanted, site, tags=tags, runner=runner)
        write_tar(archive, list(entries(site)))


def entries(site: Path) -> Iterator[File | Link]:
    """Yield what goes into the image of the unpacked packages in *site*, and our backend."""
    for path in sorted(path for path in site.rglob("*") if path.is_file()):
        name = path.relative_to(site).as_posix()
        # Programs of packages; and the stubs of other Pythons.
        if name.startswith("bin/") or _other_stub(name):
            continue
        yield File(name=f"{SITE}/{name}", path=path, runnable=os.access(path, os.X_OK))
    backends = f"{SITE}/{TRITON}/backends"
    yield File(name=f"{backends}/onnxruntime/model.py", path=BACKEND)
    # A link, not a copy: the stub finds the wheel's libraries by a path relative to its true place.
    yield Link(name=f"{backends}/python/{STUB}", target=f"../../python_backend_stubs/{PYTHON}/{STUB}")


def _other_stub(name: str) -> bool:
    stubs = f"{TRITON}/python_backend_stubs/"
    return name.startswith(stubs) and not name.startswith(f"{stubs}{PYTHON}/")
