"""NVIDIA's client by gRPC and asyncio, with so many requests in flight; images are decoded in threads."""

import asyncio
import time
from typing import Any

import numpy as np
import tritonclient.grpc.aio as triton

from benchmarks.contenders.harness import Latencies, Run, Task, serve


def make(task: Task) -> Run:
    """Keep one loop and one client."""
    loop = asyncio.new_event_loop()

    async def connect() -> Any:
        return triton.InferenceServerClient(task.grpc)

    client = loop.run_until_complete(connect())

    async def one(paths: list[str]) -> float:
        begin = time.perf_counter()
        batch = task.tensor(paths) if task.prepared else await asyncio.to_thread(task.tensor, paths)
        tensor = triton.InferInput(task.input, list(batch.shape), task.dtype)
        tensor.set_data_from_numpy(np.ascontiguousarray(batch))
        reply = await client.infer(task.model, [tensor], outputs=[triton.InferRequestedOutput(task.output)])
        reply.as_numpy(task.output)[0].argmax()
        return time.perf_counter() - begin

    async def all_of(images: int) -> Latencies:
        requests, latencies = task.chunks(images), []

        async def worker() -> None:
            for paths in requests:
                latencies.append(await one(paths))

        await asyncio.gather(*(worker() for _ in range(task.threads)))
        return latencies

    return lambda images: loop.run_until_complete(all_of(images))


if __name__ == "__main__":
    serve(make)
