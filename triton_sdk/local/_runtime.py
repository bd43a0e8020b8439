"""Install the isolated runtime that the local Triton runs in: a virtual environment in the user's cache folder."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import filelock
import platformdirs

from triton_sdk.errors import LocalServerError
from triton_sdk.local._driver import find_driver
from triton_sdk.local._interpreters import WAY_OUT, Interpreter, find_interpreter

Progress = Callable[[str], None]

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements.txt"
BACKEND = HERE / "_backends" / "onnxruntime" / "model.py"
# What pip says that is worth showing; the rest is about files that are already there.
STAGES = ("Downloading", "Installing", "WARNING: Retrying", "Successfully installed")
ERROR_LINES = 15
CPU_SIZE, GPU_SIZE = "100 MB to download, 300 MB on disk", "1.6 GB to download, 2.6 GB on disk"


@attrs.frozen(kw_only=True)
class Runtime:
    """An installed runtime.

    Attributes:
        folder: The virtual environment.
        minor: The version of its Python: ``"3.11"``.
    """

    folder: Path
    minor: str

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python3"

    @property
    def triton(self) -> Path:
        """Triton's own folder, from the wheel."""
        return self.folder / "lib" / f"python{self.minor}" / "site-packages" / "pytriton" / "tritonserver"

    @property
    def server(self) -> Path:
        """The server's program."""
        return self.triton / "bin" / "tritonserver"

    @property
    def backends(self) -> Path:
        """The folder of its backends.

        Triton refuses a backend library that is a link to elsewhere, so this is the wheel's own folder, added to.
        """
        return self.triton / "backends"

    @property
    def stub(self) -> Path:
        """The program that runs Python models, where Triton looks for it."""
        return self.backends / "python" / "triton_python_backend_stub"

    @property
    def backend(self) -> Path:
        """The Python-based backend that serves ONNX models, where Triton looks for it."""
        return self.backends / "onnxruntime" / "model.py"

    @property
    def libraries(self) -> Path:
        """A folder that holds the link to libpython and nothing that could take the place of other libraries."""
        return self.folder / "libpython"

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that the server needs beside the inherited ones."""
        return {
            # The stub finds the packages of the python3 that comes first.
            "PATH": os.pathsep.join([str(self.folder / "bin"), *os.get_exec_path()]),
            "LD_LIBRARY_PATH": str(self.libraries),
            # onnxruntime would otherwise report to its makers.
            "ORT_DISABLE_TELEMETRY": "1",
        }

    @property
    def complete(self) -> bool:
        """Whether it is there and still has what it needs, such as the Python that it was made with."""
        library = self.libraries / f"libpython{self.minor}.so.1.0"
        return all(path.exists() for path in (self.python, self.server, self.stub, self.backend, library))


def provision(*, progress: Progress = lambda _: None, cache: Path | None = None, gpu: bool = False) -> Runtime:
    """Return the runtime, installed first if it is not there yet; several processes may do so at once.

    Args:
        progress: Called with a line for each stage of an installation.
        cache: Folder for it; the user's cache folder where None.
        gpu: Whether it is to use NVIDIA's GPUs; such a runtime is one beside that for CPUs.

    Raises:
        LocalServerError: If there is no Triton for this platform, no usable Python, no driver of a GPU where that is
            asked for, or the installation failed.
    """
    interpreter = find_interpreter()
    packages = REQUIREMENTS.read_text(encoding="utf-8")
    if gpu:
        packages = on_gpus(packages, find_driver().packages.read_text(encoding="utf-8"))
    cache = cache or platformdirs.user_cache_path("triton-sdk")
    kind = "runtime-gpu" if gpu else "runtime"
    name = f"{kind}-{interpreter.minor}-{digest(interpreter, packages.encode(), BACKEND.read_bytes())}"
    runtime = Runtime(folder=cache / name, minor=interpreter.minor)
    if runtime.complete:
        return runtime
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with held(filelock.FileLock(cache / f"{name}.lock"), progress):
            if not runtime.complete:
                install(runtime, interpreter, packages, progress)
    except OSError as error:
        raise LocalServerError(f"Cannot install the local Triton in {cache}: {error}.") from error
    return runtime


def old_runtimes(cache: Path | None = None) -> list[Path]:
    """Return the folders of runtimes that this version of the package does not use, under the Python that it finds.

    Args:
        cache: The folder that holds them; the user's cache folder where None.

    Raises:
        LocalServerError: If there is no usable Python.
    """
    interpreter, packages = find_interpreter(), REQUIREMENTS.read_text(encoding="utf-8")
    listed = [packages, *(on_gpus(packages, file.read_text(encoding="utf-8")) for file in HERE.glob("requirements-*"))]
    used = {digest(interpreter, text.encode(), BACKEND.read_bytes()) for text in listed}
    cache = cache or platformdirs.user_cache_path("triton-sdk")
    return [folder for folder in sorted(cache.glob("runtime-*/")) if folder.name.rpartition("-")[2] not in used]


def on_gpus(requirements: str, packages: str) -> str:
    """Return *requirements* with *packages*, those for GPUs, in the place of onnxruntime."""
    kept = re.sub(r"(?m)^onnxruntime==(?:.*\\\n)*.*\n", "", requirements)
    return f"{kept}\n{packages}"


def digest(interpreter: Interpreter, *contents: bytes) -> str:
    """Return a short name for a runtime of this *interpreter* with these *contents*; other ones have other names."""
    parts = [interpreter.version.encode(), os.fsencode(interpreter.executable), *contents]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:16]


@contextmanager
def held(lock: filelock.BaseFileLock, progress: Progress) -> Iterator[None]:
    """Hold *lock*, saying so if another process has it first."""
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        progress("Waiting for another process that is installing the local Triton")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def install(runtime: Runtime, interpreter: Interpreter, packages: str, progress: Progress) -> None:
    """Make *runtime* in a folder of its own and rename it into place, so that it is never seen half made."""
    cache, name = runtime.folder.parent, runtime.folder.name
    for remains in (*cache.glob(f"{name}.partial-*"), *cache.glob(name)):
        progress(f"Removing an unfinished or damaged installation, {remains}")
        # What an interrupted pip is still writing there may stay until the next time.
        shutil.rmtree(remains, ignore_errors=True)
    staging = Path(tempfile.mkdtemp(prefix=f"{name}.partial-", dir=cache))
    try:
        build(Runtime(folder=staging, minor=runtime.minor), interpreter, packages, progress)
        staging.rename(runtime.folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def build(runtime: Runtime, interpreter: Interpreter, packages: str, progress: Progress) -> None:
    """Fill the folder of *runtime* with *packages*, the text of a requirements file."""
    progress(f"Making a virtual environment with Python {interpreter.version}")
    run(
        [
            *(sys.executable, "-m", "virtualenv", "--python", str(interpreter.executable)),
            *("--no-download", "--no-periodic-update", "--activators", "", str(runtime.folder)),
        ],
        progress=progress,
    )
    listed = runtime.folder / "requirements.txt"
    listed.write_text(packages, encoding="utf-8")
    size = GPU_SIZE if "\nonnxruntime-gpu==" in packages else CPU_SIZE
    progress(f"Installing Triton and ONNX Runtime ({size}; once)")
    run(
        [
            *(str(runtime.python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"),
            *("--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", str(listed)),
        ],
        progress=progress,
    )
    stub = runtime.triton / "python_backend_stubs" / interpreter.minor / runtime.stub.name
    # A link, not a copy: the stub finds the wheel's libraries by a path relative to its true place.
    runtime.stub.symlink_to(os.path.relpath(stub, runtime.stub.parent))
    runtime.backend.parent.mkdir()
    shutil.copyfile(BACKEND, runtime.backend)
    runtime.libraries.mkdir()
    (runtime.libraries / interpreter.library.name).symlink_to(interpreter.library)


def run(command: list[str], *, progress: Progress) -> None:
    """Run *command*, showing its stages.

    Raises:
        LocalServerError: If it fails; the message ends with the last lines that it printed.
    """
    tail: deque[str] = deque(maxlen=ERROR_LINES)
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as child:
        try:
            for line in child.stdout or ():
                tail.append(line.rstrip())
                if line.lstrip().startswith(STAGES):
                    progress(line.strip())
        except BaseException:
            # Without this, leaving the block would wait for it to finish.
            child.kill()
            raise
    if child.returncode:
        shown = "\n  ".join(line for line in tail if line)
        raise LocalServerError(
            f"Cannot install the local Triton: `{' '.join(command[:4])} ...` ended with status {child.returncode}. Its "
            f"last lines:\n  {shown}\nCheck that the package index can be reached (pip's own settings and PIP_* "
            f"variables apply) and that there is room on the disk, then try again. {WAY_OUT}"
        )
