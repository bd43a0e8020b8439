"""NVIDIA's client by gRPC: a loop, or threads."""

from typing import Any

import numpy as np
import tritonclient.grpc as triton
from numpy.typing import NDArray

from benchmarks.contenders.harness import Run, Task, each, serve


def make(task: Task) -> Run:
    """Share one client between all threads, as its documentation allows."""
    client = triton.InferenceServerClient(task.grpc)

    def ask(batch: NDArray[Any]) -> object:
        tensor = triton.InferInput(task.input, list(batch.shape), task.dtype)
        tensor.set_data_from_numpy(np.ascontiguousarray(batch))
        reply = client.infer(task.model, [tensor], outputs=[triton.InferRequestedOutput(task.output)])
        return int(reply.as_numpy(task.output)[0].argmax())

    return each(task, ask)


if __name__ == "__main__":
    serve(make)
