"""The checks of a server: green for what is right, and red for each thing that is not."""

import shutil
from pathlib import Path

import attrs
import numpy as np
import pytest

from scripts.host.secret import Secret
from scripts.repository import golden
from scripts.server import request as generate_input
from scripts.server.checks import check_server
from scripts.server.endpoint import Endpoint
from scripts.server.result import Result
from tests.doubles import tiny
from triton_sdk.local import LocalTriton, Runtime

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def endpoint(served: LocalTriton) -> Endpoint:
    """Return the addresses of the server."""
    return Endpoint(http=served.http_url, grpc=served.grpc_url, metrics=served.metrics_url)


@pytest.fixture
def copy(packaged: Path, tmp_path: Path) -> Path:
    """Return a copy of the repository that may be spoilt; the server keeps the original."""
    return Path(shutil.copytree(packaged, tmp_path / "model_repository"))


def failures(results: list[Result]) -> list[tuple[str, str]]:
    """Return what failed, as check and subject."""
    return [(r.check, r.subject) for r in results if r.state == "failed"]


def test_everything_is_green_for_what_was_packaged(endpoint: Endpoint, packaged: Path) -> None:
    """Every check ends well, and the golden check has looked at each version."""
    results = list(check_server(endpoint, repository=packaged, complete=True))
    assert failures(results) == []
    assert {r.state for r in results} == {"ok"}
    golden_checks = {r.subject for r in results if r.check == "golden, gRPC"}
    assert golden_checks == {"mobilenetv2 v1", "mobilenetv2 v2", "mobilenetv2-fp32 v1"}


def test_other_numbers_are_found(endpoint: Endpoint, copy: Path) -> None:
    """A server whose weights are not those that were packaged fails the golden check of that version, and no other."""
    path = copy / "mobilenetv2" / "2" / "golden.npz"
    right = golden.load(path)
    golden.save(golden.Golden(input=right.input, output=np.roll(right.output, 1, axis=1)), path=path)
    results = list(check_server(endpoint, repository=copy, complete=True))
    assert ("golden, gRPC", "mobilenetv2 v2") in failures(results)
    assert ("golden, gRPC", "mobilenetv2 v1") not in failures(results)


def test_a_version_that_is_not_served_is_found(endpoint: Endpoint, copy: Path) -> None:
    """A packaged version that the server lacks fails a complete check, and is only mentioned otherwise."""
    shutil.copytree(copy / "mobilenetv2" / "2", copy / "mobilenetv2" / "3")
    for complete, state in ((True, "failed"), (False, "skipped")):
        row = next(r for r in check_server(endpoint, repository=copy, complete=complete) if r.check == "served")
        assert (row.subject, row.state) == ("mobilenetv2 v3", state)


def test_another_contract_is_found(endpoint: Endpoint, copy: Path) -> None:
    """A manifest that says another tensor name than the server fails the metadata check."""
    manifest = copy / "mobilenetv2" / "1" / "manifest.json"
    manifest.write_text(
        manifest.read_text(encoding="utf-8").replace('"name": "image"', '"name": "picture"'), encoding="utf-8"
    )
    assert ("metadata", "mobilenetv2 v1") in failures(list(check_server(endpoint, repository=copy, complete=True)))


@pytest.mark.parametrize("name", ["golden.npz", "manifest.json"])
def test_damaged_files_fail_their_own_checks(endpoint: Endpoint, copy: Path, name: str) -> None:
    """What cannot be read is a failed row of that version; every other check is still made."""
    (copy / "mobilenetv2" / "1" / name).write_bytes(b"damaged")
    results = list(check_server(endpoint, repository=copy, complete=True))
    assert ("golden, gRPC", "mobilenetv2 v1") in failures(results)
    assert {subject for _, subject in failures(results)} == {"mobilenetv2 v1", "server"}
    assert ("in parallel", "server") in failures(results)


def test_a_server_without_metrics_is_checked_all_the_same(endpoint: Endpoint, packaged: Path) -> None:
    """Where the metrics cannot be reached, the checks that need them say so and the numbers are still checked."""
    results = list(
        check_server(attrs.evolve(endpoint, metrics="http://127.0.0.1:1/metrics"), repository=packaged, complete=True)
    )
    assert {check for check, _ in failures(results)} == {"batching", "GPU"}


@pytest.mark.parametrize("headers", [{}, {"triton-admin-key": Secret("sesame")}], ids=["without the key", "with it"])
def test_a_server_that_closes_its_models_api_is_checked(packaged: Path, headers: dict[str, Secret]) -> None:
    """With the key it tells its versions; without, it is asked for those that were packaged."""
    closed = "--http-restricted-api=model-repository:triton-admin-key=sesame"
    with LocalTriton(packaged, args=(closed,)) as server:
        endpoint = Endpoint(http=server.http_url, grpc=server.grpc_url, metrics=server.metrics_url, headers=headers)
        assert endpoint.post("/v2/repository/index", b"{}").status == (200 if headers else 403)
        results = list(check_server(endpoint, repository=packaged, complete=True))
        elsewhere = list(check_server(endpoint, repository=packaged / "nothing", complete=True))
    assert failures(results) == []
    assert len({r.subject for r in results if r.check == "golden, gRPC"}) == 3
    # Where nothing is packaged there is nothing to ask for.
    assert (("models", "server") in failures(elsewhere)) is (not headers)
    assert "sesame" not in f"{results}{endpoint}"


def test_batches_of_changing_sizes_that_are_slow_are_found(runtime: Runtime, tmp_path: Path) -> None:
    """Where a run of several images costs far more than each alone, as a plain graph on a GPU, batching fails."""
    resize = 'parameters { key: "image.resize" value { string_value: "8" } }'
    for name, model in (("tired", tiny.slow_together()), ("fresh", tiny.classifier())):
        tiny.write_model(tmp_path, name, model=model, max_batch=16, extra=f"dynamic_batching {{}}\n{resize}")
    with LocalTriton(tmp_path, runtime=runtime) as server:
        endpoint = Endpoint(http=server.http_url, grpc=server.grpc_url, metrics=server.metrics_url)
        results = list(check_server(endpoint, repository=tmp_path / "nothing packaged", complete=False))
    assert failures(results) == [("batching", "tired")]
    (row,) = (r for r in results if (r.check, r.subject) == ("batching", "tired"))
    assert "of what one caller gets, less than 0.3" in row.figure


def test_no_server_is_one_failed_row() -> None:
    """Where nothing listens, the first row says so and no other follows."""
    results = list(check_server(Endpoint.parse("127.0.0.1:1"), repository=Path("nowhere"), complete=False))
    assert failures(results) == [("live", "server")]
    assert "is the server running" in results[0].figure


def test_a_generated_request_is_answered_with_names(endpoint: Endpoint, packaged: Path, tmp_path: Path) -> None:
    """What generate-input writes, sent to the version's own address, gives five classes with their labels."""
    request = generate_input.generate(
        model="mobilenetv2", repository=packaged, version=1, output=tmp_path / "input.json"
    )
    answer = endpoint.post("/v2/models/mobilenetv2/versions/1/infer", request.path.read_bytes())
    assert answer.status == 200
    assert answer.body["model_version"] == "1"
    assert [len(text.split(":")) for text in answer.body["outputs"][0]["data"]] == [3] * 5
