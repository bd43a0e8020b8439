"""The client against a real Triton."""

import io
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from scripts.graph.session import Session
from scripts.repository import golden
from scripts.sources import seeded
from tests.doubles.pictures import jpeg
from triton_sdk import (
    ImageLike,
    InvalidImageError,
    InvalidRequestError,
    ModelNotFoundError,
    ResNetClient,
    RetryPolicy,
    ServerUnavailableError,
)
from triton_sdk.contract import IMAGENET_MEAN, IMAGENET_STD
from triton_sdk.local import LocalTriton, Runtime

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def client(served: LocalTriton) -> ResNetClient:
    """Return a client of the model with two versions."""
    return ResNetClient(served.grpc_url, model="mobilenetv2")


def reference(seed: int, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the probabilities that onnxruntime gives for the original graph on reference preprocessing."""
    normalised = (pixels / np.float32(255) - np.array(IMAGENET_MEAN, np.float32)) / np.array(IMAGENET_STD, np.float32)
    model = seeded.build("mobilenetv2", seed=seed, progress=lambda _: None)
    logits = Session(model).scores(normalised.transpose(0, 3, 1, 2))
    exponentials: NDArray[np.float32] = np.exp(logits - logits.max(axis=1, keepdims=True))
    exponentials /= exponentials.sum(axis=1, keepdims=True)
    return exponentials


def test_two_versions_give_different_and_correct_numbers(client: ResNetClient) -> None:
    """Each version answers as onnxruntime does for its own original weights, within 1e-4."""
    pixels = golden.images(3, height=224, width=224)
    first, second = (client.infer(pixels, version=version).scores for version in (1, 2))
    np.testing.assert_allclose(first, reference(1, pixels), atol=1e-4)
    np.testing.assert_allclose(second, reference(2, pixels), atol=1e-4)
    assert np.abs(first - second).max() > 0.1


def test_the_highest_version_answers_unless_one_is_named(client: ResNetClient) -> None:
    """The prediction names the version that the server used."""
    photo = jpeg(500, 375, seed=1)
    assert client.predict(photo).model_version == 2
    assert client.predict(photo, version=1).model_version == 1
    assert client.versions() == (1, 2)


def test_every_kind_of_image_gives_the_same_prediction(client: ResNetClient, tmp_path: Path) -> None:
    """A path, bytes, an open file, a PIL image and an array of one photograph are one and the same."""
    content = jpeg(500, 375, seed=2)
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with path.open("rb") as file:
        picture = Image.open(io.BytesIO(content))
        forms: list[ImageLike] = [path, str(path), content, io.BytesIO(content), file, picture, np.asarray(picture)]
        assert len({client.predict(form) for form in forms}) == 1


def test_a_model_that_takes_fp32_gives_the_same_answer(served: LocalTriton, client: ResNetClient) -> None:
    """Normalising in the client or in the graph makes no difference above 1e-4."""
    photo = jpeg(640, 480, seed=3)
    with ResNetClient(served.grpc_url, model="mobilenetv2-fp32") as other:
        assert other.contract().input.dtype == "FP32"
        theirs = other.predict(photo)
    ours = client.predict(photo, version=1)
    assert theirs.label == ours.label
    assert theirs.probability == pytest.approx(ours.probability, abs=1e-4)


def test_many_images_are_split_at_the_largest_batch_and_keep_their_order(client: ResNetClient) -> None:
    """Twenty images to a model that takes eight at a time come back in their order."""
    photos = [jpeg(300, 260, seed=seed) for seed in range(20)]
    together = client.predict_many(photos, batch_size=50)
    alone = [client.predict(photo) for photo in photos]
    assert [p.label for p in together] == [p.label for p in alone]
    assert len({p.label for p in together}) > 10


def test_an_oversized_batch_is_split(client: ResNetClient) -> None:
    """infer takes more images than the model does, and gives a row for each."""
    pixels = golden.images(19, height=224, width=224)
    answer = client.infer(pixels)
    assert answer.scores.shape == (19, 1000)
    np.testing.assert_allclose(answer.scores[18:], client.infer(pixels[18:]).scores, atol=1e-5)


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((1, 224, 224, 3), np.float32),
        np.zeros((1, 3, 224, 224), np.uint8),
        np.zeros((224, 224, 3), np.uint8),
        np.zeros((0, 224, 224, 3), np.uint8),
    ],
    ids=["dtype", "layout", "no batch axis", "empty"],
)
def test_a_tensor_that_does_not_fit_is_refused(client: ResNetClient, batch: NDArray[np.generic]) -> None:
    """Each mistake is one typed error that says what was expected."""
    with pytest.raises(InvalidRequestError, match="224"):
        client.infer(batch)


def test_an_unknown_version_is_refused_with_those_that_are_ready(client: ResNetClient) -> None:
    """The message names versions 1 and 2."""
    with pytest.raises(ModelNotFoundError, match=r"1.*2"):
        client.predict(jpeg(300, 300, seed=1), version=7)


def test_an_unknown_model_is_refused_with_those_that_are_ready(served: LocalTriton) -> None:
    """The message names the models that the server has."""
    with (
        ResNetClient(served.grpc_url, model="resnet51") as client,
        pytest.raises(ModelNotFoundError, match="mobilenetv2"),
    ):
        client.predict(jpeg(300, 300, seed=1))


def test_what_is_no_image_never_reaches_the_server(client: ResNetClient) -> None:
    """The error names the item of the list."""
    with pytest.raises(InvalidImageError, match="1"):
        client.predict_many([jpeg(300, 300, seed=1), b"no image"])


def test_a_killed_server_is_a_typed_error_and_the_client_recovers(packaged: Path, runtime: Runtime) -> None:
    """After kill -9 the next call fails at once and in kind; when the server is back, the same client works."""
    photo = jpeg(300, 300, seed=1)
    with LocalTriton(packaged, runtime=runtime) as server:
        port = int(server.grpc_url.rpartition(":")[2])
        client = ResNetClient(server.grpc_url, model="mobilenetv2", retry=RetryPolicy(max_attempts=1))
        before = client.predict(photo)
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(ServerUnavailableError):
            client.predict(photo, timeout=30)
    with LocalTriton(packaged, grpc_port=port, runtime=runtime), client:
        client.wait_ready(timeout=30)
        assert client.predict(photo) == before
