"""Repositories that others wrote: Triton serves them, the linter lets them pass, the smoke test finds them healthy."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

from scripts.graph.session import Session
from scripts.packaging.package import Source, Wishes, package
from scripts.repository.lint.model import lint
from scripts.server.checks import check_server
from scripts.server.endpoint import Endpoint
from tests.doubles import owners_models, public_configs, refused_configs, tiny
from triton_sdk import ResNetClient
from triton_sdk.errors import TritonError
from triton_sdk.local import LocalTriton, Runtime

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("name", ["the batch in the dimensions", "a reshape", "one line"])
def test_a_server_that_batches_nothing_is_healthy(name: str, tmp_path: Path, runtime: Runtime) -> None:
    """NVIDIA's quickstart and its like: linted, served, smoke-tested and asked with the right numbers and names."""
    folder = public_configs.write(tmp_path, public_configs.CONFIGS[name])
    assert [finding for finding in lint(tmp_path) if finding.severity == "error"] == []
    pictures = np.random.default_rng(0).normal(size=(3, 3, public_configs.SIDE, public_configs.SIDE))
    batch = pictures.astype(np.float32)
    with LocalTriton(tmp_path, runtime=runtime) as server:
        endpoint = Endpoint(http=server.http_url, grpc=server.grpc_url, metrics=server.metrics_url)
        results = list(check_server(endpoint, repository=tmp_path, complete=True))
        assert [result for result in results if result.state == "failed"] == []
        with ResNetClient(server.grpc_url, model="other") as client:
            answer = client.infer(batch).scores
            best = client.predict(np.full((20, 20, 3), 200, np.uint8)).label
    np.testing.assert_allclose(answer, Session(folder / "1" / "model.onnx").alone(batch), rtol=1e-5)
    labelled = "label_filename" in public_configs.CONFIGS[name]
    assert best.startswith("name " if labelled else "class ")


def test_controls_that_the_server_feeds_are_served(tmp_path: Path, runtime: Runtime) -> None:
    """A sequence model has inputs that stand in no request: the linter is content, and the server feeds them."""
    folder = public_configs.write(tmp_path, public_configs.SEQUENCE, model=public_configs.accumulator())
    (folder / "labels.txt").unlink()
    assert [finding for finding in lint(tmp_path) if finding.severity == "error"] == []
    with LocalTriton(tmp_path, runtime=runtime) as server, grpcclient.InferenceServerClient(server.grpc_url) as client:
        tensor = grpcclient.InferInput("x", [1, 1], "FP32")
        tensor.set_data_from_numpy(np.full((1, 1), 5, np.float32))
        answers = [
            client.infer("other", [tensor], sequence_id=7, sequence_start=first).as_numpy("y").item()
            for first in (True, False)
        ]
    # x + START + READY
    assert answers == [7, 6]


@pytest.mark.parametrize(
    ("content", "name"), [(b"\xef\xbb\xbfred\ngreen\nblue\n", "\ufeffred"), (b"red\r\ngreen\r\nblue\r\n", "red\r")]
)
def test_triton_keeps_what_the_linter_warns_of(content: bytes, name: str, tmp_path: Path, runtime: Runtime) -> None:
    """A byte order mark and carriage returns become a part of the names that the server answers."""
    tiny.write_model(tmp_path, "named", model=tiny.classifier())
    config = tmp_path / "named" / "config.pbtxt"
    config.write_text(config.read_text().replace('name: "probabilities"', 'name: "probabilities" label_filename: "l"'))
    (tmp_path / "named" / "l").write_bytes(content)
    assert "labels-bytes" in {finding.rule for finding in lint(tmp_path)}
    with LocalTriton(tmp_path, runtime=runtime) as server, ResNetClient(server.grpc_url, model="named") as client:
        found = client.predict(np.zeros((8, 8, 3), np.uint8), top_k=3)
    assert name in {score.label for score in found.top}


def test_nodes_in_another_order_are_served(tmp_path: Path, runtime: Runtime) -> None:
    """What the linter lets pass, ONNX Runtime loads."""
    model = tiny.classifier()
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(model)
    tiny.write_model(tmp_path, "turned", model=model)
    assert [finding for finding in lint(tmp_path) if finding.severity == "error"] == []
    with LocalTriton(tmp_path, runtime=runtime) as server, ResNetClient(server.grpc_url, model="turned") as client:
        assert client.infer(np.zeros((1, 8, 8, 3), np.uint8)).scores.shape == (1, 3)


def test_what_must_be_alone_is_served_alone(tmp_path: Path, runtime: Runtime) -> None:
    """Packaged with --max-batch 1, a model whose answers depend on batch-mates disturbs none of many callers."""
    file = tmp_path / "own.onnx"
    file.write_bytes(owners_models.batch_statistics().SerializeToString())
    repository = tmp_path / "models"
    done = package(Source.onnx(file), model="own", repository=repository, max_batch=1, progress=lambda _: None)
    pictures = np.random.default_rng(0).integers(0, 256, (24, 1, 1, 3), dtype=np.uint8).repeat(32, 1).repeat(32, 2)
    with LocalTriton(repository, runtime=runtime) as server:
        endpoint = Endpoint(http=server.http_url, grpc=server.grpc_url, metrics=server.metrics_url)
        results = list(check_server(endpoint, repository=repository, complete=True))
        assert [(result.check, result.state) for result in results if result.state == "failed"] == []
        with ResNetClient(server.grpc_url, model="own") as client, ThreadPoolExecutor(8) as pool:
            alone = list(pool.map(lambda picture: client.infer(picture[np.newaxis]).scores[0], pictures))
            together = client.infer(pictures).scores
    expected = Session(done.path / "model.onnx").alone(pictures)
    np.testing.assert_allclose(np.stack(alone), expected, atol=1e-5)
    np.testing.assert_allclose(together, expected, atol=1e-5)


def test_models_of_every_kind_of_scores_are_asked_by_the_client(tmp_path: Path, runtime: Runtime) -> None:
    """Several labels, one channel and a single score, served together: the client says what an owner would."""
    models = {
        "labels": (owners_models.sigmoid_heads(), ("red", "green", "blue")),
        "gray": (owners_models.gray(), ("light", "dark")),
        "single": (owners_models.cat_or_dog(), ("cat", "dog")),
    }
    for name, (model, labels) in models.items():
        file = tmp_path / f"{name}.onnx"
        file.write_bytes(model.SerializeToString())
        wishes = Wishes(scale=1 / 127.5, mean=(1.0,), std=(1.0,), labels=labels)
        package(Source.onnx(file), model=name, repository=tmp_path / "models", wishes=wishes, progress=lambda _: None)
    yellow, white = (np.full((40, 50, 3), colour, np.uint8) for colour in ((255, 255, 0), (255, 255, 255)))
    with LocalTriton(tmp_path / "models", runtime=runtime) as server:
        found = {}
        for name, picture in (("labels", yellow), ("gray", white), ("single", yellow)):
            with ResNetClient(server.grpc_url, model=name) as client:
                found[name] = client.predict(picture, top_k=1)
                assert client.contract().scores == ("multi-label" if name == "labels" else "probabilities")
    assert [score.label for score in found["labels"].above(0.5)] == ["red", "green"]
    assert (found["gray"].label, found["single"].label) == ("light", "dog")
    assert found["single"].probability == pytest.approx(1 / (1 + np.exp(-8)), abs=1e-4)


@pytest.mark.timeout(400)
def test_what_the_linter_refuses_triton_refuses(tmp_path: Path, runtime: Runtime) -> None:
    """Each error of the configuration keeps the real server from loading the model; another one beside it is loaded."""
    for name, case in refused_configs.CASES.items():
        refused_configs.write(tmp_path, name, case)
    others = {case.replace(" ", "-"): public_configs.refused(case) for case in public_configs.REFUSED}
    for name, text in others.items():
        public_configs.write(tmp_path, text.replace('"other"', f'"{name}"'), name=name)
    tiny.write_model(tmp_path, "right")
    asked = LocalTriton(tmp_path, runtime=runtime, args=("--model-control-mode=explicit",))
    with asked as server, grpcclient.InferenceServerClient(server.grpc_url) as client:
        client.load_model("right")
        for name in (*refused_configs.CASES, *others):
            with pytest.raises(InferenceServerException):
                client.load_model(name)


def test_a_decoupled_model_answers_no_plain_request(tmp_path: Path, runtime: Runtime) -> None:
    """Triton loads it, and refuses what every client sends: the linter calls that an error."""
    policy = "model_transaction_policy { decoupled: true }"
    tiny.write_model(tmp_path, "decoupled", model=tiny.classifier(), extra=policy)
    assert [f.rule for f in lint(tmp_path) if f.severity == "error"] == ["decoupled"]
    with (
        LocalTriton(tmp_path, runtime=runtime) as server,
        ResNetClient(server.grpc_url, model="decoupled") as client,
        pytest.raises(TritonError, match="decoupled"),
    ):
        client.infer(np.zeros((1, 8, 8, 3), np.uint8))
