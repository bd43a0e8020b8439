"""What all contenders share: the task, the loop that runs it, the preprocessing that tutorials show.

Standard library, numpy and Pillow only, for the peers' environments hold no more. A contender is a process that is kept
through a whole workload: it reads a line with a number of images, classifies as many, and answers with a line of JSON.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Seconds that each request took; empty where requests cannot be told apart from outside.
Latencies = list[float]
Run = Callable[[int], Latencies]

INPUT, OUTPUT, SIDE, RESIZE = "image", "scores", 224, 256
MEAN = np.array((0.485, 0.456, 0.406), np.float32)
STD = np.array((0.229, 0.224, 0.225), np.float32)


@dataclass(frozen=True, kw_only=True)
class Task:
    """What to do, the same for all contenders of a workload but for the last four.

    Attributes:
        grpc: The server's gRPC address, HOST:PORT.
        http: Its HTTP address, likewise.
        model: The model's name; its FP32 and its UINT8 form differ in it.
        dtype: ``"FP32"`` (n, 3, 224, 224), normalised, or ``"UINT8"`` (n, 224, 224, 3).
        input: Name of the image tensor.
        output: Name of the scores.
        onnx: File of the model, for who runs it without a server.
        pictures: JPEG files, asked for in turn.
        folder: For files of its own; it goes with the contender.
        prepared: Send tensors that were made beforehand.
        batch: Images in a request.
        threads: Requests under way at once, or threads that make them.
        decode: How exactly our own client decodes.
        way: Which of its calls a contender uses, where it has several.
    """

    grpc: str
    http: str
    model: str
    dtype: str
    input: str
    output: str
    onnx: str
    pictures: tuple[str, ...]
    folder: str
    prepared: bool = False
    batch: int = 1
    threads: int = 1
    decode: str = "exact"
    way: str = ""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one image."""
        return (3, SIDE, SIDE) if self.dtype == "FP32" else (SIDE, SIDE, 3)

    def chosen(self, images: int) -> list[str]:
        """Return as many files, the same ones again when they run out."""
        return [self.pictures[i % len(self.pictures)] for i in range(images)]

    def chunks(self, images: int) -> Iterator[list[str]]:
        """Yield files for each request."""
        paths = self.chosen(images)
        for start in range(0, images, self.batch):
            yield paths[start : start + self.batch]

    def tensor(self, paths: list[str]) -> NDArray[Any]:
        """Make the tensor of one request as tutorials do, or take the one made beforehand."""
        if self.prepared:
            return _ready(self)[: len(paths)]
        return np.stack([preprocess(path, self.dtype) for path in paths])


def preprocess(path: str, dtype: str) -> NDArray[Any]:
    """Do what the model's own page says: resize, crop, normalise, turn."""
    image = Image.open(path).convert("RGB")
    scale = RESIZE / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
    left, top = (image.width - SIDE) // 2, (image.height - SIDE) // 2
    pixels = np.asarray(image.crop((left, top, left + SIDE, top + SIDE)))
    if dtype == "UINT8":
        return pixels
    return ((pixels.astype(np.float32) / 255 - MEAN) / STD).transpose(2, 0, 1)


def each(task: Task, ask: Callable[[NDArray[Any]], object]) -> Run:
    """Run requests one after another, or in as many threads as the task says; *ask* sends a tensor and waits."""
    pool = ThreadPoolExecutor(task.threads)

    def one(paths: list[str]) -> float:
        begin = time.perf_counter()
        ask(task.tensor(paths))
        return time.perf_counter() - begin

    def run(images: int) -> Latencies:
        if task.threads == 1:
            return [one(paths) for paths in task.chunks(images)]
        return list(pool.map(one, task.chunks(images)))

    return run


def serve(make: Callable[[Task], Run]) -> None:
    """Make the contender of the task in argv, and run it for each line that comes in."""
    given = json.loads(sys.argv[1])
    run = make(Task(**given | {"pictures": tuple(given["pictures"])}))
    for line in sys.stdin:
        images = int(line)
        begin, cpu = time.perf_counter(), time.process_time()
        latencies = run(images)
        seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
        answer = {"images": images, "seconds": seconds, "cpu": cpu, "latencies": latencies}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    # Connections end with the process; some peers' own threads would keep it for seconds.
    os._exit(0)


_made: dict[tuple[str, int], NDArray[Any]] = {}


def _ready(task: Task) -> NDArray[Any]:
    key = (task.dtype, task.batch)
    if key not in _made:
        pixels = np.random.default_rng(0).integers(0, 256, (task.batch, *task.shape))
        _made[key] = np.ascontiguousarray(pixels.astype(np.float32 if task.dtype == "FP32" else np.uint8))
    return _made[key]
