"""A new version, tried on a growing share of the calls."""

from typing import TYPE_CHECKING

from invoke import Context

from scripts.host.errors import TaskFailure
from scripts.tasks import flags
from scripts.tasks.calling import task
from scripts.tasks.flags import WHERE, named, number, seconds
from scripts.tasks.versions import TIMEOUT, URL, changed, served

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.canary.run import Result


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
        "json": "Print every decision with its figures as JSON at the end, for scripts.",
        **WHERE,
    }
)
def canary(
    c: Context,
    model: str = "",
    version: str = "",
    config: str = "",
    for_: str = "2h",
    keep: str = "1",
    url: str = "",
    timeout: str = "600",
    compared: str = "",
    json: bool = False,
    release: str = "",
    namespace: str = "",
    context: str = "",
) -> None:
    """Give a version a growing share of the calls, then promote it; if it serves callers worse, take it back.

    Exit status 0: promoted. 1: aborted, or it could not be tried. 3: nobody can tell. Ctrl-C takes everything back.
    """
    from scripts.canary.compared import Compared
    from scripts.canary.places import keeper, servers
    from scripts.canary.run import Canary
    from scripts.canary.settings import Settings
    from scripts.canary.view import COLUMNS
    from scripts.host import settings
    from scripts.host.terminal import reporting, say, step, watching
    from scripts.versions.publish import digest_in_store

    with reporting():
        named(model, "canary")
        if not version:
            raise TaskFailure(f"Which version? For example: invoke canary --model {model} --version 2")
        chosen, kept = number(version, name="version"), number(keep, name="keep", least=0, most=100)
        how = Settings.read(flags.path(config) if config else None)
        found = Compared.read(flags.path(compared)) if compared else None
        how = found.bounding(how, model=model, version=chosen) if found else how
        limit, roll = seconds(for_, name="for"), number(timeout, name="timeout")
        digest = digest_in_store(settings.load(), model, chosen, progress=step)
        digest = found.candidate_digest(digest) if found else digest
        with served(url, release, namespace, context) as target:
            with watching() as (line, show):
                result = Canary(
                    target=target,
                    servers=lambda: servers(target),
                    model=model,
                    version=chosen,
                    digest=digest,
                    settings=how,
                    keep=kept,
                    limit_s=limit,
                    roll_s=roll,
                    keeper=keeper(target, model, line=line),
                    line=line,
                    show=lambda view: show(view.title, COLUMNS, view.rows),
                    compared=found,
                ).run()
            if json:
                say(result.as_json())
            if result.promoted is not None:
                changed(target, *result.promoted, model, say=step if json else say)
        end(result, say=step if json else say)


def end(result: "Result", *, say: "Callable[[str], None]") -> None:
    """Say what came of a canary, and end with its status."""
    if result.verdict == "aborted":
        raise TaskFailure(f"The canary is aborted. {result.why}")
    if result.status:
        say(f"The canary ends without a promotion. {result.why}")
        raise SystemExit(result.status)
    say(result.why)
