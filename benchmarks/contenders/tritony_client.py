"""tritony's client, by gRPC."""

import threading
from typing import Any

from numpy.typing import NDArray
from tritony import InferenceClient

from benchmarks.contenders.harness import Run, Task, each, serve


def make(task: Task) -> Run:
    """Make one client for each thread, since it says nothing of sharing one."""
    mine = threading.local()

    def ask(batch: NDArray[Any]) -> object:
        if not hasattr(mine, "client"):
            mine.client = InferenceClient.create_with(task.model, task.grpc, input_dims=3, protocol="grpc")
        return mine.client(batch)

    return each(task, ask)


if __name__ == "__main__":
    serve(make)
