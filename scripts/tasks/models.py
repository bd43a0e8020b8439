"""Model versions: packaged, looked at, and asked something by hand."""

from pathlib import Path

from invoke import Context, task

from scripts.host.errors import TaskFailure
from scripts.tasks.flags import REPOSITORY, colour, number, optional_number


@task(
    help={
        "model": "Name on the server; resnet50 and mobilenetv2 are known (default with --onnx: the file's name).",
        "onnx": "Package this ONNX file instead of a known model.",
        "weights": "zoo (downloaded), seeded (made here, no internet), or the name of one file of the zoo.",
        "seed": "Seed of seeded weights.",
        "version": "Version number (default: the next one).",
        "repository": "Folder to package into.",
        "labels": "File with the name of each class, a line each.",
        "keep_input": "Keep the graph's own FP32 input: clients then normalise.",
        "max_batch": "Most images in one request (default: 32, or what the model's other versions have).",
        "resize": "Shorter side before the centre crop, in pixels (default: the known model's, or crop * 256 / 224).",
        "mean": "Mean of the channels R,G,B for pixels in [0, 1] (default: ImageNet's).",
        "std": "Standard deviation of the channels R,G,B, likewise.",
    }
)
def package_model(
    c: Context,
    model: str = "",
    onnx: str = "",
    weights: str = "zoo",
    seed: str = "1",
    version: str = "",
    repository: str = REPOSITORY,
    labels: str = "",
    keep_input: bool = False,
    max_batch: str = "",
    resize: str = "",
    mean: str = "",
    std: str = "",
) -> None:
    """Turn a classifier into a version that Triton serves: preprocessing in the graph, config, labels, golden data."""
    from scripts.host import settings
    from scripts.host.terminal import download_bar, reporting, say, step
    from scripts.packaging.package import package
    from scripts.sources import zoo
    from scripts.sources.source import Source
    from triton_sdk.labels import read

    with reporting(), download_bar() as downloaded:
        if not model and not onnx:
            raise TaskFailure("Which model? --model resnet50, --model mobilenetv2, or a file of yours: --onnx PATH.")
        if onnx:
            source = Source.onnx(Path(onnx))
        elif weights == "seeded":
            source = Source.seeded(model, seed=number(seed, name="seed", least=0))
        else:
            wanted = model if weights == "zoo" else weights
            if weights in zoo.ARCHITECTURES:
                raise TaskFailure(f"--weights takes zoo, seeded or one file of the zoo: is --model {weights} meant?")
            source = Source.zoo(wanted, cache=settings.cache_folder(), downloaded=downloaded)
        made = package(
            source,
            model=model or Path(onnx).resolve().stem,
            repository=Path(repository),
            version=optional_number(version, name="version"),
            labels=read(labels) if labels else None,
            keep_input=keep_input,
            max_batch=optional_number(max_batch, name="max-batch"),
            resize=optional_number(resize, name="resize"),
            mean=colour(mean, name="mean"),
            std=colour(std, name="std"),
            progress=step,
        )
        say(f"Packaged {made.model} version {made.version} in {made.path}: {made.summary}")


@task(help={"repository": "Folder to look at."})
def lint_repository(c: Context, repository: str = REPOSITORY) -> None:
    """Find, without a server, what Triton would refuse or silently do otherwise."""
    from scripts.host.terminal import reporting, say, table
    from scripts.repository.lint.model import lint

    with reporting():
        findings = lint(Path(repository))
        if findings:
            rows = [(f.severity, f.model, str(f.version or ""), f"{f.message} [{f.rule}]") for f in findings]
            table(f"Findings in {repository}", ("", "model", "version", "what and why"), rows)
        errors = sum(f.severity == "error" for f in findings)
        if errors:
            raise TaskFailure(f"{errors} error(s) in {repository}: Triton would refuse or misread it.")
        say(f"{repository}: no errors, {len(findings)} warning(s).")


@task(
    help={
        "image": "A picture (default: a generated one).",
        "model": "The packaged model that it is for.",
        "version": "Ask this version (default: the latest).",
        "output": "File to write.",
        "batch": "Images in the request.",
        "raw": "Ask for every probability instead of the five best classes with their names.",
        "repository": "Folder with the packaged models.",
    },
)
def generate_input(
    c: Context,
    image: str = "",
    model: str = "resnet50",
    version: str = "",
    output: str = "input.json",
    batch: str = "1",
    raw: bool = False,
    repository: str = REPOSITORY,
) -> None:
    """Write the JSON body of an inference request, for curl."""
    from scripts.host.terminal import reporting, say
    from scripts.server.request import generate

    with reporting():
        request = generate(
            image or None,
            model=model,
            repository=Path(repository),
            version=optional_number(version, name="version"),
            output=Path(output),
            batch=number(batch, name="batch"),
            raw=raw,
        )
        say(f"{request.path}: {request.dtype} {request.shape}. Send it:\n  {request.curl}")
