"""A server that answers: on this machine, and checked wherever it is."""

import contextlib
from typing import TYPE_CHECKING

from invoke import Context

from scripts.host.errors import TaskFailure
from scripts.tasks.calling import task
from scripts.tasks.flags import REPOSITORY, WHERE, number, path, writable
from scripts.tasks.reaching import reached

if TYPE_CHECKING:
    from scripts.server.agent import Agent
    from triton_sdk.local import LocalTriton


@task(
    help={
        "repository": "Folder with the packaged models (default: model_repository).",
        "http_port": "Port of the HTTP API (default: 8000); 0 takes a free port.",
        "grpc_port": "Port of the gRPC API (default: 8001); 0 takes a free port.",
        "metrics_port": "Port of the metrics (default: 8002); 0 takes a free port.",
        "agent_port": "Port of the agent that loads versions (default: the HTTP port plus 3).",
        "docker": "Serve with a container of TRITON_BASE_IMAGE (or NVIDIA's image), not with the pip wheel's server.",
        "gpu": "Serve on the NVIDIA GPUs of this machine; with --docker: give the container the GPUs.",
        "dry_run": "With --docker: only print the command.",
    }
)
def serve(
    c: Context,
    repository: str = REPOSITORY,
    http_port: str = "8000",
    grpc_port: str = "8001",
    metrics_port: str = "8002",
    agent_port: str = "",
    docker: bool = False,
    gpu: bool = False,
    dry_run: bool = False,
) -> None:
    """Serve the packaged models with a real Triton on this machine, until you press Ctrl-C."""
    from scripts.host import settings
    from scripts.host.terminal import reporting, say, step, table
    from scripts.repository.versions import packaged, require
    from scripts.server import local

    with reporting():
        folder = path(repository)
        ports = {
            "http_port": number(http_port, name="http-port", least=0, most=65535),
            "grpc_port": number(grpc_port, name="grpc-port", least=0, most=65535),
            "metrics_port": number(metrics_port, name="metrics-port", least=0, most=65535),
        }
        taken = [port for port in ports.values() if port]
        if len(set(taken)) < len(taken):
            raise TaskFailure("--http-port, --grpc-port and --metrics-port need a port each: two of them are the same.")
        if dry_run and not docker:
            raise TaskFailure("--dry-run belongs to --docker.")
        if docker and agent_port:
            raise TaskFailure("--agent-port: no agent runs beside a server of --docker. Leave one of the two out.")
        if docker:
            image = settings.load().get("TRITON_BASE_IMAGE") or settings.BASE_IMAGE
            command = local.docker_command(folder, image=image, gpu=gpu, **ports)
            say(str(command))
            if not dry_run:
                require(folder)
                local.serve_docker(command)
            return

        def announce(server: "LocalTriton", agent: "Agent") -> None:
            endpoints = [("HTTP", server.http_url), ("gRPC", server.grpc_url), ("metrics", server.metrics_url)]
            table("Endpoints", ("", "address"), [*endpoints, ("agent", agent.url)])
            rows = local.version_rows(agent.state(), packaged(folder))
            table("Models", ("model", "version", "", "contract"), rows)
            for line in local.how_to_call(rows[0][0], http_url=server.http_url, grpc_url=server.grpc_url):
                say(line)
            say("Ctrl-C ends the server.")

        local.serve(
            folder,
            loaded=settings.load(),
            agent_port=number(agent_port, name="agent-port", most=65535) if agent_port else None,
            gpu=gpu,
            progress=step,
            announce=announce,
            **ports,
        )


@task(
    help={
        "local": "Start a server on this machine for the check, and stop it afterwards.",
        "gpu": "With --local: start the server on the NVIDIA GPUs of this machine.",
        "url": "Check a running server: HOST or HOST:HTTP_PORT (default: TRITON_URL, port 8000).",
        "all_pods": "Check every pod of the deployment in turn, instead of one ready pod.",
        "repository": "Folder with the packaged models, whose golden data is used (default: model_repository).",
        "picture": "Also draw the table in this SVG file.",
        **WHERE,
    }
)
def smoke_test(
    c: Context,
    local: bool = False,
    gpu: bool = False,
    url: str = "",
    all_pods: bool = False,
    repository: str = REPOSITORY,
    picture: str = "",
    release: str = "",
    namespace: str = "",
    context: str = "",
) -> None:
    """Check the deployment (or --url, --local): health, contracts, versions, golden numbers, batching, latency, GPU.

    If you give neither --local nor --url, and TRITON_URL is not set, the task checks the deployment in the cluster,
    through a port-forward to its pods.
    """
    from scripts.cluster import pod_checks
    from scripts.host import settings
    from scripts.host.terminal import reporting, say, step, table
    from scripts.server.checks import check_server
    from scripts.server.endpoint import Endpoint, choose
    from scripts.server.local import local_server
    from scripts.server.verdict import Verdict

    with reporting(), contextlib.ExitStack() as stack:
        if gpu and not local:
            raise TaskFailure("--gpu belongs to --local: a server that runs elsewhere has its GPUs already.")
        folder = path(repository)
        drawn = writable(picture, name="picture", suffix=".svg")
        in_cluster = bool(all_pods or release or namespace or context)
        server = choose(local=local, url=url, cluster=in_cluster, settings=settings.load())
        if server == "cluster":
            try:
                target, kubectl, _ = stack.enter_context(reached(release, namespace, context))
            except TaskFailure as error:
                if in_cluster:
                    raise
                raise TaskFailure(
                    f"{error}\nWithout a cluster, --local starts a server here for the check, and --url HOST checks "
                    "one that runs."
                ) from error
            of = f"release {target.release}"
            results = pod_checks.check_pods(kubectl, target, repository=folder, all_pods=all_pods, progress=step)
        else:
            if server == "local":
                started = stack.enter_context(local_server(folder, progress=step, gpu=gpu))
                server = Endpoint(http=started.http_url, grpc=started.grpc_url, metrics=started.metrics_url)
            of, results = server.http, check_server(server, repository=folder, complete=local)
        found = []
        for result in results:
            step(f"{result.state:8}{f'{result.pod}: ' if all_pods else ''}{result.subject}: {result.check}")
            found.append(result)
        verdict = Verdict(of=of, results=found, each_pod=all_pods)
        table(verdict.title, verdict.columns, verdict.rows, picture=drawn)
        for line in verdict.require():
            say(line)
