"""A new version, tried on a growing share of the calls."""

import shlex
from typing import TYPE_CHECKING

from invoke import Context

from scripts.host.errors import TaskFailure
from scripts.tasks import flags
from scripts.tasks.calling import task
from scripts.tasks.flags import WHERE, named, number, seconds
from scripts.tasks.reaching import served
from scripts.tasks.versions import TIMEOUT, URL, changed, into_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.canary.job import Ended, Job
    from scripts.canary.order import Wish
    from scripts.versions.release import Release

_FOR, _KEEP, _TIMEOUT_S = "2h", "1", "600"


@task(
    help={
        "model": "The model's name.",
        "version": "The version to try: a version that is published or in the image, and not served yet.",
        "config": "File with the steps and limits (default: canary.toml).",
        "for_": "If nobody can tell after this time (default: 2h), the canary ends without a promotion: 90s, 30m.",
        "keep": "How many former versions stay served after the promotion (default: 1).",
        "url": URL,
        "timeout": TIMEOUT,
        "compared": "What `invoke compare --json` printed of both versions: it bounds how many answers may change.",
        "job": "Let a Job in the cluster judge, from the release's own image; it goes on if this machine goes away.",
        "json": "Print every decision with its figures as JSON at the end, for scripts.",
        **WHERE,
    }
)
def canary(
    c: Context,
    model: str = "",
    version: str = "",
    config: str = "",
    for_: str = _FOR,
    keep: str = _KEEP,
    url: str = "",
    timeout: str = _TIMEOUT_S,
    compared: str = "",
    job: bool = False,
    json: bool = False,
    release: str = "",
    namespace: str = "",
    context: str = "",
) -> None:
    """Give a version a growing share of the calls, then promote it; if it serves callers worse, take it back.

    Exit status 0: promoted. 1: aborted, or it could not be tried. 3: nobody can tell. Ctrl-C takes everything back, but
    with --job the canary goes on.
    """
    from scripts.canary.compared import Compared
    from scripts.canary.order import Wish
    from scripts.canary.places import keeper, servers
    from scripts.canary.run import Canary
    from scripts.canary.settings import Settings
    from scripts.canary.view import COLUMNS
    from scripts.cluster import serving
    from scripts.host import settings
    from scripts.host.terminal import reporting, say, step, watching
    from scripts.versions.publish import digest_in_store
    from scripts.versions.target import OneServer

    with reporting():
        named(model, "canary")
        if not version:
            raise TaskFailure(f"Which version? For example: invoke canary --model {model} --version 2")
        chosen, kept = number(version, name="version"), number(keep, name="keep", least=0, most=100)
        how = Settings.read(flags.path(config) if config else None)
        found = Compared.read(flags.path(compared)) if compared else None
        how = found.bounding(how, model=model, version=chosen) if found else how
        limit, roll = seconds(for_, name="for"), number(timeout, name="timeout")
        if job and url:
            raise TaskFailure("--job starts a Job in the cluster, and --url names a server that `invoke serve` runs.")
        digest = digest_in_store(settings.load(), model, chosen, progress=step)
        digest = found.candidate_digest(digest) if found else digest
        wish = Wish(
            model=model,
            version=chosen,
            digest=digest,
            settings=how,
            keep=kept,
            limit_s=limit,
            roll_s=roll,
            compared=found,
        )
        with served(url, release, namespace, context) as target:
            if not isinstance(target, OneServer) and job:
                again = options(config=config, for_=for_, keep=keep, timeout=timeout, compared=compared, json=json)
                following, judged = in_the_cluster(target, wish, again)
                if json:
                    record, _ = keeper(target, model, line=step).read()
                    if record is not None and judged.kept(record, chosen):
                        say(record.told(record.verdict or "ended", judged.said))
                if judged.status == 0:
                    (plan,) = serving.planned(target.kubectl, target.target).values()
                    into_file(plan, say=step if json else say)
                following.told()
                end(judged.status, judged.said, say=step if json else say)
                return
            with watching() as (line, show):
                result = Canary(
                    target=target,
                    servers=lambda: servers(target),
                    wish=wish,
                    keeper=keeper(target, model, line=line),
                    line=line,
                    show=lambda view: show(view.title, COLUMNS, view.rows),
                ).run()
            if json:
                say(result.as_json())
            if result.promoted is not None:
                changed(target, *result.promoted, model, say=step if json else say)
        end(result.status, result.said, say=step if json else say)


def options(*, config: str, for_: str, keep: str, timeout: str, compared: str, json: bool) -> str:
    """Return the options that were given to a canary and that do not say where, each after a blank."""
    given = {
        "config": config,
        "for": "" if for_ == _FOR else for_,
        "keep": "" if keep == _KEEP else keep,
        "timeout": "" if timeout == _TIMEOUT_S else timeout,
        "compared": compared,
    }
    return "".join(f" --{name} {shlex.quote(value)}" for name, value in given.items() if value) + " --json" * json


def in_the_cluster(target: "Release", wish: "Wish", given: str) -> "tuple[Job, Ended]":
    """Let a Job judge the canary, or find the one that does, and follow it to its end.

    Args:
        target: The release.
        wish: What is to be tried.
        given: The options of the task that say how, for the command that follows the Job again.

    Raises:
        TaskFailure: If it cannot be tried, or the cluster does not take the Job.
    """
    from scripts.canary import begin, manifests
    from scripts.canary.job import Job
    from scripts.canary.order import Order
    from scripts.cluster.release.plan_map import PlanMap
    from scripts.host.terminal import step
    from scripts.versions import change

    deployment = target.deployment()
    name = deployment["metadata"]["name"]
    job = Job(kubectl=target.kubectl, name=manifests.name(name, wish.model), line=step)
    if not job.find(wish.version):
        state = target.state()
        change.promoted(state, wish.model, wish.version, keep=wish.keep, digest=wish.digest)
        begin.stable(state, wish.model, wish.version, server=target.name)
        order = Order(
            wish=wish,
            release=target.target.release,
            namespace=target.target.namespace,
            revision=target.revision,
            plan_map=PlanMap.read(target.kubectl, target.target).name,
            deployment=name,
            job=job.name,
        )
        job.start(deployment, order)
        target.agents.close()  # nobody here asks them any more
    again = f"invoke canary --job --model {wish.model} --version {wish.version}{given}{target.target.options}"
    return job, job.follow(again)


def end(status: int, said: str, *, say: "Callable[[str], None]") -> None:
    """Say what came of a canary, and end with its status."""
    if status not in (0, 3):
        raise TaskFailure(said)
    say(said)
    if status:
        raise SystemExit(status)
