"""Tasks: take an image classifier from an ONNX file to a checked endpoint. `invoke --list` shows them all."""

from pathlib import Path

from invoke import Collection, Context, task

from scripts import checkenv, lint, models, settings
from scripts import serve as serving
from scripts.endpoint import HTTP_PORT, Endpoint
from scripts.errors import TaskFailure
from scripts.generate_input import generate as write_request
from scripts.report import download_bar, reporting, say, step, table
from scripts.smoke import smoke
from scripts.sources import Source
from triton_sdk.contract import RGB
from triton_sdk.labels import read as read_labels
from triton_sdk.local import LocalTriton

REPOSITORY = "model_repository"


def _number(text: str, *, name: str, least: int = 1) -> int:
    """Parse an integer here, since Invoke answers a wrong one with a traceback."""
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise TaskFailure(f"--{name} takes a whole number from {least} on, not {text!r}.")
    return int(text)


def _optional_number(text: str, *, name: str) -> int | None:
    return _number(text, name=name) if text else None


def _rgb(text: str, *, name: str) -> RGB | None:
    if not text:
        return None
    try:
        red, green, blue = (float(part) for part in text.split(","))
    except ValueError as error:
        raise TaskFailure(f"--{name} takes three numbers, for example 0.485,0.456,0.406, not {text!r}.") from error
    return red, green, blue


@task(help={"repository": "Folder with the packaged models."})
def check_env(c: Context, repository: str = REPOSITORY) -> None:
    """Look at the tools, settings and models here, and say what to do about each gap."""
    with reporting():
        rows = checkenv.check(settings.load(), root=settings.ROOT, repository=Path(repository))
        table("Environment", ("", "state", "found", "what to do"), [(r.what, r.state, r.found, r.advice) for r in rows])
        if any(row.state == "failed" for row in rows):
            raise TaskFailure("Mend what is marked as failed.")


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
    with reporting(), download_bar() as downloaded:
        if not model and not onnx:
            raise TaskFailure("Which model? --model resnet50, --model mobilenetv2, or a file of yours: --onnx PATH.")
        if onnx:
            source = Source.onnx(Path(onnx))
        elif weights == "seeded":
            source = Source.seeded(model, seed=_number(seed, name="seed", least=0))
        else:
            cache = settings.cache_folder()
            source = Source.zoo(model if weights == "zoo" else weights, cache=cache, downloaded=downloaded)
        made = models.package(
            source,
            model=model or Path(onnx).stem,
            repository=Path(repository),
            version=_optional_number(version, name="version"),
            labels=read_labels(labels) if labels else None,
            keep_input=keep_input,
            max_batch=_optional_number(max_batch, name="max-batch"),
            resize=_optional_number(resize, name="resize"),
            mean=_rgb(mean, name="mean"),
            std=_rgb(std, name="std"),
            progress=step,
        )
        say(f"Packaged {made.model} version {made.version} in {made.path}: {made.summary}")


@task(help={"repository": "Folder to look at."})
def lint_repository(c: Context, repository: str = REPOSITORY) -> None:
    """Find, without a server, what Triton would refuse or silently do otherwise."""
    with reporting():
        findings = lint.lint(Path(repository))
        if findings:
            rows = [(f.severity, f.model, str(f.version or ""), f.rule, f.message) for f in findings]
            table(f"Findings in {repository}", ("", "model", "version", "rule", "what and why"), rows)
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
    with reporting():
        request = write_request(
            image or None,
            model=model,
            repository=Path(repository),
            version=_optional_number(version, name="version"),
            output=Path(output),
            batch=_number(batch, name="batch"),
            raw=raw,
        )
        say(f"{request.path}: {request.dtype} {request.shape}. Send it:\n  {request.curl}")


@task(
    help={
        "repository": "Folder with the packaged models.",
        "http_port": "Port of the HTTP API; 0 takes a free one.",
        "grpc_port": "Port of the gRPC API; 0 takes a free one.",
        "metrics_port": "Port of the metrics; 0 takes a free one.",
        "docker": "Serve with NVIDIA's image instead of the pip wheel's server.",
        "gpu": "With --docker: give the container the GPUs.",
        "dry_run": "With --docker: only print the command.",
    }
)
def serve(
    c: Context,
    repository: str = REPOSITORY,
    http_port: str = "8000",
    grpc_port: str = "8001",
    metrics_port: str = "8002",
    docker: bool = False,
    gpu: bool = False,
    dry_run: bool = False,
) -> None:
    """Serve the packaged models on a real Triton on this machine until Ctrl-C."""
    with reporting():
        folder = Path(repository)
        ports = {
            "http_port": _number(http_port, name="http-port", least=0),
            "grpc_port": _number(grpc_port, name="grpc-port", least=0),
            "metrics_port": _number(metrics_port, name="metrics-port", least=0),
        }
        if docker:
            command = serving.docker_command(folder, gpu=gpu, **ports)
            say(str(command))
            if not dry_run:
                serving.require_models(folder)
                serving.serve_docker(command)
            return

        def announce(server: LocalTriton) -> None:
            packaged = models.packaged(folder)
            endpoints = [("HTTP", server.http_url), ("gRPC", server.grpc_url), ("metrics", server.metrics_url)]
            table("Endpoints", ("", "address"), endpoints)
            table("Models", ("model", "version", "contract"), [(p.model, str(p.version), p.summary) for p in packaged])
            for line in serving.how_to_call(packaged[0].model, http_url=server.http_url, grpc_url=server.grpc_url):
                say(line)
            say("Ctrl-C ends the server.")

        serving.serve(folder, progress=step, announce=announce, **ports)


@task(
    help={
        "local": "Start a server on this machine for the check, and stop it afterwards.",
        "url": f"Check a running server: HOST or HOST:HTTP_PORT (default: TRITON_URL, port {HTTP_PORT}).",
        "repository": "Folder with the packaged models: their golden data says what is right.",
        "picture": "Also draw the table in this SVG file.",
    }
)
def smoke_test(c: Context, local: bool = False, url: str = "", repository: str = REPOSITORY, picture: str = "") -> None:
    """Check a server: health, contracts, versions, golden numbers, batching, latency."""
    with reporting():
        folder = Path(repository)
        drawing = Path(picture) if picture else None
        if local:
            serving.require_models(folder)
            with LocalTriton(folder, progress=step) as server:
                endpoint = Endpoint(http=server.http_url, grpc=server.grpc_url, metrics=server.metrics_url)
                _smoke(endpoint, folder, complete=True, picture=drawing)
            return
        address = url or settings.load().get("TRITON_URL")
        if not address:
            raise TaskFailure(
                "Which server? --local starts one here; --url HOST (or TRITON_URL) names a running one, "
                "for example after kubectl port-forward."
            )
        _smoke(Endpoint.parse(address), folder, complete=False, picture=drawing)


def _smoke(endpoint: Endpoint, repository: Path, *, complete: bool, picture: Path | None) -> None:
    results = []
    for result in smoke(endpoint, repository=repository, complete=complete):
        step(f"{result.state:8}{result.subject}: {result.check}")
        results.append(result)
    rows = [(r.state, r.subject, r.check, r.figure) for r in results]
    table(f"Smoke test of {endpoint.http}", ("", "of", "check", "figure"), rows, picture=picture)
    failed = sum(r.state == "failed" for r in results)
    if failed:
        raise TaskFailure(f"{failed} of {len(results)} checks failed.")
    say(f"{len(results)} checks, none failed.")


namespace = Collection(check_env, package_model, lint_repository, generate_input, serve, smoke_test)
