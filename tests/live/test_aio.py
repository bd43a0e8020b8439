"""The async client against a real Triton."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.doubles.pictures import jpeg
from triton_sdk import AsyncResNetClient, Coalesce, ImageLike, InvalidImageError, Prediction, ResNetClient
from triton_sdk.local import LocalTriton

pytestmark = pytest.mark.timeout(120)


def run(served: LocalTriton, body: Callable[[AsyncResNetClient], Coroutine[Any, Any, Any]], **settings: Any) -> Any:
    """Run *body* with a client of the model with two versions."""

    async def main() -> Any:
        async with AsyncResNetClient(served.grpc_url, model="mobilenetv2", **settings) as client:
            await client.wait_ready()
            return await body(client)

    return asyncio.run(main())


@pytest.mark.parametrize("coalesce", [None, Coalesce(max_batch=8, max_wait_s=0.01)])
def test_both_clients_say_the_same(served: LocalTriton, coalesce: Coalesce | None) -> None:
    """Alone, at once, in a list and in a stream: each image has the label that the other client finds."""
    photos: list[ImageLike] = [jpeg(300, 260, seed=seed) for seed in range(12)]
    with ResNetClient(served.grpc_url, model="mobilenetv2") as client:
        expected = [client.predict(photo, version=1) for photo in photos]

    async def body(client: AsyncResNetClient) -> None:
        at_once = await asyncio.gather(*(client.predict(photo, version=1) for photo in photos))
        together = await client.predict_many(photos, version=1, batch_size=4)
        stream: dict[int, Any] = {}
        async for place, result in client.predict_stream(photos, version=1, batch_size=4):
            stream[place] = result
        for found in (at_once, together, [stream[place] for place in range(len(photos))]):
            assert [(one.label, one.model_version) for one in found] == [(one.label, 1) for one in expected]
            for one, other in zip(found, expected, strict=True):
                assert one.probability == pytest.approx(other.probability, abs=1e-4)

    run(served, body, coalesce=coalesce)


def test_a_stream_goes_on_behind_what_is_no_image(served: LocalTriton) -> None:
    """Bad items are told in their places, and the rest is predicted."""

    async def body(client: AsyncResNetClient) -> dict[int, object]:
        images = [b"no image" if place % 5 == 3 else jpeg(300, 300, seed=place) for place in range(20)]
        return {place: result async for place, result in client.predict_stream(images, batch_size=4)}

    found = run(served, body)
    assert sorted(found) == list(range(20))
    assert [place for place in range(20) if isinstance(found[place], InvalidImageError)] == [3, 8, 13, 18]
    assert sum(isinstance(result, Prediction) for result in found.values()) == 16


def test_both_clients_stream_the_same(served: LocalTriton) -> None:
    """The stream of threads gives what the list gives."""
    photos = [jpeg(300, 260, seed=seed) for seed in range(20)]
    with ResNetClient(served.grpc_url, model="mobilenetv2") as client:
        stream = dict(client.predict_stream(iter(photos), batch_size=3))
        many = client.predict_many(photos, batch_size=3)
    labels = [result.label for place in range(20) if isinstance(result := stream[place], Prediction)]
    assert labels == [one.label for one in many]
