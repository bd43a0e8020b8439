"""The examples and the program for terminals, against a real Triton, as their first lines say."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from examples import ab_split, batch_job, fastapi_service
from tests.doubles.pictures import jpeg
from triton_sdk.local import LocalTriton

pytestmark = pytest.mark.timeout(120)
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _environment(served: LocalTriton, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_GRPC_URL", served.grpc_url)
    monkeypatch.setenv("TRITON_MODEL", "mobilenetv2")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder with ten photographs and a file that is none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(10):
        (folder / f"{number}.jpg").write_bytes(jpeg(300, 260, seed=number))
    (folder / "x.jpg").write_bytes(b"no image")
    return folder


def test_the_service_answers() -> None:
    """The app that uvicorn would start is ready, classifies, and knows its versions."""
    with TestClient(fastapi_service.app) as service:
        assert service.get("/ready").json() == {"ready": True}
        newest, first = (
            service.post("/predict", params=params, content=jpeg(300, 260)).json() for params in ({}, {"version": 1})
        )
        assert service.post("/predict", params={"version": 9}, content=jpeg(300, 260)).status_code == 404
    assert (newest["model_version"], first["model_version"]) == (2, 1)
    assert newest["probability"] != first["probability"]


def test_the_batch_job_fills_its_table(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row for each file, with the version that answered."""
    batch_job.main(str(photos), str(tmp_path / "labels.csv"))
    assert capsys.readouterr().out == "10 classified, 1 unreadable\n"
    rows = list(csv.reader((tmp_path / "labels.csv").read_text().splitlines()))
    assert len(rows) == 11
    assert {row[3] for row in rows} == {"2", ""}


def test_the_split_shares_out(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both versions answer some of two hundred users."""
    serve = ab_split.serve_users
    monkeypatch.setattr(ab_split, "serve_users", lambda *given, **more: serve(*given, **{**more, "users": range(200)}))
    ab_split.main(str(photos / "0.jpg"), "1", "2")
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["version 1", "version 2"]
    assert sum(int(line.split()[2]) for line in lines) == 200


def test_the_program_classifies_a_folder(photos: Path) -> None:
    """JSON lines for what is an image, a line on stderr for what is not, and status 1."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "triton_sdk", "predict", "--json", str(photos)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=REPOSITORY,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(row["path"]).name for row in found] == [f"{number}.jpg" for number in range(10)]
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"{photos}/x.jpg" in done.stderr
