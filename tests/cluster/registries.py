"""Registries in the network of a cluster, empty at first: for images that cannot be pulled, or take a pull."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.plane import ControlPlane
from tests.cluster.processes import child, wait_until_ready
from tests.image.ground import PATH, Missing
from tests.image.hub import HASH

CONFIG = """\
version: 0.1
log: {{level: warn}}
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "{address}"}}
{auth}
"""
LOGIN = "auth: {{htpasswd: {{realm: test, path: {file}}}}}"


@contextlib.contextmanager
def registry(plane: ControlPlane, *, port: int, login: bool, folder: Path) -> Iterator[str]:
    """Run a registry until the block ends, and give its HOST:PORT; on loopback, where containerd takes plain HTTP.

    Args:
        plane: In whose network.
        port: Its port.
        login: Whether it answers nobody without a login.
        folder: Where its files may lie.

    Raises:
        Missing: If there is none on this machine.
    """
    program = shutil.which("docker-registry", path=PATH)
    if program is None:
        raise Missing("docker-registry not installed")
    name, address = f"registry-{port}", f"127.0.0.1:{port}"
    config, file = folder / f"{name}.yml", folder / "htpasswd"
    file.write_text(f"AWS:{HASH}\n", encoding="utf-8")
    auth = LOGIN.format(file=file) if login else ""
    config.write_text(CONFIG.format(folder=folder / name, address=address, auth=auth), encoding="utf-8")
    asked = [*plane.inside, "curl", "--silent", "--output", "/dev/null", f"http://{address}/v2/"]
    with child(name, [*plane.inside, program, "serve", str(config)], logs=folder) as process:

        def answers() -> bool:
            return subprocess.run(asked, check=False, timeout=10).returncode == 0

        wait_until_ready(name, answers, log=folder / f"{name}.log", process=process)
        yield address
