"""The public API as users write it; nothing runs, mypy checks it."""

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Unpack

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from triton_sdk import (
    AsyncResNetClient,
    ClassScore,
    ClientConfig,
    ClientSettings,
    Coalesce,
    DeadlineExceededError,
    Fallback,
    ImageLike,
    Inference,
    InvalidImageError,
    ModelContract,
    Prediction,
    ResNetClient,
    RetryPolicy,
    ServerUnavailableError,
    Shadow,
    ShadowReport,
    Split,
    Tls,
    TritonError,
    Version,
)
from triton_sdk.transport import AsyncTransport, Failure, Reply, Send, Transport


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
        assert up or client.ready(version=2, timeout=0.5)
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


def agreement(found: ShadowReport) -> float | None:
    """Read a report; what a report function returns does not matter."""
    if found.error is not None:
        failed: TritonError = found.error
        raise failed
    same: bool | None = found.same_top1
    pair: tuple[Prediction, Prediction | None] = (found.primary, found.candidate)
    slower: float = found.candidate_latency_s - found.primary_latency_s
    return found.largest_difference if same or all(pair) else slower


def versions(client: ResNetClient) -> list[Prediction]:
    """Say in every way which version to ask."""
    split = Split({1: 90, 2: 10})
    weights: dict[int, float] = {1: 0.9, 2: 0.1}
    chosen: int = Split(weights).choose("user-7")
    shadow = Shadow(1, 2, 0.1, agreement)
    mirrored: bool = shadow.mirrors(b"user-7")
    assert mirrored
    ways: list[Version] = [
        None,
        chosen,
        split,
        Fallback(2, 1),
        Fallback(split, None),
        shadow,
        Shadow(primary=Fallback(split, 1), candidate=3, fraction=0.5, report=print, timeout=0.5),
        Shadow(None, 2, 1, lambda found: found.key),
    ]
    many = client.predict_many(["cat.jpg"], version=split, key=7)
    return many + [client.predict("cat.jpg", version=version, key="user-7") for version in ways]


def stream(client: ResNetClient) -> list[int]:
    """Walk over results as they come."""
    places = []
    for place, result in client.predict_stream(images(), version=2, key="user-7", batch_size=8, in_flight=2, timeout=5):
        if isinstance(result, Prediction):
            places.append(place)
        else:
            failed: TritonError = result
            assert failed
    many: list[Prediction] = client.predict_many(images(), version=2, key=7, in_flight=1)
    one: Prediction = client.predict("cat.jpg", key=b"user-7")
    assert one in many
    return places


async def more() -> AsyncIterator[ImageLike]:
    """Yield images."""
    for one in images():
        yield one


async def awaited() -> list[Prediction]:
    """Ask in every way from an event loop."""
    urls = ["triton-0:8001", "triton-1:8001"]
    async with AsyncResNetClient(urls, coalesce=Coalesce(max_batch=16, max_wait_s=0.005)) as client:
        await client.wait_ready(timeout=5)
        up: bool = await client.ready(version=2)
        versions: tuple[int, ...] = await client.versions()
        contract: ModelContract = await client.contract()
        answer: Inference = await client.infer(np.zeros((2, *contract.input.shape), np.uint8), version=versions[-1])
        one: Prediction = await client.predict("cat.jpg", version=2, key="user-7", top_k=3, timeout=0.5)
        many: list[Prediction] = await client.predict_many(more(), batch_size=16, in_flight=4)
        many += await client.predict_many(images())
        async for _place, result in client.predict_stream(more(), in_flight=2):
            if isinstance(result, Prediction):
                many.append(result)
            else:
                failed: TritonError = result
                raise failed
        assert up
        assert len(answer.scores)
    client = AsyncResNetClient.from_env({"TRITON_GRPC_URL": "a:1,b:1"})
    client = AsyncResNetClient.from_config(ClientConfig(url="a:1"), coalesce=Coalesce())
    await client.close()
    return [one, *many]


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
    except TritonError as error:
        whom: tuple[str | None, str | None, int | None] = (error.target, error.model, error.version)
        attempts: int = error.attempts
        code: str | None = error.code
        return None if attempts else client.predict(b"...", version=whom[2] if code else None)


class Nowhere:
    """A way to a server that is not there."""

    def send(self, request: Send) -> Reply:
        """Fail."""
        return Failure("UNAVAILABLE", f"{request.method} goes nowhere")

    def close(self) -> None:
        """Do nothing."""


def passed_on(url: str, **settings: Unpack[ClientSettings]) -> ResNetClient:
    """Make a client with a transport of one's own, and whatever settings the caller has."""
    both: tuple[Transport, AsyncTransport] = (Nowhere(), Nowhere())
    AsyncResNetClient(url, transport=both[1], **settings)
    return ResNetClient(url, transport=both[0], **settings)
