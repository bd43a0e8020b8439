"""No server at all.

Decoding and resizing alone, as our client does it (way "decode") or by Pillow in as few steps ("pillow"); onnxruntime
in this process ("onnxruntime").
"""

import os
from concurrent.futures import ThreadPoolExecutor

# onnxruntime would otherwise report to its makers.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

from PIL import Image

from benchmarks.contenders.harness import RESIZE, SIDE, Latencies, Run, Task, serve
from triton_sdk.images import to_pixels


def make(task: Task) -> Run:
    """Return the floor that the way names."""
    return _onnxruntime(task) if task.way == "onnxruntime" else _decode(task)


def _decode(task: Task) -> Run:
    pool = ThreadPoolExecutor(task.threads)

    def one(path: str) -> None:
        to_pixels(path, resize=RESIZE, height=SIDE, width=SIDE, decode="fast" if task.decode == "fast" else "exact")

    def by_pillow(path: str) -> None:
        with Image.open(path) as picture:
            x, y = (side / 2 for side in picture.size)
            reach = min(picture.size) / RESIZE * SIDE / 2
            box = (x - reach, y - reach, x + reach, y + reach)
            resized = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=box)
        resized.tobytes()

    def run(images: int) -> Latencies:
        list(pool.map(by_pillow if task.way == "pillow" else one, task.chosen(images)))
        return []

    return run


def _onnxruntime(task: Task) -> Run:
    import onnxruntime  # only here: it takes a second

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = task.threads
    session = onnxruntime.InferenceSession(task.onnx, options, providers=["CPUExecutionProvider"])
    batch = task.tensor(task.chosen(task.batch))
    name = session.get_inputs()[0].name

    def run(images: int) -> Latencies:
        for paths in task.chunks(images):
            session.run(None, {name: batch[: len(paths)]})
        return []

    return run


if __name__ == "__main__":
    serve(make)
