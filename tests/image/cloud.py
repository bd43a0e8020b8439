"""The project with somewhere to push to: moto's API, a real registry with a password, and Docker."""

import contextlib
import io
import re
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from tests.doubles.tcp_proxy import TcpProxy
from tests.image import hub
from tests.image.ground import Engine
from tests.image.project import Project

KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIAPLANTEDPLANTED88",
    "AWS_SECRET_ACCESS_KEY": "planted/push+secret/of/forty/characters",
    "AWS_SESSION_TOKEN": "planted-push-session-token",
}
BASE = "triton-test/tiny:1"
NAME = "triton-infer"


@attrs.frozen(kw_only=True)
class Cloud:
    """The project with a registry to push to.

    Attributes:
        project: The copy of this project.
        proxy: The way to the registry, which counts and breaks.
        api: The address of AWS's API.
        packaged: The packaged models.
        home: The home folder and the temporary folder of the tasks.
    """

    project: Project
    proxy: TcpProxy
    api: str
    packaged: Path
    home: Path

    def settings(self) -> dict[str, str]:
        """Return what a user would set, keys included."""
        return KEYS | {
            "AWS_REGION": "eu-central-1",
            "AWS_ACCOUNT_ID": hub.ACCOUNT,
            "ECR_REPOSITORY": NAME,
            "AWS_ENDPOINT_URL": self.api,
            "REGISTRY_HOST": self.proxy.url,
            "TRITON_BASE_IMAGE": BASE,
        }

    def environment(self) -> dict[str, str]:
        """Return what keeps the tasks within the tests' own folders."""
        return {"HOME": str(self.home), "TMPDIR": str(self.home / "tmp"), "AWS_EC2_METADATA_DISABLED": "true"}

    def invoke(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a task with the settings in the environment; an empty one takes a setting out."""
        given = {name: value for name, value in (self.settings() | settings).items() if value}
        return self.project.invoke(*arguments, extra=self.environment() | given)

    def blobs(self) -> list[Path]:
        """Return the files of what the registry has received whole."""
        return list((self.home.parent / "data").glob("docker/registry/v2/blobs/sha256/*/*/data"))

    def push(self, *arguments: str, repository: Path | None = None, **settings: str) -> str:
        """Push and return what was printed on standard output."""
        named = any(argument.startswith("--image") for argument in arguments)
        models = () if named else (f"--repository={repository or self.packaged}",)
        done = self.invoke("push-triton", *models, *arguments, **settings)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def refused(self, *arguments: str, saying: str, **settings: str) -> None:
        """Check that a task fails with one message that has *saying*, and shows no secret."""
        done = self.invoke(*arguments, **settings)
        output = done.stdout + done.stderr
        assert done.returncode == 1, output
        assert re.search(saying, done.stderr), output
        assert done.stderr.count("Error: ") == 1
        assert "Traceback" not in output
        for value in (*KEYS.values(), hub.PASSWORD):
            assert value not in output


def import_folder(engine: Engine, name: str, files: Mapping[str, bytes]) -> None:
    """Make an image of nothing but *files*."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    subprocess.run(
        ["docker", "import", "-", name], input=packed.getvalue(), env=engine.environment(), check=True, timeout=60
    )


@contextlib.contextmanager
def running(project: Project, engine: Engine, *, packaged: Path, folder: Path) -> Iterator[Cloud]:
    """Start moto and a registry, and create the repository; afterwards the engine has none of the images.

    Raises:
        Missing: If there is no registry on this machine.
    """
    (folder / "home" / "tmp").mkdir(parents=True)
    import_folder(engine, BASE, {"opt/tritonserver/LICENSE": b"a licence"})
    with hub.aws(folder) as api, hub.registry(folder) as host, TcpProxy(host) as proxy:
        made = Cloud(project=project, proxy=proxy, api=api, packaged=packaged, home=folder / "home")
        created = made.invoke("create-repository")
        assert created.returncode == 0, created.stdout + created.stderr
        assert created.stdout == f"{proxy.url}/{NAME}\n"
        try:
            yield made
        finally:
            ours = ("--filter", f"label=org.opencontainers.image.base.name={BASE}")
            built = engine.docker("image", "ls", "--quiet", *ours).split()
            if built:
                engine.docker("image", "rm", "--force", *dict.fromkeys(built))
