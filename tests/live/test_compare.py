"""Comparing versions on the real local Triton."""

import contextlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
from invoke import Context
from PIL import Image

from scripts.agent import files
from scripts.agent.compose import Served
from scripts.compare.run import Wanted, compare
from scripts.compare.sides import opened
from scripts.compare.timing import Length
from scripts.compare.verdict import Limits
from scripts.host import settings
from scripts.host.errors import TaskFailure
from scripts.packaging.package import Source, Wishes, package
from scripts.server.agent import free_beside
from scripts.server.endpoint import GRPC_OFFSET, Endpoint
from scripts.tasks import measuring
from tests.doubles import tiny
from triton_sdk.local import LocalTriton, Runtime

MODEL = "cars"
NAMES = ("red", "green", "blue")
QUICK = Length(most=6, least=2, turns=6, turn_s=0.01)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Package one classifier twice, as versions 1 and 2, and another as versions 3 and 4."""
    folder = tmp_path_factory.mktemp("compare")
    for number, seed in enumerate((3, 3, 4, 4)):
        onnx.save(tiny.classifier(seed=seed), folder / f"{number}.onnx")
        source = Source.onnx(folder / f"{number}.onnx")
        package(source, model=MODEL, repository=folder / "models", wishes=Wishes(labels=NAMES), progress=lambda _: None)
    return folder / "models"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write pictures of many colours into folders that are named by class."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(30):
        (folder / NAMES[number % 3]).mkdir(exist_ok=True)
        colour = (40 * number % 256, 90 * number % 256, 140 * number % 256)
        Image.new("RGB", (12, 12), colour).save(folder / NAMES[number % 3] / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def server(repository: Path, runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalTriton]:
    """Serve versions 1 to 3, and 4 as the candidate, as an agent lays it out."""
    root = tmp_path_factory.mktemp("served")
    served = Served(folder=root / "served", work=root / "work")
    served.create()
    versions = {number: repository / MODEL / str(number) for number in range(1, 5)}
    candidate = {4: versions.pop(4)}
    served.put_model(MODEL, shared=repository / MODEL, versions=versions)
    served.put_model(f"{MODEL}.candidate", shared=repository / MODEL, versions=candidate)
    port = free_beside(GRPC_OFFSET)
    with LocalTriton(served.folder, runtime=runtime, http_port=port, grpc_port=port + GRPC_OFFSET) as triton:
        yield triton


def found(server: LocalTriton, pictures: Path, *versions: int, **limits: float) -> tuple[dict[str, Any], str]:
    """Return the JSON and the page of a comparison."""
    wanted = Wanted(
        model=MODEL,
        versions=(versions[0], versions[1]),
        images=pictures,
        labels=None,
        limits=Limits(**limits),
        callers=2,
        length=QUICK,
    )
    counted: list[int] = []

    @contextlib.contextmanager
    def counting() -> Iterator[Any]:
        yield lambda done, _: counted.append(done)

    comparison, html = compare(
        wanted, server.grpc_url, server="here", notes=(), digests={}, step=lambda _: None, counting=counting
    )
    assert counted == list(range(1, 31))
    return json.loads(comparison.as_json()), html


def test_a_version_agrees_with_itself(server: LocalTriton, pictures: Path) -> None:
    """The same file as two versions: no probability moves, and thirty pictures keep a wide limit only."""
    told, html = found(server, pictures, 1, 2, disagreement=0.2, loss=0.2)
    assert (told["agreement"]["share"], told["shift"]["largest"], told["changes"]) == (1.0, 0.0, [])
    assert told["accuracy_loss"]["mcnemar_p"] == 1.0
    assert told["exit_status"] == 0
    assert "No picture got another best class." in html
    assert found(server, pictures, 1, 2, disagreement=0.02)[0]["exit_status"] == 3


def test_another_model_is_told_apart(server: LocalTriton, pictures: Path) -> None:
    """Its answers differ, by their names and their number, and the exit status says so."""
    told, html = found(server, pictures, 1, 3, disagreement=0.02)
    assert told["agreement"]["hits"] < 30
    assert sum(change["pictures"] for change in told["changes"]) == 30 - told["agreement"]["hits"]
    assert {change["was"] for change in told["changes"]} <= set(NAMES)
    assert told["exit_status"] == 1
    assert told["versions"][1]["throughput"]["per_s"] > 0
    assert html.count("data:image/jpeg;base64,") == 24


def test_a_candidate_is_found_beside_its_model(server: LocalTriton, pictures: Path) -> None:
    """Version 4 is no version of the model, and is asked as the candidate; it is the same file as version 3."""
    told, _ = found(server, pictures, 3, 4)
    assert told["shift"]["largest"] == 0.0
    with opened(server.grpc_url, MODEL, 3, 4, labels=None) as sides:
        assert [side.model for side in sides] == [MODEL, f"{MODEL}.candidate"]


def test_a_version_that_is_not_served_is_named(server: LocalTriton) -> None:
    """With those that are."""
    with (
        pytest.raises(TaskFailure, match=r"does not serve version 9 of cars \(it serves 1, 2, 3\)"),
        opened(server.grpc_url, MODEL, 1, 9, labels=None),
    ):
        pass


def test_a_closed_api_is_no_hindrance(repository: Path, runtime: Runtime) -> None:
    """The chart lists models to its owner only: versions are found without the list, which the message then lacks."""
    closed = "--grpc-restricted-protocol=model-repository:key=value"
    with LocalTriton(repository, runtime=runtime, args=(closed,)) as triton:
        with opened(triton.grpc_url, MODEL, 1, 4, labels=None) as sides:
            assert [side.version for side in sides] == [1, 4]
        with (
            pytest.raises(TaskFailure, match=r"does not serve version 9 of cars\. Compare"),
            opened(triton.grpc_url, MODEL, 1, 9, labels=None),
        ):
            pass


def run(capsys: pytest.CaptureFixture[str], **flags: Any) -> tuple[int, str, str]:
    """Run the task; return the exit status and what it printed."""
    status = 0
    try:
        measuring.compare(Context(), model=MODEL, callers="0", **flags)
    except SystemExit as ended:
        status = int(str(ended.code))
    return status, *capsys.readouterr()


def test_the_task_serves_what_is_packaged(
    repository: Path,
    pictures: Path,
    runtime: Runtime,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With --local, whatever the configuration's policy is; the table and the report are there when it fails, too."""
    assert runtime.complete
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    shutil.copytree(repository, tmp_path / "models")
    config = tmp_path / "models" / MODEL / "config.pbtxt"
    config.write_text(config.read_text().replace("version_policy { all { } }", "version_policy { latest { } }"))
    flags = {"baseline": "1", "images": str(pictures), "local": True, "repository": "models"}
    status, out, err = run(capsys, candidate="3", max_disagreement="0.02", **flags)
    assert status == 1
    assert "version 3 against version 1" in out
    assert "and --max-disagreement allows 2%" in err
    report = tmp_path / "build" / "compare" / "cars-1-3.html"
    assert "Beyond the limit." in report.read_text()
    assert [path.name for path in report.parent.iterdir()] == [report.name]
    told = json.loads(run(capsys, candidate="3", json=True, **flags)[1])
    folders = (tmp_path / "models" / MODEL / "1", tmp_path / "models" / MODEL / "3")
    assert [one["sha256"] for one in told["versions"]] == [files.digest(files.scan(folder)) for folder in folders]
    status, _, err = run(capsys, candidate="9", **flags)
    words = f"Version 9 of cars is not packaged in {tmp_path}/models; there is 1, 2, 3, 4."
    assert (status, words in err) == (1, True)


def test_too_few_pictures_have_a_status_of_their_own(
    server: LocalTriton, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is 3, and the JSON on standard output stays JSON."""
    status, out, err = run(
        capsys,
        baseline="1",
        candidate="2",
        images=str(pictures),
        max_loss="0.01",
        json=True,
        report=str(tmp_path / "report.html"),
        url=server.http_url.removeprefix("http://"),
    )
    assert (status, json.loads(out)["exit_status"]) == (3, 3)
    assert "30 pictures are too few to tell" in err


def test_a_pod_is_asked_through_a_port_forward(
    server: LocalTriton,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The ready one of the release, and the report says that its times are those of this way."""
    endpoint = Endpoint(http=server.http_url, grpc=server.grpc_url, metrics=server.metrics_url)
    asked: list[Sequence[str]] = []

    @contextlib.contextmanager
    def reached(*where: str) -> Iterator[tuple[Any, ...]]:
        asked.append(where)
        yield SimpleNamespace(release="rel", namespace="ns"), None, None

    @contextlib.contextmanager
    def forward(_: object, subject: str, **__: object) -> Iterator[Any]:
        asked.append((subject,))
        yield SimpleNamespace(endpoint=lambda: endpoint)

    monkeypatch.setattr(measuring, "reached", reached)
    monkeypatch.setattr("scripts.cluster.pods.pods_of", lambda *_: [])
    monkeypatch.setattr("scripts.cluster.pods.ready_pod", lambda *_, of: SimpleNamespace(name=f"pod of {of}"))
    monkeypatch.setattr("scripts.cluster.forward.forward", forward)
    report = tmp_path / "report.html"
    flags = {"baseline": "1", "candidate": "2", "images": str(pictures), "report": str(report)}
    status, out, _ = run(capsys, namespace="ns", **flags)
    assert (status, asked) == (0, [("", "ns", ""), ("pod/pod of release rel",)])
    assert "through a port-forward" in out
    assert "through a port-forward" in report.read_text()
