"""The examples, run against a server in memory: what their readers copy works."""

import csv
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from examples import ab_split, batch_job, fastapi_service
from tests.doubles.fake_triton import image
from tests.doubles.pictures import jpeg
from triton_sdk import AsyncResNetClient, ResNetClient, RetryPolicy, ServerUnavailableError, Split
from triton_sdk.telemetry import on_call
from triton_sdk.testing import Fault, ScriptedTransport


@pytest.fixture
def transport() -> ScriptedTransport:
    """Return a server that always finds the same, in two versions."""
    return ScriptedTransport([{"goldfish": 0.9, "tench": 0.1}], versions=(1, 2))


class TestFastApi:
    @pytest.fixture
    def service(self, transport: ScriptedTransport) -> Iterator[TestClient]:
        """Start the service on that server."""
        app = fastapi_service.create_app(
            lambda: AsyncResNetClient("scripted:1", transport=transport, retry=RetryPolicy(base=0))
        )
        with TestClient(app) as service:
            yield service

    def test_an_image_is_classified(self, service: TestClient, transport: ScriptedTransport) -> None:
        """The body is the image, the answer is JSON; the version may be chosen."""
        answer = service.post("/predict", params={"version": 1}, content=jpeg(60, 40))
        assert answer.status_code == 200
        body = answer.json()
        assert (body["label"], body["model_version"], list(body["top"])[:2]) == ("goldfish", 1, ["goldfish", "tench"])
        assert transport.requests[0].timeout <= 2

    @pytest.mark.parametrize(
        ("fault", "status"),
        [("overloaded", 503), ("unavailable", 503), ("slow", 504), ("failed", 502), ("denied", 502)],
    )
    def test_errors_become_statuses(
        self, service: TestClient, transport: ScriptedTransport, fault: Fault, status: int
    ) -> None:
        """Callers learn whose fault it is and whether to come back, and nothing of the server's words."""
        transport.fail(fault, times=3 if fault == "unavailable" else 1)
        answer = service.post("/predict", content=jpeg(60, 40))
        assert answer.status_code == status
        assert answer.json()["error"].endswith("Error")
        assert ("Retry-After" in answer.headers) == (status == 503)

    @pytest.mark.parametrize("body", [b"", b"no image"])
    def test_what_is_no_image_is_the_caller_s_fault(self, service: TestClient, body: bytes) -> None:
        """The answer says what is wrong with it."""
        answer = service.post("/predict", content=body)
        assert answer.status_code == 422
        assert "given bytes" in answer.json()["error"]

    @pytest.mark.parametrize(
        ("version", "status"), [("99", 404), ("0", 422), ("-1", 422), ("one", 422), ("9" * 40, 422)]
    )
    def test_a_version_that_is_not_there_is_the_caller_s_fault(
        self, service: TestClient, version: str, status: int
    ) -> None:
        """The answer names the version; a caller that names none gets what there is."""
        answer = service.post("/predict", params={"version": version}, content=jpeg(60, 40))
        assert answer.status_code == status
        assert version in answer.text
        assert service.post("/predict", content=jpeg(60, 40)).status_code == 200

    def test_readiness_follows_the_server(self, service: TestClient, transport: ScriptedTransport) -> None:
        """The probe turns red and green with the model."""
        assert service.get("/ready").status_code == 200
        transport.stop()
        assert service.get("/ready").status_code == 503

    def test_the_client_is_closed_with_the_service(self, service: TestClient, transport: ScriptedTransport) -> None:
        """Nothing is left open when the service ends."""
        service.__exit__(None, None, None)
        assert transport.closed
        service.__enter__()


def run_example(name: str, *arguments: object, monkeypatch: pytest.MonkeyPatch) -> str | int | None:
    """Run an example as a program, and return what it ends with: what it says, or a status."""
    monkeypatch.setattr("sys.argv", [name, *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(Path(str(batch_job.__file__)).with_name(f"{name}.py")), run_name="__main__")
    return ended.value.code


def test_the_service_run_as_a_program_says_how_it_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs a server for ASGI, and once ended in silence."""
    assert "uvicorn examples.fastapi_service:app" in str(run_example("fastapi_service", monkeypatch=monkeypatch))


@pytest.mark.parametrize(
    ("name", "arguments", "url", "saying"),
    [
        ("batch_job", ["HERE", "HERE/a.csv"], "", "TRITON_GRPC_URL is not set"),
        ("batch_job", ["HERE", "HERE/a.csv"], "triton", "The server's address is 'triton'"),
        ("batch_job", ["HERE/photos", "HERE/a.csv"], "scripted:1", "There is no folder HERE/photos."),
        ("batch_job", ["HERE", "HERE"], "scripted:1", "Is a directory: 'HERE'"),
        ("batch_job", ["HERE", "HERE/no/a.csv"], "scripted:1", "No such file or directory: 'HERE/no/a.csv'"),
        ("ab_split", ["a.jpg", "1", "2"], "", "TRITON_GRPC_URL is not set"),
        ("ab_split", ["a.jpg", "one", "2"], "scripted:1", "invalid literal for int() with base 10: 'one'"),
        ("ab_split", ["a.jpg", "0", "2"], "scripted:1", "A version of a Split is 0; a whole number from 1"),
        ("ab_split", ["a.jpg", "1", "1"], "scripted:1", "Version 1 cannot be compared with itself"),
        ("ab_split", ["HERE/a.jpg", "1", "2"], "scripted:1", "Cannot read 'HERE/a.jpg': No such file"),
    ],
)
def test_what_an_example_cannot_use_is_one_message(
    name: str,
    arguments: list[str],
    url: str,
    saying: str,
    transport: ScriptedTransport,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Readers copy it: where nothing was classified, it says why, without a traceback and without success."""
    monkeypatch.setattr("triton_sdk.client.GrpcTransport", lambda *_, **__: transport)
    monkeypatch.setenv("TRITON_GRPC_URL", url)
    here = [argument.replace("HERE", str(tmp_path)) for argument in arguments]
    said = run_example(name, *here, monkeypatch=monkeypatch)
    assert saying.replace("HERE", str(tmp_path)) in str(said)


@pytest.mark.parametrize("name", ["batch_job", "ab_split"])
@pytest.mark.parametrize("arguments", [[], ["--help"], ["1", "2", "3", "4", "5"]])
def test_an_example_without_its_arguments_says_how_to_run_it(
    name: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own first lines are shown, with the command."""
    monkeypatch.setattr("sys.argv", [name, *arguments])
    with pytest.raises(SystemExit, match=f"python -m examples.{name} "):
        runpy.run_path(str(Path(str(batch_job.__file__)).with_name(f"{name}.py")), run_name="__main__")


class TestBatchJob:
    @pytest.fixture
    def photos(self, tmp_path: Path) -> Path:
        """Return a folder with twenty images, two of which are none."""
        for number in range(20):
            (tmp_path / f"{number:02}.jpg").write_bytes(b"no image" if number in (3, 7) else jpeg(60, 40))
        return tmp_path

    def test_an_interrupted_job_goes_on(self, photos: Path, tmp_path: Path, transport: ScriptedTransport) -> None:
        """After a failure of the server, a second run does what is left, and a third has nothing to do."""
        table = tmp_path / "labels.csv"
        with ResNetClient("scripted:1", transport=transport, retry=RetryPolicy(max_attempts=1)) as client:
            client.predict(image(1))
            transport.fail("unavailable", times=100)
            with pytest.raises(ServerUnavailableError):
                batch_job.classify(client, photos, table)
        transport = ScriptedTransport([{"goldfish": 0.9}])
        with ResNetClient("scripted:1", transport=transport) as client:
            (photos / "00.jpg").rename(photos / "later")
            assert batch_job.classify(client, photos, table) == (17, 2)
            (photos / "later").rename(photos / "00.jpg")
            assert batch_job.classify(client, photos, table) == (1, 0)
            assert batch_job.classify(client, photos, table) == (0, 0)
        rows = {row[0]: row[1:] for row in csv.reader(table.read_text().splitlines())}
        assert len(rows) == 20
        assert (rows["00.jpg"], rows["03.jpg"]) == (["goldfish", "0.9000", "1"], ["", "", ""])


class TestAbSplit:
    def test_users_stay_with_their_version(self, transport: ScriptedTransport) -> None:
        """About a tenth go to the candidate, the same ones each time, and both versions are measured."""
        comparison = ab_split.Comparison()
        with ResNetClient("scripted:1", transport=transport, hooks=[on_call(comparison.record)]) as client:
            split = Split({1: 90, 2: 10})
            first = ab_split.serve_users(client, image(1), split=split, users=range(150))
            assert ab_split.serve_users(client, image(1), split=split, users=range(150)) == first
            transport.fail("failed")
            ab_split.serve_users(client, image(1), split=split, users=range(1))
        candidates = sum(version == 2 for version in first.values())
        # Three standard deviations around 15.
        assert 15 - 11 <= candidates <= 15 + 11
        assert {version: len(times) for version, times in comparison.latencies.items()} == {
            1: 2 * (150 - candidates),
            2: 2 * candidates,
        }
        assert sum(comparison.errors.values()) == 1
        with ResNetClient("scripted:1", transport=transport, hooks=[on_call(comparison.record)]) as client:
            ab_split.serve_users(client, image(1), split=Split({3: 1}), users=range(5))
        # What answered nobody is what a comparison is for.
        assert str(comparison).endswith("version 3: 0 calls, 5 lost")
        assert "version 1: " in str(comparison)
