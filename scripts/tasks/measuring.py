"""What is measured on this machine."""

from pathlib import Path

from invoke import Context, task

from scripts.host.errors import TaskFailure
from scripts.tasks.flags import REPOSITORY


@task(
    help={
        "model": "The packaged model.",
        "repository": "Folder with the packaged models.",
    }
)
def tune_gpu(c: Context, model: str = "", repository: str = REPOSITORY) -> None:
    """Time FP32 and FP16, NCHW and NHWC, and 1 to 4 instances on this machine's GPU, and keep what is fastest.

    What is fastest goes into the model's configs/gpu.pbtxt, with the figures as comments. If the gain is within the
    noise, nothing is changed.
    """
    from scripts.host.terminal import reporting, say, step, table
    from scripts.repository.versions import packaged
    from scripts.tuning import trial, written
    from scripts.tuning.choose import choose
    from triton_sdk.errors import LocalServerError
    from triton_sdk.local import find_driver

    with reporting():
        versions = [version for version in packaged(Path(repository)) if version.model == model]
        if not versions:
            raise TaskFailure(
                f"Which model? --model takes one that is packaged in {repository}"
                f"{f', and {model} is not' if model else ''}: `invoke package-model` packages one."
            )
        try:
            driver = find_driver()
        except LocalServerError as error:
            raise TaskFailure(f"invoke tune-gpu measures on a GPU, and none can be used here. {error}") from error
        used = written.used(versions[-1])
        step(f"Measuring on {driver.name}; in use: {used}")
        measured = trial.measure_all(versions[-1], used=used, kind="KIND_GPU", length=trial.Length(), progress=step)
        figures = [(one.candidate, [*one.medians.values(), one.score]) for one in measured]
        rows = [(str(candidate), *(f"{rate:,.0f}" for rate in rates)) for candidate, rates in figures]
        heads = ("", *(f"{callers} callers" for callers in trial.Length().callers), "mean")
        table(f"{model}: images/s on {driver.name}", heads, rows)
        # A version never changes, and its precision stands in its graph.
        same = [one for one in measured if one.candidate.precision == used.precision]
        choice, overall = choose(same, used=used), choose(measured, used=used)
        path = versions[-1].path.parent / written.CONFIG
        if choice.changes:
            written.write(path, choice, measured, gpu=driver.name)
            say(f"{path}: {choice.best.candidate}, {choice.gain:.0%} more images/s than {used}.")
        else:
            say(f"{used} stays: nothing in {used.precision.upper()} is faster by more than {choice.noise:.0%}.")
        if overall.best.candidate.precision != used.precision:
            best = overall.best.candidate
            say(
                f"{best} is faster by {overall.gain:.0%}. A version's precision stands in its graph: package a version "
                f"with --gpu-precision {best.precision}, then run this again."
            )
