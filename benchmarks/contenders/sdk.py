"""Our client: one image at a time ("predict"), lists with requests in flight ("many"), the same in asyncio ("aio")."""

import asyncio
import time
from typing import Literal

from benchmarks.contenders.harness import Latencies, Run, Task, each, serve
from triton_sdk import ResNetClient


def make(task: Task) -> Run:
    """Return the way that the task names."""
    if task.way == "aio":
        return _aio(task)
    client = ResNetClient(task.grpc, model=task.model, decode=_decode(task))
    if task.prepared:
        return each(task, client.infer)

    def predict(images: int) -> Latencies:
        latencies = []
        for path in task.chosen(images):
            begin = time.perf_counter()
            client.predict(path)
            latencies.append(time.perf_counter() - begin)
        return latencies

    def many(images: int) -> Latencies:
        client.predict_many(task.chosen(images), batch_size=task.batch, in_flight=task.threads)
        return []

    return many if task.way == "many" else predict


def _decode(task: Task) -> Literal["exact", "fast"]:
    return "fast" if task.decode == "fast" else "exact"


def _aio(task: Task) -> Run:
    from triton_sdk import AsyncResNetClient

    loop = asyncio.new_event_loop()

    async def connect() -> AsyncResNetClient:
        return AsyncResNetClient(task.grpc, model=task.model, decode=_decode(task))

    client = loop.run_until_complete(connect())

    def run(images: int) -> Latencies:
        loop.run_until_complete(client.predict_many(task.chosen(images), batch_size=task.batch, in_flight=task.threads))
        return []

    return run


if __name__ == "__main__":
    serve(make)
