"""A release in a cluster: deployed, looked at, removed."""

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from invoke import Context

from scripts.host.errors import TaskFailure
from scripts.tasks.calling import task
from scripts.tasks.flags import WHERE, number
from scripts.tasks.reaching import reached

if TYPE_CHECKING:
    from scripts.cluster.release.chart import Installation
    from scripts.cluster.release.outcome import Outcome
    from scripts.cluster.target import Target
    from scripts.host.shell import Command


@task(
    help={
        "values": "File with values of the chart (default: helm/values.yaml). May be repeated; the last file wins.",
        "set_": "One value, KEY=VALUE. May be repeated; wins over files.",
        "image": "The image, HOST/NAME@sha256:DIGEST (default: the image that push-triton wrote to build/image.json).",
        "cpu": "Run without GPUs: --set gpu.enabled=false.",
        "take_back": "If a later plan was promoted: deploy the files' serving plan (default: ask, or keep the later).",
        "timeout": "Seconds that the pods may take to become ready (default: 900).",
        "dry_run": "Only print the commands, and the changes that they would make.",
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
    take_back: bool = False,
    timeout: str = "900",
    dry_run: bool = False,
    namespace: str = "",
    release: str = "",
    context: str = "",
) -> None:
    """Deploy the pushed image to a cluster with Helm and wait for its pods; if they do not come up, go back."""
    from scripts.cluster import serving
    from scripts.cluster.helm import Helm
    from scripts.cluster.kubectl import Kubectl
    from scripts.cluster.release.access import require_tools
    from scripts.cluster.release.chart import Chart, Installation, values_files
    from scripts.cluster.release.settled import TakesBackError
    from scripts.cluster.target import Target
    from scripts.host import settings
    from scripts.host.shell import LocalRunner
    from scripts.host.terminal import confirm, difference, is_asked, reporting, say, table
    from scripts.image import record
    from scripts.registry.reference import Reference

    with reporting():
        loaded = settings.load()
        target = Target.from_settings(loaded, release=release, namespace=namespace, context=context)
        plan = serving.place(loaded)
        installation = Installation(
            chart=Chart.from_settings(loaded),
            image=Reference.parse(image) if image else record.read(),
            files=(*values_files(values), *([str(plan)] if plan.exists() else [])),
            values=set_,
            cpu=cpu,
        )
        limit = number(timeout, name="timeout")
        require_tools(Kubectl(LocalRunner()), Helm(LocalRunner(), namespace=target.namespace))
        decided = True if take_back else None if is_asked() else False
        deploy = partial(deployed, target, installation, timeout_s=None if dry_run else limit)
        try:
            outcome, commands, changes = deploy(take_back=decided)
        except TakesBackError as found:
            say(str(found))
            took = confirm("Take the later plan back?", otherwise="--take-back does it without asking.")
            outcome, commands, changes = deploy(take_back=took)
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


def deployed(
    target: "Target", installation: "Installation", *, timeout_s: int | None, take_back: bool | None
) -> "tuple[Outcome | None, list[Command], list[str]]":
    """Deploy within *timeout_s* and return what runs then; without, what would be done, and what would change."""
    import attrs

    from scripts.cluster.patience import Patience
    from scripts.cluster.pinned import pinned
    from scripts.cluster.release.deploy import Deployer
    from scripts.cluster.release.rollout import Show
    from scripts.host import settings
    from scripts.host.shell import LocalRunner
    from scripts.host.terminal import waiting

    loaded, runner = settings.load(), LocalRunner()
    with pinned(runner, context=target.context) as where, waiting() as (line, status):
        deployer = Deployer(
            target=attrs.evolve(target, context=where.context),
            where=where,
            installation=installation,
            settings=loaded,
            runner=runner,
            show=Show(line=line, status=status),
            take_back=take_back,
            patience=Patience.from_settings(loaded, tell=line),
        )
        return (None, *deployer.plan()) if timeout_s is None else (deployer.deploy(timeout_s=timeout_s), [], [])


@task(help={**WHERE, "json": "Print everything as JSON, for scripts."})
def status(c: Context, release: str = "", namespace: str = "", context: str = "", json: bool = False) -> None:
    """Show the deployment: release, pods, GPUs, autoscaler, serving plan, each server's models, and what callers saw.

    If the release is there, the exit status is 0, whatever its state. If it is not there, or the cluster does not
    answer, the exit status is 1.
    """
    from scripts.cluster.status import look, tables
    from scripts.host.terminal import reporting, say, step, table

    with reporting(), reached(release, namespace, context) as (target, kubectl, helm):
        found = look.look(kubectl, helm, target, progress=step)
        if json:
            say(tables.as_json(found))
            return
        table("Deployment", ("", ""), tables.release_rows(found))
        table("Pods", tables.POD_COLUMNS, tables.pod_rows(found, now=datetime.now(UTC)))
        if rows := tables.plan_rows(found):
            table("Serving plan", tables.PLAN_COLUMNS, rows)
        table(tables.MODELS, tables.MODEL_COLUMNS, tables.model_rows(found))
        if rows := tables.caller_rows(found):
            table(tables.CALLERS, tables.CALLER_COLUMNS, rows)
        for slow in found.slow:
            say(str(slow))


@task(
    help={
        **WHERE,
        "yes": "Remove without asking.",
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
    """Name everything that the deployment has made, ask, remove it, and check that nothing is left."""
    from scripts.cluster import serving
    from scripts.cluster.release import destroy, namespaces
    from scripts.host import settings
    from scripts.host.terminal import confirm, is_asked, reporting, say, step, table

    with reporting(), reached(release, namespace, context) as (target, kubectl, helm):
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
                say(namespaces.intended(kubectl, target, gone=removal.names if removal else ()))
            return
        if removal is not None:
            if not yes and not confirm("Remove all this?", otherwise="--yes removes it without asking."):
                raise TaskFailure("Nothing was removed.")
            destroy.remove(removal, kubectl=kubectl, helm=helm, progress=step)
            say(f"{target.release} is removed, and nothing of it is left.")
            if (plan := serving.place(settings.load())).exists():
                say(
                    f"{serving.shown(plan)} stays: a next deployment serves the versions that it names. Remove the "
                    "file if you do not want that."
                )

        def agree(question: str) -> bool:
            return not yes and is_asked() and confirm(question, otherwise="")

        if became := namespaces.settle_namespace(kubectl, target, wanted=with_namespace, agree=agree, progress=step):
            say(became)
