"""Tasks: take an image classifier from an ONNX file to a checked endpoint. `invoke --list` shows them all."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from invoke import Collection, Context, task

from scripts import check_env as checkenv
from scripts.cluster import pod_checks as cluster_smoke
from scripts.cluster.helm import Helm
from scripts.cluster.image import Image
from scripts.cluster.kubectl import Kubectl
from scripts.cluster.release import access, destroy
from scripts.cluster.release.chart import Chart, Package, values_files
from scripts.cluster.release.deploy import Deployer
from scripts.cluster.release.rollout import Show
from scripts.cluster.status import look as looking
from scripts.cluster.status import tables
from scripts.cluster.target import NAMESPACE, RELEASE, Target
from scripts.host import settings
from scripts.host.errors import TaskFailure
from scripts.host.shell import LocalRunner
from scripts.host.terminal import (
    confirm,
    difference,
    download_bar,
    is_asked,
    layer_bar,
    reporting,
    say,
    step,
    table,
    waiting,
)
from scripts.image import build as docker
from scripts.image import delivery
from scripts.image.built import megabytes
from scripts.packaging import package as models
from scripts.registry import aws
from scripts.registry.ecr import Registry, Rules
from scripts.registry.ecr import create as create_in_registry
from scripts.repository.lint import model as lint
from scripts.repository.versions import packaged as packaged_in
from scripts.server import local as serving
from scripts.server.checks import GOLDEN, Result, smoke
from scripts.server.endpoint import HTTP_PORT, Endpoint
from scripts.server.request import generate as write_request
from scripts.sources import zoo
from scripts.sources.source import Source
from triton_sdk.contract import RGB
from triton_sdk.labels import read as read_labels
from triton_sdk.local import LocalTriton

REPOSITORY = "model_repository"
# The options by which the tasks for a cluster find the deployment.
WHERE = {
    "release": f"Name of the release (default: TRITON_RELEASE, or {RELEASE}).",
    "namespace": f"Its namespace (default: TRITON_NAMESPACE, or {NAMESPACE}).",
    "context": "Context of the kubeconfig (default: KUBE_CONTEXT, or the current one).",
}


def _number(text: str, *, name: str, least: int = 1, most: int = 2**31 - 1) -> int:
    """Parse an integer here, since Invoke answers a wrong one with a traceback."""
    if not re.fullmatch("[0-9]{1,10}", text) or not least <= int(text) <= most:
        upper = f"to {most}" if most < 2**31 - 1 else "on"
        raise TaskFailure(f"--{name} takes a whole number from {least} {upper}, not {text!r}.")
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
        known = settings.load()
        rows = checkenv.check(known, root=settings.ROOT, repository=Path(repository), runner=LocalRunner())
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
            wanted = model if weights == "zoo" else weights
            if weights in zoo.ARCHITECTURES:
                raise TaskFailure(f"--weights takes zoo, seeded or one file of the zoo: is --model {weights} meant?")
            source = Source.zoo(wanted, cache=settings.cache_folder(), downloaded=downloaded)
        made = models.package(
            source,
            model=model or Path(onnx).resolve().stem,
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
            "http_port": _number(http_port, name="http-port", least=0, most=65535),
            "grpc_port": _number(grpc_port, name="grpc-port", least=0, most=65535),
            "metrics_port": _number(metrics_port, name="metrics-port", least=0, most=65535),
        }
        if not docker and (gpu or dry_run):
            raise TaskFailure("--gpu and --dry-run belong to --docker.")
        if docker:
            command = serving.docker_command(folder, gpu=gpu, **ports)
            say(str(command))
            if not dry_run:
                serving.require_models(folder)
                serving.serve_docker(command)
            return

        def announce(server: LocalTriton) -> None:
            packaged = packaged_in(folder)
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
        "all_pods": "Check every pod of the deployment in turn, instead of one that is ready.",
        "repository": "Folder with the packaged models: their golden data says what is right.",
        "picture": "Also draw the table in this SVG file.",
        **WHERE,
    }
)
def smoke_test(
    c: Context,
    local: bool = False,
    url: str = "",
    all_pods: bool = False,
    repository: str = REPOSITORY,
    picture: str = "",
    release: str = "",
    namespace: str = "",
    context: str = "",
) -> None:
    """Check the deployment (or --url, --local): health, contracts, versions, golden numbers, batching, latency, GPU.

    Without --local, --url and TRITON_URL, the deployment in the cluster is checked through a port-forward to its pods.
    """
    with reporting():
        folder = Path(repository)
        drawing = Path(picture) if picture else None
        deployed = bool(all_pods or release or namespace or context)
        if local + bool(url) + deployed > 1:
            raise TaskFailure(
                "--local starts a server here, --url names one that runs, and --all-pods, --release, --namespace and "
                "--context mean the cluster: give one of the three."
            )
        known = settings.load()
        address = url or ("" if local or deployed else known.get("TRITON_URL"))
        if local:
            with serving.local(folder, progress=step) as server:
                endpoint = Endpoint(http=server.http_url, grpc=server.grpc_url, metrics=server.metrics_url)
                _smoke(smoke(endpoint, repository=folder, complete=True), of=endpoint.http, picture=drawing)
        elif address:
            endpoint = Endpoint.parse(address)
            _smoke(smoke(endpoint, repository=folder, complete=False), of=endpoint.http, picture=drawing)
        else:
            target, kubectl, _ = _cluster(release, namespace, context)
            results = cluster_smoke.smoke(kubectl, target, repository=folder, all_pods=all_pods, progress=step)
            _smoke(results, of=f"release {target.release}", picture=drawing, pods=all_pods)


def _cluster(release: str, namespace: str, context: str) -> tuple[Target, Kubectl, Helm]:
    """Return what reaches the deployment, after saying where that is."""
    target = Target.from_settings(settings.load(), release=release, namespace=namespace, context=context)
    kubectl = Kubectl(LocalRunner(), context=target.context, namespace=target.namespace)
    step(f"Release {target.release}, namespace {target.namespace}, context {access.Where.read(kubectl)}")
    return target, kubectl, Helm(LocalRunner(), context=target.context, namespace=target.namespace)


def _smoke(results: Iterable[Result], *, of: str, picture: Path | None, pods: bool = False) -> None:
    found = []
    for result in results:
        step(f"{result.state:8}{f'{result.pod}: ' if pods else ''}{result.subject}: {result.check}")
        found.append(result)
    if found and found[0].pod and not pods:
        of += f", pod {found[0].pod}"
    heads = (*(["pod"] if pods else []), "", "of", "check", "figure")
    rows = [(*([r.pod] if pods else []), r.state, r.subject, r.check, r.figure) for r in found]
    table(f"Smoke test of {of}", heads, rows, picture=picture)
    failed = sum(r.state == "failed" for r in found)
    if failed:
        raise TaskFailure(f"{failed} of {len(found)} checks failed.")
    skipped = sum(r.state == "skipped" for r in found)
    say(f"{len(found)} checks, none failed{f', {skipped} skipped' if skipped else ''}.")
    if not any(r.check == GOLDEN and r.state == "ok" for r in found):
        say("No number was compared: nothing of what is served is packaged here (--repository).")


@task(help={**WHERE, "json": "Print all of it as JSON instead, for scripts."})
def status(c: Context, release: str = "", namespace: str = "", context: str = "", json: bool = False) -> None:
    """Show the deployment: release, image, pods, GPUs, autoscaler, and each server's models, requests and queue.

    The exit status is 0 when the release is there, whatever its state, and 1 when it is not or cannot be asked.
    """
    with reporting():
        target, kubectl, helm = _cluster(release, namespace, context)
        found = looking.look(kubectl, helm, target, progress=step)
        if json:
            say(tables.as_json(found))
            return
        table("Deployment", ("", ""), tables.release_rows(found))
        table("Pods", tables.POD_COLUMNS, tables.pod_rows(found, now=datetime.now(UTC)))
        table("Models", tables.MODEL_COLUMNS, tables.model_rows(found))


@task(
    help={
        **WHERE,
        "yes": "Do not ask.",
        "with_namespace": "Also remove the namespace, if deploy-triton made it and nothing else is in it.",
        "dry_run": "Only print the commands.",
    }
)
def destroy_triton(
    c: Context,
    release: str = "",
    namespace: str = "",
    context: str = "",
    yes: bool = False,
    with_namespace: bool = False,
    dry_run: bool = False,
) -> None:
    """Remove the deployment, after naming what goes, and check that nothing is left; doing it twice does no harm."""
    with reporting():
        target, kubectl, helm = _cluster(release, namespace, context)
        removal = destroy.plan(helm, target)
        if removal is None:
            say(
                f"There is no release {target.release} in the namespace {target.namespace}: nothing to remove. "
                "`helm list --all-namespaces` shows those there are."
            )
        else:
            say(removal.title)
            table("Its objects", ("kind", "name", ""), removal.rows)
        if dry_run:
            for command in removal.commands(kubectl, helm) if removal else ():
                say(str(command))
            if with_namespace:
                say(str(destroy.delete_namespace(kubectl, target.namespace)))
            return
        if removal is not None:
            if not yes and not confirm("Remove all this?", otherwise="--yes removes it without asking."):
                raise TaskFailure("Nothing was removed.")
            destroy.remove(removal, kubectl=kubectl, helm=helm, progress=step)
            say(f"{target.release} is removed, and nothing of it is left.")
        _namespace(kubectl, target, asked=with_namespace, ask=not yes and is_asked())


def _namespace(kubectl: Kubectl, target: Target, *, asked: bool, ask: bool) -> None:
    """Remove the namespace if that is wanted and does no harm, and say what becomes of it."""
    name = target.namespace
    if not destroy.is_ours(kubectl, name):
        if asked:
            say(f"The namespace {name} was not made by deploy-triton, or is gone: it is left as it is.")
        return
    if others := destroy.inhabitants(kubectl):
        say(f"The namespace {name} stays, since this is in it: {destroy.listed(others)}.")
    elif asked or (ask and confirm(f"Remove the namespace {name}, which deploy-triton made, too?", otherwise="")):
        destroy.remove_namespace(kubectl, name, progress=step)
        say(f"The namespace {name} is removed.")
    else:
        say(f"The empty namespace {name} stays; `invoke destroy-triton{target.options} --with-namespace` removes it.")


@task(
    help={
        "cpu": "Build the small image with the pip wheel's Triton, for laptops and tests, instead of NVIDIA's.",
        "slim": "Put only the server and its ONNX Runtime backend on NVIDIA's -min image.",
        "base": "The image to build on, NAME:TAG or NAME:TAG@sha256:DIGEST (default: TRITON_BASE_IMAGE, or NVIDIA's).",
        "minimal": "With --slim: the -min image (default: the base's name with -min).",
        "platform": "Such as linux/amd64 (default: the engine's own).",
        "tag": "NAME:TAG of the image (default: triton-infer:REVISION-MODELS).",
        "repository": "Folder with the packaged models.",
        "dry_run": "Only print the commands.",
    }
)
def build_image(
    c: Context,
    cpu: bool = False,
    slim: bool = False,
    base: str = "",
    minimal: str = "",
    platform: str = "",
    tag: str = "",
    repository: str = REPOSITORY,
    dry_run: bool = False,
) -> None:
    """Build the image that serves the packaged models: each version a layer of its own."""
    with reporting():
        if cpu and slim:
            raise TaskFailure("--cpu and --slim are two different images: choose one.")
        known = settings.load().get("TRITON_BASE_IMAGE")
        order = docker.Order(
            repository=Path(repository),
            kind="cpu" if cpu else "slim" if slim else "full",
            base=base or (None if cpu else known),
            minimal=minimal or None,
            platform=platform or None,
            tag=tag or None,
        )
        if dry_run:
            for command in docker.plan(order, runner=LocalRunner(), root=settings.ROOT)[1]:
                say(str(command))
            return
        image = docker.build(order, runner=LocalRunner(), root=settings.ROOT, progress=step)
        rows = [(megabytes(layer.size), layer.made_by[:100]) for layer in image.largest()]
        table(f"Largest layers of {image.name}", ("size", "made by"), rows)
        say(f"{image.name}: {image.verdict}")


@task
def create_repository(c: Context) -> None:
    """Create the image repository in ECR, or bring the one that is there up to date, and print its address."""
    with reporting():
        loaded = settings.load()
        access = aws.open_access(loaded)
        registry = Registry.from_settings(loaded, region=access.region)
        create_in_registry(access, registry, Rules.from_settings(loaded), progress=step)
        say(registry.uri)


@task(
    help={
        "cpu": "Build and push the CPU image.",
        "image": "Push this image, which is there already, instead of building one.",
        "tag": "Tag in the registry (default: IMAGE_TAG, or the git revision and a digest of the models).",
        "repository": "Folder with the packaged models.",
        "dry_run": "Only print the commands.",
    }
)
def push_triton(
    c: Context,
    cpu: bool = False,
    image: str = "",
    tag: str = "",
    repository: str = REPOSITORY,
    dry_run: bool = False,
) -> None:
    """Push the image to ECR, built if need be, and write its digest to build/image.json."""
    with reporting(), layer_bar() as layers:
        loaded = settings.load()
        base = None if cpu else loaded.get("TRITON_BASE_IMAGE")
        order = docker.Order(repository=Path(repository), kind="cpu" if cpu else "full", base=base)
        wanted = delivery.Wanted(order=order, image=image or None, tag=tag or loaded.get("IMAGE_TAG"))
        if dry_run:
            for command in delivery.plan(loaded, wanted, runner=LocalRunner()):
                say(command)
            return
        pushed = delivery.deliver(loaded, wanted, runner=LocalRunner(), progress=step, layers=layers)
        say(pushed.summary)
        say(pushed.reference)


@task(
    help={
        "values": "File with values of the chart; may be repeated, the last one wins (default: helm/values.yaml).",
        "set_": "One value, KEY=VALUE; may be repeated, and wins over files.",
        "image": "HOST/NAME@sha256:DIGEST (default: what push-triton wrote to build/image.json).",
        "cpu": "Run without GPUs: --set gpu.enabled=false.",
        "timeout": "Seconds that the pods may take to become ready.",
        "dry_run": "Only print the commands, and what they would change.",
        **WHERE,
    },
    iterable=["values", "set_"],
)
def deploy_triton(
    c: Context,
    values: list[str],
    set_: list[str],
    image: str = "",
    cpu: bool = False,
    timeout: str = "900",
    dry_run: bool = False,
    namespace: str = "",
    release: str = "",
    context: str = "",
) -> None:
    """Deploy the pushed image to a cluster with Helm and wait; what fails is rolled back."""
    with reporting():
        loaded = settings.load()
        target = Target.from_settings(loaded, release=release, namespace=namespace, context=context)
        package = Package(
            chart=Chart.from_settings(loaded),
            image=Image.parse(image) if image else Image.from_record(),
            files=values_files(values),
            values=set_,
            cpu=cpu,
        )
        limit = _number(timeout, name="timeout")
        with waiting() as (line, status):
            show = Show(line=line, status=status)
            deployer = Deployer(target=target, package=package, settings=loaded, runner=LocalRunner(), show=show)
            outcome = None if dry_run else deployer.deploy(timeout_s=limit)
            commands, changes = deployer.plan() if dry_run else ([], [])
        if outcome is None:
            for command in commands:
                say(str(command))
            difference(changes)
            if not commands:
                say("Nothing would change.")
            return
        table(f"Release {target.release}", ("", ""), outcome.rows)
        for text in outcome.next_steps:
            say(text)


namespace = Collection(
    check_env,
    package_model,
    lint_repository,
    generate_input,
    serve,
    smoke_test,
    status,
    destroy_triton,
    build_image,
    create_repository,
    push_triton,
    deploy_triton,
)
