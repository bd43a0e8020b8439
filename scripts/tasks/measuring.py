"""What is measured: on this machine, and of two versions wherever they are served."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from invoke import Context

from scripts.host.errors import TaskFailure
from scripts.tasks import flags
from scripts.tasks.calling import task
from scripts.tasks.flags import REPOSITORY, WHERE, number, share
from scripts.tasks.reaching import reached

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from scripts.compare.comparison import Comparison
    from scripts.compare.run import Wanted

    # Where the server listens for gRPC, what it is, what has to be known of the way to it, and what names the bytes of
    # versions, where that is known.
    Answering = tuple[str, str, Sequence[str], Mapping[int, str]]

THROUGH_A_FORWARD = (
    "The pod was asked through a port-forward, which takes time of its own: latencies and throughput are those of this "
    "way, not of the server."
)


@task(
    help={
        "model": "Name of the packaged model.",
        "repository": "Folder with the packaged models (default: model_repository).",
    }
)
def tune_gpu(c: Context, model: str = "", repository: str = REPOSITORY) -> None:
    """Time FP32 and FP16, NCHW and NHWC, and 1 to 4 instances on this machine's GPU, and keep what is fastest.

    The task writes the fastest setting into the model's configs/gpu.pbtxt, with the figures as comments. If the gain is
    within the noise, the task changes nothing.
    """
    from scripts.host.terminal import reporting, say, step, table
    from scripts.repository.versions import packaged
    from scripts.tuning import trial, written
    from scripts.tuning.choose import choose
    from triton_sdk.errors import LocalServerError
    from triton_sdk.local import find_driver

    with reporting():
        versions = [version for version in packaged(flags.path(repository)) if version.model == model]
        if not versions:
            raise TaskFailure(
                f"Which model? --model takes one that is packaged in {flags.path(repository)}"
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


@task(
    help={
        "model": "The model's name.",
        "baseline": "The version with which the candidate is compared.",
        "candidate": "The other version: one of the model, or the version that is served as the model's candidate.",
        "images": "Your pictures: a folder, a folder of folders named by class, or a .csv list with classes.",
        "labels": "If the server does not know the names of the classes: a file with one on each line.",
        "local": "Start a server on this machine for the two versions, and stop it afterwards.",
        "gpu": "With --local: start the server on the NVIDIA GPUs of this machine.",
        "url": "Ask a running server: HOST or HOST:HTTP_PORT (default: TRITON_URL, port 8000).",
        "repository": "With --local: folder with the packaged models (default: model_repository).",
        "max_disagreement": "Fail if a larger share of the pictures gets another answer, for example 0.02.",
        "max_loss": "Fail if the accuracy is smaller by more than this; 0.01 is one point.",
        "callers": "Callers at once for the throughput, which loads the server (default: 8); 0 leaves it out.",
        "report": "File for the HTML report (default: build/compare/MODEL-BASELINE-CANDIDATE.html).",
        "json": "Print everything as JSON instead of tables, for scripts.",
        **WHERE,
    }
)
def compare(
    c: Context,
    model: str = "",
    baseline: str = "",
    candidate: str = "",
    images: str = "",
    labels: str = "",
    local: bool = False,
    gpu: bool = False,
    url: str = "",
    repository: str = REPOSITORY,
    max_disagreement: str = "",
    max_loss: str = "",
    callers: str = "8",
    report: str = "",
    json: bool = False,
    release: str = "",
    namespace: str = "",
    context: str = "",
) -> None:
    """Ask two versions about your pictures: how often they agree, which is right more often, and which is faster.

    If --max-disagreement or --max-loss is broken, the exit status is 1. If the pictures are too few to tell, it is 3.
    If you give neither --local nor --url, and TRITON_URL is not set, the task asks a pod of the deployment through a
    port-forward.
    """
    from scripts.compare.run import Wanted
    from scripts.compare.run import compare as compared
    from scripts.compare.verdict import FAILED, Limits
    from scripts.compare.written import check, write
    from scripts.host import settings
    from scripts.host.terminal import picture_bar, reporting, say, step
    from scripts.server.endpoint import choose
    from triton_sdk.labels import read as read_labels

    with reporting():
        if not (model and baseline and candidate and images):
            raise TaskFailure(
                "What do you want to compare? For example: invoke compare --model resnet50 --baseline 1 --candidate 2 "
                "--images pictures"
            )
        if gpu and not local:
            raise TaskFailure("--gpu belongs to --local: a server that runs elsewhere has its GPUs already.")
        wanted = Wanted(
            model=model,
            versions=(number(baseline, name="baseline"), number(candidate, name="candidate")),
            images=flags.path(images),
            labels=read_labels(flags.path(labels)) if labels else None,
            limits=Limits(
                disagreement=share(max_disagreement, name="max-disagreement"), loss=share(max_loss, name="max-loss")
            ),
            callers=number(callers, name="callers", least=0, most=256),
        )
        usual = settings.ROOT / "build" / "compare" / f"{model}-{baseline}-{candidate}.html"
        path = flags.path(report) if report else usual
        check(path)
        place = choose(local=local, url=url, cluster=bool(release or namespace or context), settings=settings.load())
        server: contextlib.AbstractContextManager[Answering]
        if place == "local":
            server = on_this_machine(flags.path(repository), wanted, gpu=gpu)
        elif place == "cluster":
            server = in_the_cluster(release, namespace, context)
        else:
            server = contextlib.nullcontext((place.grpc, place.http, (), digests(place.http, model)))
        with server as (grpc, name, notes, known):
            found, html = compared(
                wanted, grpc, server=name, notes=notes, digests=known, step=step, counting=picture_bar
            )
        if json:
            say(found.as_json())
        else:
            show(found)
        write(path, html)
        step(f"Report: {path}")
        if found.status == FAILED:
            raise TaskFailure(found.words("failed"))
        if few := found.words("too few"):
            step(few)
        if found.status:
            raise SystemExit(found.status)


def show(found: "Comparison") -> None:
    """Print the tables, the notes, and what came of the limits where that is no failure."""
    from scripts.host.terminal import say, table

    table(found.title, found.columns, found.rows)
    for title, columns, rows in found.lists:
        table(title, columns, rows)
    for note in found.notes:
        say(f"Note: {note}")
    if settled := found.words("ok"):
        say(settled)


@contextlib.contextmanager
def on_this_machine(repository: Path, wanted: "Wanted", *, gpu: bool) -> "Iterator[Answering]":
    """Start a server for the two versions, and give how to reach it."""
    from scripts.compare.local import local_pair
    from scripts.host.terminal import step

    with local_pair(repository, wanted.model, wanted.versions, gpu=gpu, progress=step) as (server, known):
        yield server.grpc_url, f"a Triton on this machine's {'GPU' if gpu else 'CPU'}", (), known


@contextlib.contextmanager
def in_the_cluster(release: str, namespace: str, context: str) -> "Iterator[Answering]":
    """Forward ports to a pod that is ready, and give how to reach it."""
    from scripts.cluster.forward import forward
    from scripts.cluster.pods import pods_of, ready_pod
    from scripts.host.terminal import step

    with reached(release, namespace, context) as (target, kubectl, _):
        pod = ready_pod(pods_of(kubectl, target), of=f"release {target.release}")
        step(f"Forwarding ports to pod {pod.name}")
        with forward(kubectl, f"pod/{pod.name}", progress=step) as forwarding:
            name = f"pod {pod.name} in the namespace {target.namespace}"
            yield forwarding.endpoint().grpc, name, (THROUGH_A_FORWARD,), {}


def digests(http: str, model: str) -> "Mapping[int, str]":
    """Return what names the bytes of each version of *model*, as far as there is an agent beside a server that tells.

    Args:
        http: The server: ``http://HOST:PORT``.
        model: The model's name.
    """
    from scripts.versions.target import OneServer

    try:
        seen = OneServer.parse(http).state().models.get(model)
    except TaskFailure:  # most servers have none
        return {}
    if seen is None:
        return {}
    known = {**seen.versions, **dict([seen.candidate] if seen.candidate else [])}
    return {version: one.digest for version, one in known.items() if one.digest}
