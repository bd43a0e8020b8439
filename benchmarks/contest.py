"""Run the contenders of a workload: tune each group, then measure the best of each in interleaved rounds."""

import functools
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import attrs

from benchmarks.figures import Round, rates
from benchmarks.workloads import Variant, Workload

ROOT: Final = Path(__file__).parent.parent
# The machine itself differs by as much from one second to the next.
NEAR: Final = 0.9
FINAL_ROUNDS: Final = 3
Progress = Callable[[str], None]
# Images per second, and who did them.
_Way = tuple[float, Variant]


class Failed(Exception):  # noqa: N818 - it stands for a result
    """A contender ended; the text is the last line that it wrote."""


class Contender:
    """A running contender; a context manager."""

    def __init__(self, python: Path, program: str, task: Mapping[str, Any]) -> None:
        # It is killed at its end, and cannot remove what it made.
        self._folder = tempfile.TemporaryDirectory(prefix="triton-bench-contender-")
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [str(python), "-m", f"benchmarks.contenders.{program}", json.dumps({**task, "folder": self._folder.name})],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def run(self, images: int) -> Round:
        """Have it classify so many images.

        Raises:
            Failed: If it ended instead.
        """
        try:
            stdin, stdout = self._process.stdin, self._process.stdout
            assert stdin is not None
            assert stdout is not None
            stdin.write(f"{images}\n")
            stdin.flush()
            while line := stdout.readline():
                # A peer's library may write to stdout too.
                if line.startswith("{"):
                    return Round.from_line(json.loads(line))
        except BrokenPipeError:
            pass
        self._process.wait()
        self._log.seek(0)
        raise Failed(" ".join(self._log.read().decode(errors="replace").strip().splitlines()[-1:]) or "no answer")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()
        self._folder.cleanup()


@attrs.frozen(kw_only=True)
class Result:
    """What the best variant of a group did."""

    variant: Variant
    rounds: tuple[Round, ...]


@attrs.frozen(kw_only=True)
class Length:
    """How long to measure.

    Attributes:
        rounds: Interleaved rounds.
        seconds: How long a contender runs in each, for a workload of length 1.
        tuning: How long a variant runs, twice, to show what it can, likewise, and again in each of FINAL_ROUNDS if it
            is nearly as fast as the fastest of its group; 0 takes the first of each group instead.
    """

    rounds: int
    seconds: float
    tuning: float


def contest(
    workload: Workload,
    *,
    task: Mapping[str, Any],
    pythons: Mapping[str, Path],
    length: Length,
    progress: Progress,
) -> dict[str, Result]:
    """Return what the best of each group did; who cannot run is named to *progress* and left out.

    Args:
        workload: What to run.
        task: What is the same for all: addresses and pictures.
        pythons: The interpreter of each peer's environment; those that are missing do not take part.
        length: How long.
        progress: Called with a line for each stage.
    """
    start = functools.partial(_start, workload=workload, task=task, pythons=pythons)
    tried: dict[str, list[_Way]] = {}
    for variant in workload.variants:
        if variant.environment is not None and variant.environment not in pythons:
            continue
        if not length.tuning and variant.group in tried:
            continue
        try:
            with start(variant) as contender:
                rate = contender.run(variant.share).rate
                images = variant.images(rate * length.tuning * workload.seconds)
                # The better of two: one slow moment of the machine must not decide how somebody takes part.
                rate = max(contender.run(images).rate for _ in range(2))
        except Failed as failure:
            progress(f"  {variant.group} ({variant.label}) cannot run: {failure}")
            continue
        progress(f"  {variant.group} ({variant.label}): {rate:.0f} images/s")
        tried.setdefault(variant.group, []).append((rate, variant))
    best = []
    for ways in tried.values():
        near = _nearly_fastest(ways)
        if len(near) > 1:
            progress(f"  {near[0][1].group}: {len(near)} ways are nearly as fast as the fastest")
            seconds = length.tuning * workload.seconds
            final = _in_turns(near, start, rounds=FINAL_ROUNDS, seconds=seconds, progress=progress)
            near = [(rates(result.rounds).median, result.variant) for result in final] or near
        best.append(max(near, key=lambda way: way[0]))
    seconds = length.seconds * workload.seconds
    results = _in_turns(best, start, rounds=length.rounds, seconds=seconds, progress=progress)
    return {result.variant.group: result for result in results}


def _nearly_fastest(ways: Sequence[_Way]) -> list[_Way]:
    """Return those whose rate is so near to the greatest that chance decides between them."""
    fastest = max(rate for rate, _ in ways)
    return [way for way in ways if way[0] >= NEAR * fastest]


def _in_turns(
    ways: Sequence[_Way], start: Callable[[Variant], Contender], *, rounds: int, seconds: float, progress: Progress
) -> list[Result]:
    """Return what each did that came through all rounds, of about so many seconds; who fails is named and left out."""
    with ExitStack() as stack:
        running = [
            (stack.enter_context(start(variant)), variant, variant.images(rate * seconds)) for rate, variant in ways
        ]
        done: dict[Contender, list[Round]] = {contender: [] for contender, _, _ in running}
        # Number 0 warms up, and does not count.
        for number in range(rounds + 1):
            progress(f"  round {number} of {rounds}")
            # Every other round backwards, so that nobody always comes after the same one.
            for contender, variant, images in running if number % 2 else running[::-1]:
                if contender not in done:
                    continue
                try:
                    made = contender.run(images if number else variant.share)
                except Failed as failure:
                    progress(f"  {variant.group} ({variant.label}) failed and is left out: {failure}")
                    del done[contender]
                    continue
                if number:
                    done[contender].append(made)
    return [Result(variant=variant, rounds=tuple(done[who])) for who, variant, _ in running if who in done]


def _start(variant: Variant, *, workload: Workload, task: Mapping[str, Any], pythons: Mapping[str, Path]) -> Contender:
    model = variant.model
    own = {"model": model.name, "dtype": model.dtype, "input": model.input, "output": model.output}
    python = Path(sys.executable) if variant.environment is None else pythons[variant.environment]
    full = {**task, **own, "onnx": str(model.onnx), **workload.common, **variant.settings}
    return Contender(python, variant.program, full)


def best_peer(results: Mapping[str, Result], dtype: str) -> str | None:
    """Return the group of the fastest peer whose model takes *dtype*, if there is one."""
    peers: Iterable[str] = (
        group for group, result in results.items() if result.variant.peer and result.variant.model.dtype == dtype
    )
    return max(peers, key=lambda group: rates(results[group].rounds).median, default=None)
