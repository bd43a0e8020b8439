"""tritony's client, by gRPC."""

from typing import Any

from numpy.typing import NDArray
from tritony import InferenceClient

from benchmarks.contenders.harness import Run, Task, each, serve


def make(task: Task) -> Run:
    """Make one client."""
    host, port = task.grpc.rsplit(":", 1)
    client = InferenceClient.create_with(task.model, f"{host}:{port}", input_dims=3, protocol="grpc")

    def ask(batch: NDArray[Any]) -> object:
        return client(batch)

    return each(task, ask)


if __name__ == "__main__":
    serve(make)
