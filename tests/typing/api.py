"""The public API as users write it; nothing runs, mypy checks it."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from triton_sdk import (
    ClassScore,
    ClientConfig,
    DeadlineExceededError,
    ImageLike,
    Inference,
    InvalidImageError,
    ModelContract,
    Prediction,
    ResNetClient,
    RetryPolicy,
    ServerUnavailableError,
    Tls,
    TritonError,
)


def make() -> list[ResNetClient]:
    """Make clients in every way."""
    policy = RetryPolicy(max_attempts=5, base=0.1, cap=2, budget=0.1, burst=20)
    tls = Tls(ca="ca.pem", certificate=Path("me.pem"), key=Path("me.key"), server_name="triton")
    config = ClientConfig(
        url="localhost:8001",
        model="resnet50",
        timeout=3,
        retry=policy,
        tls=tls,
        metadata=[("authorization", "Bearer x")],
    )
    return [
        ResNetClient("localhost:8001"),
        ResNetClient("localhost:8001", model="mobilenetv2", timeout=1.5, retry=policy, tls=tls, labels=["cat", "dog"]),
        ResNetClient("localhost:8001", metadata={"x-tenant": "blue"}.items()),
        ResNetClient.from_config(config),
        ResNetClient.from_config(ClientConfig.from_env(), labels=("cat", "dog")),
        ResNetClient.from_env(),
        ResNetClient.from_env({"TRITON_GRPC_URL": "localhost:8001"}),
    ]


def images() -> list[ImageLike]:
    """Every kind of image there is."""
    picture: Image.Image = Image.new("RGB", (9, 9))
    pixels: NDArray[np.uint8] = np.zeros((9, 9, 3), np.uint8)
    with Path("cat.jpg").open("rb") as file:
        return ["cat.jpg", Path("cat.jpg"), b"", bytearray(), memoryview(b""), io.BytesIO(), file, picture, pixels]


def predict(client: ResNetClient) -> tuple[str, float, int]:
    """Ask in every way."""
    with client:
        client.wait_ready()
        client.wait_ready(timeout=5, version=2)
        up: bool = client.ready()
        assert up or client.ready(2, timeout=0.5)
        prediction: Prediction = client.predict("cat.jpg", version=2, top_k=3, timeout=0.5)
        first: ClassScore = prediction.top[0]
        many: list[Prediction] = client.predict_many((path for path in Path().glob("*.jpg")), batch_size=16)
        many += client.predict_many(images(), timeout=60)
        contract: ModelContract = client.contract()
        versions: tuple[int, ...] = client.versions()
        answer: Inference = client.infer(np.zeros((2, *contract.input.shape), np.uint8), version=versions[-1])
        scores: NDArray[np.float32] = answer.scores
    assert len(scores) == len(many)
    return prediction.label, first.probability, prediction.model_version


def handle(client: ResNetClient) -> Prediction | None:
    """Catch by our names and by Python's own."""
    try:
        return client.predict(b"...")
    except InvalidImageError as error:
        refused: ValueError = error
        raise refused from None
    except ServerUnavailableError as error:
        lost: ConnectionError = error
        raise lost from None
    except DeadlineExceededError as error:
        late: TimeoutError = error
        raise late from None
    except TritonError:
        return None
