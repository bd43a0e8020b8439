"""pytriton's clients: ModelClient in a loop or in threads, or FuturesModelClient (way "futures")."""

import itertools
import threading
from typing import Any

from numpy.typing import NDArray
from pytriton.client import FuturesModelClient, ModelClient

from benchmarks.contenders.harness import Latencies, Run, Task, each, serve


def make(task: Task) -> Run:
    """Use its HTTP protocol, the faster one for it, but where the way says gRPC."""
    scheme, address = ("grpc", task.grpc) if task.way == "grpc" else ("http", task.http)
    url = f"{scheme}://{address}"
    if task.way == "futures":
        return _futures(task, url)
    mine = threading.local()

    def ask(batch: NDArray[Any]) -> object:
        # Its client is for one thread.
        if not hasattr(mine, "client"):
            mine.client = ModelClient(url, task.model)
        return int(mine.client.infer_batch(**{task.input: batch})[task.output][0].argmax())

    return each(task, ask)


def _futures(task: Task, url: str) -> Run:
    client = FuturesModelClient(url, task.model, max_workers=task.threads)

    def run(images: int) -> Latencies:
        requests = task.chunks(images)
        waiting: list[Any] = []
        for paths in itertools.chain(requests):
            waiting.append(client.infer_batch(**{task.input: task.tensor(paths)}))
            if len(waiting) > 2 * task.threads:
                waiting.pop(0).result()[task.output][0].argmax()
        for future in waiting:
            future.result()[task.output][0].argmax()
        return []

    return run


if __name__ == "__main__":
    serve(make)
