"""The bare generated stub with a request that is built once: what gRPC itself allows in Python."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

from benchmarks.contenders.harness import Latencies, Run, Task, serve

OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


def make(task: Task) -> Run:
    """Send the same message again and again."""
    stub = service_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel(task.grpc, OPTIONS))
    batch = task.tensor(task.chosen(task.batch))
    message = service_pb2.ModelInferRequest(model_name=task.model)
    message.inputs.add(name=task.input, datatype=task.dtype, shape=batch.shape)
    message.outputs.add(name=task.output)
    message.raw_input_contents.append(batch.tobytes())
    pool = ThreadPoolExecutor(task.threads)

    def one(_paths: list[str]) -> object:
        reply = stub.ModelInfer(message, timeout=30)
        return np.frombuffer(reply.raw_output_contents[0], np.float32)[0]

    def run(images: int) -> Latencies:
        list(pool.map(one, task.chunks(images)))
        return []

    return run


if __name__ == "__main__":
    serve(make)
