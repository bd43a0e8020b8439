"""containerd for a node: its configuration, its network, and images without a registry."""

import contextlib
import hashlib
import io
import json
import struct
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.cluster.node_machine import Machine
from tests.cluster.processes import wait_until_ready

SOCKET = "/run/containerd/containerd.sock"
# What Kubernetes' own images are in, as containerd sees it.
NAMESPACE = "k8s.io"
PAUSE = "triton-test/pause:1"
PLUGINS = Path("/usr/lib/cni")

# `restrict_oom_score_adj`: without CAP_SYS_RESOURCE no process may lower its score, and a pod asks for that.
CONFIG = """
version = 2
root = "{folder}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "{pause}"
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"""


@contextlib.contextmanager
def containerd(machine: Machine, *, folder: Path, pod_cidr: str) -> Iterator[None]:
    """Run containerd until the block ends; it is ready for pods when the block begins.

    Raises:
        RuntimeError: If it does not get ready; with the last lines of its log.
    """
    config, network = folder / "containerd.toml", folder / "cni" / "10-pods.conflist"
    config.write_text(CONFIG.format(folder=folder, socket=SOCKET, pause=PAUSE, plugins=PLUGINS), encoding="utf-8")
    network.parent.mkdir()
    network.write_text(json.dumps(_network(folder, pod_cidr)), encoding="utf-8")
    pause = folder / "pause.tar"
    pause.write_bytes(_image(PAUSE, {"pause": _pause()}))
    with machine.start("containerd", "containerd", f"--config={config}") as process:
        log = machine.logs / "containerd.log"
        wait_until_ready("containerd", lambda: _answers(machine), log=log, process=process, within_s=30)
        load(machine, pause)
        yield


def load(machine: Machine, archive: Path) -> dict[str, str]:
    """Import what `docker save` wrote; return each image's digest by its name.

    An image is there under its tag and under its digest, as a chart names it.
    """
    with tarfile.open(archive) as saved:
        manifest = saved.extractfile("manifest.json")
        assert manifest is not None
        names = [name for image in json.load(manifest) for name in image["RepoTags"]]
    _ctr(machine, "images", "import", str(archive.resolve()))
    digests = {}
    for line in _ctr(machine, "images", "list").splitlines()[1:]:
        reference, _, digest, *_ = line.split()
        digests[reference] = digest
    found = {name: digests[f"docker.io/{name}"] for name in names}
    for name, digest in found.items():
        repository = f"docker.io/{name.rpartition(':')[0]}"
        _ctr(machine, "images", "tag", "--force", f"docker.io/{name}", f"{repository}@{digest}")
    return found


def push(machine: Machine, image: str, to: str) -> None:
    """Push an image of the node to a registry that takes plain HTTP; *to* is its name there."""
    _ctr(machine, "images", "push", "--plain-http", to, image)


def _ctr(machine: Machine, *arguments: str) -> str:
    return machine.run("ctr", f"--address={SOCKET}", f"--namespace={NAMESPACE}", *arguments)


def _answers(machine: Machine) -> bool:
    command = (*machine.inside, "ctr", f"--address={SOCKET}", "--connect-timeout=2s", "version")
    return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0


def _network(folder: Path, pod_cidr: str) -> dict[str, object]:
    bridge = {
        "type": "bridge",
        "bridge": "pods",
        "isGateway": True,
        # A pod may reach itself by its Service.
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(folder / "addresses"),
            "ranges": [[{"subnet": pod_cidr}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}


def _pause() -> bytes:
    """Return the program that holds a pod's namespaces: for ever, it waits for a signal."""
    # mov eax, 34 (the system call pause); syscall; jmp to the start
    code = bytes.fromhex("b822000000 0f05 ebf7")
    # The smallest ELF file that Linux runs: one header, one segment that holds the file itself.
    base, headers = 0x400000, 64 + 56
    size = headers + len(code)
    identity = b"\x7fELF\x02\x01\x01"  # 64 bits, little endian
    header = struct.pack("<16sHHIQQQIHHHHHH", identity, 2, 62, 1, base + headers, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000)
    return header + segment + code


def _image(name: str, files: Mapping[str, bytes]) -> bytes:
    """Return an image of one layer, as `docker save` writes it; its first file is what it runs."""
    layer = _tar(files)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": [f"/{next(iter(files))}"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    return _tar(
        {
            "config.json": json.dumps(config).encode(),
            "layer.tar": layer,
            "manifest.json": json.dumps(manifest).encode(),
        }
    )


def _tar(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()
