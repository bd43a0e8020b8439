"""Model versions: packaged, looked at, and asked something by hand."""

import re
from collections.abc import Sequence
from pathlib import Path

from invoke import Context

from scripts.host.errors import TaskFailure
from scripts.tasks import flags
from scripts.tasks.calling import task
from scripts.tasks.flags import INPUT, REPOSITORY


@task(
    help={
        "model": "Name on the server (default with --onnx: the file's name). Known: resnet50, mobilenetv2.",
        "onnx": "Package this ONNX file instead of a known model.",
        "weights": "zoo (downloaded, the default), seeded (made up, no download), or the name of a file of the zoo.",
        "seed": "With --weights seeded: the seed (default: 1).",
        "version": "Version number (default: the next free one).",
        "repository": "Folder into which the version is written (default: model_repository).",
        "labels": "File with the name of each class, one on each line.",
        "colour": "Order of the channels that the model takes: rgb, bgr or gray.",
        "scale": "Pixels from 0 to 255 are multiplied by this number, before mean and std: 1/255, 1/127.5 or 1.",
        "mean": "This is subtracted after --scale: one number, or one for each channel in the model's order.",
        "std": "The result is divided by this: one number, or one for each channel in the model's order.",
        "size": "If the graph leaves height and width open: the size that the model gets, such as 224x224.",
        "resize": "Length of the shorter side before the centre crop, in pixels.",
        "interpolation": "How pictures are resized: bilinear, bicubic or nearest.",
        "fit": "What happens to a picture of other proportions: crop (the middle), squash, or pad (black bars).",
        "scores": "What the model gives: logits, probabilities, log-probabilities or multi-label.",
        "output": "If the graph has several outputs: name of the output (or of a value inside) with the scores.",
        "freeze": "Make a constant of another input: INPUT=VALUE, or VALUES with commas. May be repeated.",
        "images": "Check it on your pictures: a folder (of folders named by class), or a .csv, .json or .npz list.",
        "min_accuracy": "With --images: share of answers that must be right, 0 to 1 (default: more than chance).",
        "image_hashes": "With --images: keep hashes of the pictures in the manifest, and no pictures.",
        "strict": "Assume nothing: each setting must come from a flag, the ONNX file or a file beside it.",
        "keep_input": "Keep the graph's own FP32 input. Clients must then normalise the pixels.",
        "max_batch": "The most images in one request (default: 32, or as the model's other versions).",
        "gpu_precision": "Precision of the graph for GPUs: fp32 (default) or fp16; none makes no graph for GPUs.",
        "buckets": "Batch sizes for which the graph for GPUs has a branch (default: 1,2,4,... up to --max-batch).",
    },
    iterable=["freeze"],
    # With so many flags Invoke would hand out letters that nobody guesses, -h among them, and an empty one.
    auto_shortflags=False,
)
def package_model(
    c: Context,
    model: str = "",
    onnx: str = "",
    weights: str = "",
    seed: str = "",
    version: str = "",
    repository: str = REPOSITORY,
    labels: str = "",
    colour: str = "",
    scale: str = "",
    mean: str = "",
    std: str = "",
    size: str = "",
    resize: str = "",
    interpolation: str = "",
    fit: str = "",
    scores: str = "",
    output: str = "",
    freeze: Sequence[str] = (),
    images: str = "",
    min_accuracy: str = "",
    image_hashes: bool = False,
    strict: bool = False,
    keep_input: bool = False,
    max_batch: str = "",
    gpu_precision: str = "",
    buckets: str = "",
) -> None:
    """Turn an ONNX classifier into a version that Triton serves, with preprocessing, configuration and golden data."""
    from scripts.host import settings
    from scripts.host.terminal import byte_bar, reporting, say, step, table
    from scripts.packaging.package import Images, Wishes, package
    from scripts.packaging.wishes import CHOICES, PRECISIONS, wish
    from scripts.sources import zoo
    from scripts.sources.source import Source
    from triton_sdk.labels import read

    with reporting(), byte_bar("downloading") as downloaded:
        if not model and not onnx:
            raise TaskFailure("Which model? --model resnet50, --model mobilenetv2, or a file of yours: --onnx PATH.")
        if not images and (min_accuracy or image_hashes):
            raise TaskFailure("--min-accuracy and --image-hashes belong to --images.")
        if onnx and (weights or seed):
            raise TaskFailure("--weights and --seed belong to a known model (--model): the file of --onnx has its own.")
        if seed and weights != "seeded":
            raise TaskFailure("--seed belongs to --weights seeded.")
        if onnx:
            source = Source.onnx(flags.path(onnx))
        elif weights == "seeded":
            source = Source.seeded(model, seed=flags.number(seed or "1", name="seed", least=0))
        else:
            wanted = model if weights in ("", "zoo") else weights
            if weights in zoo.ARCHITECTURES:
                raise TaskFailure(f"--weights takes zoo, seeded or one file of the zoo: do you mean --model {weights}?")
            source = Source.zoo(wanted, cache=settings.cache_folder(), downloaded=downloaded)
        made = package(
            source,
            model=model or named_after(flags.path(onnx)),
            repository=flags.path(repository),
            version=flags.optional_number(version, name="version"),
            wishes=Wishes(
                colour=flags.word(colour, CHOICES["colour"], name="colour"),
                scale=flags.fraction(scale, name="scale"),
                mean=flags.channels(mean, name="mean"),
                std=flags.channels(std, name="std"),
                size=flags.size(size, name="size"),
                resize=flags.optional_number(resize, name="resize"),
                interpolation=flags.word(interpolation, CHOICES["interpolation"], name="interpolation"),
                fit=flags.word(fit, CHOICES["fit"], name="fit"),
                scores=flags.word(scores, CHOICES["scores"], name="scores"),
                labels=read(flags.path(labels)) if labels else None,
                output=output,
                freeze=flags.assignments(freeze, name="freeze"),
            ),
            strict=strict,
            keep_input=keep_input,
            max_batch=flags.optional_number(max_batch, name="max-batch"),
            on_gpu=wish(
                flags.word(gpu_precision, PRECISIONS, name="gpu-precision"), flags.numbers(buckets, name="buckets")
            ),
            progress=step,
            images=(
                Images(
                    source=flags.path(images), least=flags.share(min_accuracy, name="min-accuracy"), hashes=image_hashes
                )
                if images
                else None
            ),
            tried=lambda trial: table("Your pictures", ("prepared", "", "flags"), trial.rows),
            decided=lambda record: table("Preprocessing", ("", "value", "source"), record.rows()),
        )
        say(f"Packaged {made.model} version {made.version} in {made.path}: {made.summary}")


def named_after(file: Path) -> str:
    """Return the name that a model gets of its file's, or of the link's that was given.

    Raises:
        TaskFailure: If that cannot name a model.
    """
    from scripts.repository.versions import is_sane_name

    if not is_sane_name(file.stem):
        fit = re.sub(r"[^A-Za-z0-9_.-]+", "-", file.stem).strip("-._")[:64]
        raise TaskFailure(
            f"The name of {str(file)!r} cannot name a model on a server: give it one, for example --model "
            f"{fit or 'mine'}"
        )
    return file.stem


@task(help={"repository": "Folder with the models to check (default: model_repository)."})
def lint_repository(c: Context, repository: str = REPOSITORY) -> None:
    """Check a model repository without a server: find what Triton would refuse or silently do otherwise."""
    from scripts.host import settings
    from scripts.host.terminal import reporting, say, table
    from scripts.repository.lint.gpu import check_base
    from scripts.repository.lint.model import lint

    with reporting():
        folder = flags.path(repository)
        findings = [*lint(folder), *check_base(settings.load().get("TRITON_BASE_IMAGE") or "")]
        if findings:
            rows = [(f.severity, f.model, str(f.version or ""), f"{f.message} [{f.rule}]") for f in findings]
            table(f"Findings in {folder}", ("", "model", "version", "what and why"), rows)
        errors = sum(f.severity == "error" for f in findings)
        if errors:
            raise TaskFailure(f"{errors} error(s) in {folder}: Triton would refuse or misread it.")
        say(f"{folder}: no errors, {len(findings)} warning(s).")


@task(
    help={
        "image": "A picture (default: a generated picture).",
        "model": "The packaged model to which the request goes (default: resnet50).",
        "version": "The version to which the request goes (default: the latest).",
        "output": "File to write (default: input.json in the repository).",
        "batch": "How many images the request has (default: 1).",
        "raw": "Ask for every probability instead of the five best classes with their names.",
        "repository": "Folder with the packaged models (default: model_repository).",
    },
)
def generate_input(
    c: Context,
    image: str = "",
    model: str = "resnet50",
    version: str = "",
    output: str = INPUT,
    batch: str = "1",
    raw: bool = False,
    repository: str = REPOSITORY,
) -> None:
    """Write the JSON body of an inference request, for curl."""
    from scripts.host.terminal import reporting, say
    from scripts.server.request import generate

    with reporting():
        request = generate(
            flags.path(image) if image else None,
            model=model,
            repository=flags.path(repository),
            version=flags.optional_number(version, name="version"),
            output=flags.path(output),
            batch=flags.number(batch, name="batch"),
            raw=raw,
        )
        say(f"{request.path}: {request.dtype} {request.shape}. Send it:\n  {request.curl}")
