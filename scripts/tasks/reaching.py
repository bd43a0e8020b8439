"""How several tasks reach what they work with: the release in the cluster, or what serves the versions."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from scripts.host.errors import TaskFailure

if TYPE_CHECKING:
    from scripts.cluster.helm import Helm
    from scripts.cluster.kubectl import Kubectl
    from scripts.cluster.target import Target
    from scripts.versions.release import Release
    from scripts.versions.target import OneServer


@contextlib.contextmanager
def reached(release: str, namespace: str, context: str) -> "Iterator[tuple[Target, Kubectl, Helm]]":
    """Give what reaches the deployment, after saying where that is."""
    import attrs

    from scripts.cluster.helm import Helm
    from scripts.cluster.kubectl import Kubectl
    from scripts.cluster.patience import Patience
    from scripts.cluster.pinned import pinned
    from scripts.cluster.target import Target
    from scripts.host import settings
    from scripts.host.shell import LocalRunner
    from scripts.host.terminal import step

    loaded = settings.load()
    target = Target.from_settings(loaded, release=release, namespace=namespace, context=context)
    runner = LocalRunner()
    with pinned(runner, context=target.context) as where:
        step(f"Release {target.release}, namespace {target.namespace}, context {where}")
        patience = Patience.from_settings(loaded, tell=step)
        kubectl = Kubectl(runner, where=where, namespace=target.namespace, patience=patience)
        helm = Helm(runner, where=where, namespace=target.namespace, patience=patience)
        yield attrs.evolve(target, context=where.context), kubectl, helm


@contextlib.contextmanager
def served(
    url: str, release: str, namespace: str, context: str, *, only_looks: bool = False
) -> "Iterator[OneServer | Release]":
    """Give what serves the versions: the server at *url*, or the release in the cluster.

    What a killed deployment left in the release is mended first, unless the caller *only_looks*.

    Raises:
        TaskFailure: If both are named, or what is named cannot be reached.
    """
    from scripts.cluster.agents import agents
    from scripts.cluster.release.chart import Chart
    from scripts.cluster.release.mending import mend
    from scripts.cluster.release.rollout import Show
    from scripts.host import settings
    from scripts.host.clock import Clock
    from scripts.host.terminal import step
    from scripts.versions.release import Release
    from scripts.versions.target import OneServer

    if url:
        if release or namespace or context:
            raise TaskFailure(
                "--url names one server that `invoke serve` runs, and --release, --namespace and --context name a "
                "release in a cluster: give one of the two."
            )
        yield OneServer.parse(url)
        return
    chart = Chart.from_settings(settings.load())
    with (
        reached(release, namespace, context) as (target, kubectl, helm),
        agents(kubectl, target, progress=step) as found,
    ):
        if not only_looks:
            mend(helm, kubectl, target, show=Show(line=step, status=lambda _: None), clock=Clock())
        yield Release(target=target, kubectl=kubectl, helm=helm, chart=chart, agents=found, progress=step)
