"""A model that was trained on ImageNet, and photographs."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scripts.host.errors import TaskFailure
from scripts.packaging import package
from scripts.packaging.trial.judge import Trial
from scripts.repository.versions import packaged
from scripts.server.checks import check_server
from scripts.server.endpoint import Endpoint
from triton_sdk import ImageLike, ResNetClient
from triton_sdk.labels import imagenet
from triton_sdk.local import LocalTriton, Runtime

pytestmark = [pytest.mark.timeout(120), pytest.mark.data]

# What this model gives under the reference preprocessing.
EXPECTED = {
    "goldfish.jpg": ("goldfish", 0.999),
    "kimono.jpg": ("kimono", 0.999),
    "horse-cart.jpg": ("horse cart", 0.86),
    "wolves.jpg": ("white wolf", 0.97),
}
# The model is quantised dynamically: one level more or less in a thousandth of the pixels, which is what two ways to
# resize differ by, moves a probability by 0.01 to 0.05.
_SENSITIVE = 0.05


@pytest.fixture(scope="module")
def data() -> Path:
    """Return the folder with the model and the photographs."""
    folder = os.environ.get("TRITON_TEST_DATA")
    if not folder:
        pytest.skip("TRITON_TEST_DATA names no folder with a trained model and photographs")
    return Path(folder)


@pytest.fixture(scope="module")
def repository(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Package the trained model as a user's own file."""
    repository = tmp_path_factory.mktemp("real") / "model_repository"
    package.package(
        package.Source.onnx(data / "models" / "mobilenetv2-int8.onnx"),
        model="mobilenetv2",
        repository=repository,
        wishes=package.Wishes(labels=imagenet(), resize=256),
        # Quantised dynamically: what shares a batch moves a probability by 0.09.
        max_batch=1,
        progress=lambda _: None,
    )
    return repository


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({}, "Of 4 pictures 100% are right"),
        (
            {"scale": 1.0, "mean": (0.0,), "std": (1.0,)},
            "With ImageNet's mean and std: 100% right; as packaged: 0% right",
        ),
    ],
)
def test_its_photographs_prove_how_it_was_trained(
    wishes: dict[str, Any], words: str, data: Path, tmp_path: Path
) -> None:
    """Four photographs are enough: all right as it was trained, and none with bytes, where the right way is named."""
    listed = [f"{data / 'images' / name},{label}" for name, (label, _) in EXPECTED.items()]
    (tmp_path / "list.csv").write_text("\n".join(listed))
    shown: list[Trial] = []
    with contextlib.suppress(TaskFailure):
        package.package(
            package.Source.onnx(data / "models" / "mobilenetv2-int8.onnx"),
            model="mobilenetv2",
            repository=tmp_path / "models",
            max_batch=1,
            wishes=package.Wishes(labels=imagenet(), **wishes),
            images=package.Images(source=tmp_path / "list.csv"),
            tried=shown.append,
            progress=lambda _: None,
        )
    assert words in shown[0].refusal + shown[0].warning
    assert bool(shown[0].refusal) == bool(wishes) == (not (tmp_path / "models").exists())


@pytest.fixture(scope="module")
def server(repository: Path, runtime: Runtime) -> Iterator[LocalTriton]:
    """Serve it."""
    with LocalTriton(repository, runtime=runtime) as server:
        yield server


@pytest.mark.parametrize("name", EXPECTED)
def test_a_photograph_gets_its_label_in_every_form(name: str, data: Path, server: LocalTriton) -> None:
    """As path, bytes, PIL image and array, a photograph gets the label and the probability that are known for it."""
    path = data / "images" / name
    label, probability = EXPECTED[name]
    picture = Image.open(path)
    forms: list[ImageLike] = [path, path.read_bytes(), picture, np.asarray(picture.convert("RGB"))]
    with ResNetClient(server.grpc_url, model="mobilenetv2") as client:
        for form in forms:
            prediction = client.predict(form)
            assert prediction.label == label
            assert prediction.probability == pytest.approx(probability, abs=_SENSITIVE)


def test_the_smoke_test_knows_that_it_is_dynamically_quantised(repository: Path, server: LocalTriton) -> None:
    """Every check is green, golden data included; nothing is batched, since what shares a batch moves the numbers."""
    endpoint = Endpoint(http=server.http_url, grpc=server.grpc_url, metrics=server.metrics_url)
    rows = list(check_server(endpoint, repository=repository, complete=True))
    assert [(r.check, r.state) for r in rows if r.state != "ok"] == [("batching", "skipped")]
    manifest = packaged(repository)[0].manifest
    assert manifest is not None
    assert manifest.quantisation == "dynamic"
    assert manifest.measured.batching > 0.05
