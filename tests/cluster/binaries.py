"""The programs of a cluster, built once from the Go modules that tools/*/go.mod pin and go.sum checks."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import attrs
import platformdirs
from filelock import FileLock

from tests.image.ground import PATH, Missing

MODULES = Path(__file__).parent / "tools"
# Two busy cores need 10 minutes for the first program of Kubernetes; a build that takes this long will not end.
BUILD_S = 1800


@attrs.frozen
class Family:
    """The programs that one go.mod pins.

    Attributes:
        name: The folder of the go.mod.
        module: The module whose version is theirs.
        packages: The programs, as file name and package; `.` is one of our own.
        version: The variables that the linker sets to the version.
    """

    name: str
    module: str
    packages: dict[str, str]
    version: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where its go.mod is."""
        return MODULES / self.name

    def pinned(self) -> str:
        """Return the version of its module."""
        found = re.search(rf"^\s*(?:require )?{re.escape(self.module)} (v\S+)", self._read("go.mod"), re.MULTILINE)
        assert found, f"{self.folder}/go.mod does not name {self.module}"
        return found[1]

    def key(self) -> str:
        """Return what changes when anything does that the programs are made of."""
        own = "".join(self._read(path.name) for path in sorted(self.folder.glob("*.go")))
        text = self._read("go.mod") + self._read("go.sum") + own + repr(self)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def flags(self) -> str:
        """Return what the linker is told."""
        version = self.pinned()
        return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in self._variables(version))])

    def _variables(self, version: str) -> list[tuple[str, str]]:
        major, minor, _ = version.removeprefix("v").split(".", 2)
        values = {"gitMajor": major, "gitMinor": minor}
        return [(name, values.get(name.rpartition(".")[2], version)) for name in self.version]

    def _read(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")


KUBERNETES = ("kubectl", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
FAMILIES = (
    *(
        Family(
            f"helm{major}",
            f"helm.sh/helm/v{major}",
            {f"helm{major}/helm": f"helm.sh/helm/v{major}/cmd/helm"},
            (f"helm.sh/helm/v{major}/internal/version.version",),
        )
        for major in (4, 3)
    ),
    Family(
        "kubernetes",
        "k8s.io/kubernetes",
        {name: f"k8s.io/kubernetes/cmd/{name}" for name in KUBERNETES},
        tuple(f"k8s.io/component-base/version.{name}" for name in ("gitVersion", "gitMajor", "gitMinor")),
    ),
    Family("etcd", "go.etcd.io/etcd/server/v3", {"etcd": "go.etcd.io/etcd/server/v3"}),
    Family("kwok", "sigs.k8s.io/kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}, ("sigs.k8s.io/kwok/pkg/consts.Version",)),
    Family("coredns", "github.com/coredns/coredns", {"coredns": "."}),
)


def tools() -> Path:
    """Return the folder with all programs; the first call on a machine builds them, which takes minutes.

    Raises:
        Missing: If Go is not here, or cannot build them.
    """
    cache = platformdirs.user_cache_path("triton-sdk") / "cluster-tools"
    folder = cache / hashlib.sha256("".join(family.key() for family in FAMILIES).encode()).hexdigest()[:12]
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / "lock"):
            for family in FAMILIES:
                _build(family, cache)
            _gather(folder, cache)
            shutil.rmtree(cache / "work", ignore_errors=True)
    return folder


def _gather(folder: Path, cache: Path) -> None:
    """Put links to every family's programs side by side."""
    if folder.exists():
        return
    with tempfile.TemporaryDirectory(dir=cache) as made:
        for family in FAMILIES:
            for name in family.packages:
                link = Path(made) / "bin" / name
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(_programs(family, cache) / name)
        (Path(made) / "bin").rename(folder)


def _programs(family: Family, cache: Path) -> Path:
    return cache / f"{family.name}-{family.key()}"


def _build(family: Family, cache: Path) -> None:
    """Build the programs of one family, unless they are here."""
    programs = _programs(family, cache)
    if programs.exists():
        return
    go = shutil.which("go", path=os.pathsep.join([PATH, "/usr/local/go/bin"]))
    if go is None:
        raise Missing("Go is not installed; it builds Kubernetes, Helm and etcd for these tests")
    # What Go downloads and compiles stays until all is built, so that a build that was broken off goes on.
    environment = dict(os.environ) | {
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=readonly -modcacherw -buildvcs=false",
        "GOCACHE": str(cache / "work" / "compiled"),
        "GOMODCACHE": str(cache / "work" / "modules"),
        # Less memory against a little time: two compilers of the largest packages stay under 4 GiB.
        "GOGC": "50",
    }
    made = cache / f"{programs.name}.part"
    for name, package in family.packages.items():
        began = time.monotonic()
        sys.stderr.write(f"building {name} {family.pinned()} ...")
        sys.stderr.flush()
        # No debug information, neither compiled nor linked: it is most of what lies on the disk meanwhile.
        flags = ("-trimpath", "-gcflags=all=-dwarf=false", f"-ldflags={family.flags()}")
        command = [go, "build", *flags, "-o", str(made / name), package]
        try:
            subprocess.run(
                command, cwd=family.folder, env=environment, capture_output=True, text=True, timeout=BUILD_S, check=True
            )
        except subprocess.CalledProcessError as error:
            raise Missing(f"go build {package} failed: {(error.stdout + error.stderr)[-2000:]}") from None
        except subprocess.TimeoutExpired:
            raise Missing(f"go build {package} did not end in {BUILD_S} s") from None
        sys.stderr.write(f" {time.monotonic() - began:.0f} s\n")
    made.rename(programs)


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{tools()}\n")
    except Missing as reason:
        sys.stderr.write(f"{reason}\n")
