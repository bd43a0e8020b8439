"""Say, as JSON, what the interpreter that runs this file is; a script of its own, so only the standard library."""

import ctypes
import json
import platform
import sys
import sysconfig
from pathlib import Path


def shared_library() -> str | None:
    """Return the path of the libpython that belongs to this very interpreter, or None."""
    name = f"libpython{sys.version_info[0]}.{sys.version_info[1]}.so.1.0"
    configured, multiarch = (sysconfig.get_config_var(key) or "" for key in ("LIBDIR", "MULTIARCH"))
    # Relocated builds, such as conda's, keep it beside their prefix; a bare name asks the system's loader.
    folders = [configured, f"{configured}/{multiarch}", f"{sys.base_prefix}/lib", f"{sys.base_prefix}/lib64"]
    for candidate in [*(f"{folder}/{name}" for folder in folders if Path(folder, name).exists()), name]:
        try:
            library = ctypes.CDLL(candidate)
            library.Py_GetVersion.restype = ctypes.c_char_p
            same = library.Py_GetVersion().decode().split()[0] == platform.python_version()
        except OSError:
            continue
        if same:
            return candidate if "/" in candidate else mapped(name)
    return None


def mapped(name: str) -> str | None:
    """Return the path from which this process has loaded the library called *name*."""
    paths = (line.split(maxsplit=5)[-1].strip() for line in Path("/proc/self/maps").read_text().splitlines())
    return next((path for path in paths if path.endswith(f"/{name}")), None)


if __name__ == "__main__":
    print(  # noqa: T201 - it is what this script is for
        json.dumps(
            {
                "version": platform.python_version(),
                "implementation": sys.implementation.name,
                "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
                "executable": sys.executable,
                "library": shared_library(),
            }
        )
    )
