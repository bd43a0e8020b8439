"""Publish and fetch a version by the model store, and move its files by a bare boto3 loop and by `aws s3 cp`."""

import contextlib
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import attrs
import boto3

from benchmarks.figures import Move, Moved
from benchmarks.s3_server import COUNTS
from scripts.agent.library import Library
from scripts.agent.s3 import Bucket, patience
from scripts.agent.store import Store
from scripts.packaging import package
from scripts.versions.publish import publish

MODEL: Final = "resnet50"
BUCKET: Final = "models"
REGION: Final = "us-east-1"
KEYS: Final = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": REGION}
Progress = Callable[[str], None]


@attrs.frozen(kw_only=True)
class Way:
    """A way to bring a version into S3, or out of it.

    Attributes:
        name: What the table calls it.
        beside: The name of the way of ours that does the same; empty for one of ours.
        go: Does it.
    """

    name: str
    go: Callable[[], object]
    beside: str = ""


@attrs.frozen(kw_only=True)
class _Server:
    url: str

    def ask(self, path: str, *, method: str = "GET") -> bytes:
        with urllib.request.urlopen(urllib.request.Request(self.url + path, method=method), timeout=60) as answer:
            body: bytes = answer.read()
        return body

    def counts(self) -> dict[str, int]:
        counted: dict[str, int] = json.loads(self.ask(COUNTS))
        return counted

    def client(self, **more: Any) -> Any:
        names = {"aws_access_key_id": "AWS_ACCESS_KEY_ID", "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY"}
        keys = {argument: KEYS[name] for argument, name in names.items()}
        return boto3.client("s3", endpoint_url=self.url, region_name=REGION, **keys, **more)


def measure(*, rounds: int, progress: Progress) -> tuple[str, list[Moved]]:
    """Package ResNet50, and move it each way once in each round.

    Returns:
        In what it was measured, and what each way did.
    """
    with tempfile.TemporaryDirectory(prefix="triton-bench-store-") as folder, _server() as server:
        repository = Path(folder, "model_repository")
        progress("store: packaging ResNet50 with seeded weights")
        source = package.Source.seeded(MODEL, seed=1)
        package.package(source, model=MODEL, repository=repository, max_batch=8, progress=lambda _: None)
        aws = shutil.which("aws")
        if aws is None:
            progress("store: the aws CLI is not here and is left out")
        targets = (Path(folder, f"fetched-{number}") for number in itertools.count())
        there, back = _ways(server, repository / MODEL, aws, lambda: next(targets))
        ways = (*there, *back)
        moves: dict[str, list[Move]] = {way.name: [] for way in ways}
        for number in range(rounds):
            progress(f"store: round {number + 1} of {rounds}")
            server.ask("/moto-api/reset", method="POST")
            server.client().create_bucket(Bucket=BUCKET)
            turn = -1 if number % 2 else 1
            for way in (*there[::turn], *back[::turn]):
                moves[way.name].append(_timed(way, server))
            for fetched in Path(folder).glob("fetched-*"):
                shutil.rmtree(fetched)
        sizes = [path.stat().st_size for path in _files(repository / MODEL)]
    moved = [Moved(name=way.name, beside=way.beside, moves=tuple(moves[way.name])) for way in ways]
    return _conditions(aws, sizes), moved


def _timed(way: Way, server: _Server) -> Move:
    server.counts()
    begin = time.perf_counter()
    way.go()
    return Move(seconds=time.perf_counter() - begin, **server.counts())


def _ways(server: _Server, model: Path, aws: str | None, target: Callable[[], Path]) -> tuple[list[Way], list[Way]]:
    """Return the ways into S3, and those that need what these brought there."""
    store = Store(Bucket(server.client(config=patience()), BUCKET, "ours/"))
    bare = server.client()

    def publishing() -> None:
        publish(model.parent, store, model=MODEL, version=1, progress=lambda *_: None)

    def fetching() -> None:
        library = Library(image=target(), fetched=target(), store=store)
        library.create()
        library.from_store(MODEL, 1, digest=None, moved=lambda _: None)

    def uploading() -> None:
        for path in _files(model):
            bare.upload_file(str(path), BUCKET, f"bare/{path.relative_to(model)}")

    def downloading() -> None:
        folder = target()
        for path in _files(model):
            there = folder / path.relative_to(model)
            there.parent.mkdir(parents=True, exist_ok=True)
            bare.download_file(BUCKET, f"bare/{path.relative_to(model)}", str(there))

    def copying(start: str, end: str) -> None:
        settings = [f"{name}={value}" for name, value in KEYS.items()]
        alone = ["env", "-u", "AWS_PROFILE", "AWS_CONFIG_FILE=/dev/null", *settings, str(aws)]
        options = ("--recursive", "--only-show-errors", "--endpoint-url", server.url)
        subprocess.run([*alone, "s3", "cp", start, end, *options], check=True)

    there = [
        Way(name="publish", go=publishing),
        Way(name="bare boto3, upload_file", beside="publish", go=uploading),
    ]
    back = [
        Way(name="publish, all there already", go=publishing),
        Way(name="fetch by the agent", go=fetching),
        Way(name="bare boto3, download_file", beside="fetch by the agent", go=downloading),
    ]
    if aws:
        bucket = f"s3://{BUCKET}/aws"
        there.append(Way(name="aws s3 cp, up", beside="publish", go=lambda: copying(str(model), bucket)))
        back.append(Way(name="aws s3 cp, down", beside="fetch by the agent", go=lambda: copying(bucket, str(target()))))
    return there, back


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _conditions(aws: str | None, sizes: list[int]) -> str:
    from moto import __version__ as moto

    tool = ""
    if aws:
        begin = time.perf_counter()
        said = subprocess.run([aws, "--version"], capture_output=True, text=True, check=True).stdout.split()[0]
        tool = f", {said} (a process of its own, of whose time {time.perf_counter() - begin:.1f} s are its start)"
    what = f"ResNet50, {len(sizes)} files, {sum(sizes) / 1e6:.1f} MB"
    return f"{what}, moto {moto} on loopback, boto3 {boto3.__version__}{tool}."


@contextlib.contextmanager
def _server() -> Iterator[_Server]:
    """Run an S3 until the block ends."""
    command = [sys.executable, "-m", "benchmarks.s3_server"]
    with subprocess.Popen(
        command, cwd=Path(__file__).parent.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:  # its end closes the standard input, which ends the server
        assert process.stdout is not None
        try:
            yield _Server(url=f"http://127.0.0.1:{int(process.stdout.readline())}")
        finally:
            process.kill()
