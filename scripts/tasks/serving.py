"""A server that answers: on this machine, and checked wherever it is."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from invoke import Context, task

from scripts.host.errors import TaskFailure
from scripts.tasks.cluster import reached
from scripts.tasks.flags import REPOSITORY, WHERE, number

if TYPE_CHECKING:
    from scripts.server.checks import Result
    from triton_sdk.local import LocalTriton


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
    from scripts.host.terminal import reporting, say, step, table
    from scripts.repository.versions import packaged
    from scripts.server import local

    with reporting():
        folder = Path(repository)
        ports = {
            "http_port": number(http_port, name="http-port", least=0, most=65535),
            "grpc_port": number(grpc_port, name="grpc-port", least=0, most=65535),
            "metrics_port": number(metrics_port, name="metrics-port", least=0, most=65535),
        }
        if not docker and (gpu or dry_run):
            raise TaskFailure("--gpu and --dry-run belong to --docker.")
        if docker:
            command = local.docker_command(folder, gpu=gpu, **ports)
            say(str(command))
            if not dry_run:
                local.require_models(folder)
                local.serve_docker(command)
            return

        def announce(server: "LocalTriton") -> None:
            versions = packaged(folder)
            endpoints = [("HTTP", server.http_url), ("gRPC", server.grpc_url), ("metrics", server.metrics_url)]
            table("Endpoints", ("", "address"), endpoints)
            table("Models", ("model", "version", "contract"), [(p.model, str(p.version), p.summary) for p in versions])
            for line in local.how_to_call(versions[0].model, http_url=server.http_url, grpc_url=server.grpc_url):
                say(line)
            say("Ctrl-C ends the server.")

        local.serve(folder, progress=step, announce=announce, **ports)


@task(
    help={
        "local": "Start a server on this machine for the check, and stop it afterwards.",
        "url": "Check a running server: HOST or HOST:HTTP_PORT (default: TRITON_URL, port 8000).",
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
    from scripts.cluster import pod_checks
    from scripts.host import settings
    from scripts.host.terminal import reporting, step
    from scripts.server.checks import smoke
    from scripts.server.endpoint import Endpoint
    from scripts.server.local import local as start

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
            with start(folder, progress=step) as server:
                endpoint = Endpoint(http=server.http_url, grpc=server.grpc_url, metrics=server.metrics_url)
                _smoke(smoke(endpoint, repository=folder, complete=True), of=endpoint.http, picture=drawing)
        elif address:
            endpoint = Endpoint.parse(address)
            _smoke(smoke(endpoint, repository=folder, complete=False), of=endpoint.http, picture=drawing)
        else:
            target, kubectl, _ = reached(release, namespace, context)
            results = pod_checks.smoke(kubectl, target, repository=folder, all_pods=all_pods, progress=step)
            _smoke(results, of=f"release {target.release}", picture=drawing, pods=all_pods)


def _smoke(results: Iterable["Result"], *, of: str, picture: Path | None, pods: bool = False) -> None:
    from scripts.host.terminal import say, step, table
    from scripts.server.checks import GOLDEN

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
