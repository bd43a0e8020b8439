"""Versions in production: published, promoted, rolled back."""

from pathlib import Path
from typing import TYPE_CHECKING

from invoke import Context, task

from scripts.host.errors import TaskFailure
from scripts.tasks.flags import REPOSITORY, number, optional_number

if TYPE_CHECKING:
    from scripts.agent.plan import Plan
    from scripts.versions.seen import State
    from scripts.versions.target import OneServer

URL = "The server that `invoke serve` runs: HOST or HOST:HTTP_PORT."
TIMEOUT = "Seconds that the change may take before it is put back."


@task
def create_store(c: Context) -> None:
    """Make the model store that MODEL_STORE names, or check the one that is there: encrypted, private, versioned."""
    from scripts.agent.folder import folder_of
    from scripts.agent.s3 import bucket_of
    from scripts.host import settings
    from scripts.host.terminal import reporting, say, step, table
    from scripts.registry import aws, bucket
    from scripts.versions.stores import address_in, failing

    with reporting():
        loaded = settings.load()
        address = address_in(loaded)
        with failing():
            folder, place = folder_of(address), bucket_of(address)
        if folder is not None:
            there = folder.is_dir()
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise TaskFailure(f"The folder {folder} cannot be made: {error.strerror}.") from error
            say(f"{folder} {'is there already' if there else 'is made'}; whoever may write there may publish.")
            return
        assert place is not None, "the settings took it"
        access = aws.open_access(loaded)
        made = bucket.create(access, place[0], progress=step)
        found = bucket.check(access, place[0])
        table(f"Bucket {place[0]}", ("", "state"), [(one.what, "ok" if one.found else "failed") for one in found])
        if wrong := [one for one in found if not one.found]:
            raise TaskFailure(
                f"The bucket {place[0]} is not made by this task, so it is not changed by it either. Make it fit:\n"
                + "\n".join(f"  aws s3api {one.mend}" for one in wrong)
            )
        say(f"{address} {'is made' if made else 'is as it has to be'}. What publishing and pods need: docs/aws.md.")


@task(
    help={
        "model": "The model's name.",
        "version": "Its number (default: the highest that is packaged).",
        "repository": "Folder with the packaged models.",
    }
)
def publish_model(c: Context, model: str = "", version: str = "", repository: str = REPOSITORY) -> None:
    """Upload a packaged version to the model store; what is there already is not sent again, and never replaced."""
    from scripts.host import settings
    from scripts.host.terminal import reporting, say, upload_bar
    from scripts.versions.publish import publish
    from scripts.versions.stores import open_store

    with reporting():
        chosen = optional_number(version, name="version")
        named(model, "publish-model")
        store = open_store(settings.load())
        with upload_bar() as progress:
            done = publish(Path(repository), store, model=model, version=chosen, progress=progress)
        what = f"{model} version {done.version.version}"
        say(f"{what} is {'published' if done.new else 'there already'}: {store.objects.address}")
        say(f"sha256 {done.version.digest}")
        if done.new:
            say(f"Serve it: invoke promote --model {model} --version {done.version.version} --url HOST")


@task(help={"url": URL, "model": "Only this model's.", "json": "Print all of it as JSON instead, for scripts."})
def versions(c: Context, url: str = "", model: str = "", json: bool = False) -> None:
    """Show each version: in the store, in the image, planned, served, its sha256, requests and failures."""
    from scripts.host import settings
    from scripts.host.terminal import reporting, say, step, table
    from scripts.versions.stores import open_store
    from scripts.versions.table import COLUMNS, as_json, look
    from scripts.versions.target import choose

    with reporting():
        loaded = settings.load()
        store = open_store(loaded) if loaded.get("MODEL_STORE") else None
        if store is None and not url:
            raise TaskFailure(
                "Nothing to look at. Give --url HOST of a server that `invoke serve` runs, or set MODEL_STORE, or both."
            )
        servers = []
        if url:
            target = choose(url)
            state = target.state()
            servers = [(state, target.triton)]
            step(f"{target.name} follows plan {state.plan.generation}, {state.plan.digest[:12]}")
            for problem in (state.problem, state.restart_needed):
                if problem:
                    step(f"{target.name}: {problem}")
        found = look(store, servers, model=model)
        if json:
            say(as_json(found))
        else:
            table("Versions", COLUMNS, [one.row for one in found])


@task(
    help={
        "model": "The model's name.",
        "version": "The version that callers who name none get from now on.",
        "keep": "How many former versions stay served, so that going back takes no time.",
        "url": URL,
        "timeout": TIMEOUT,
    }
)
def promote(
    c: Context, model: str = "", version: str = "", keep: str = "1", url: str = "", timeout: str = "600"
) -> None:
    """Serve a version to all callers who name none, once it has answered its golden images; no restart."""
    from scripts.host import settings
    from scripts.host.terminal import reporting, step
    from scripts.versions import change
    from scripts.versions.publish import digest_in_store
    from scripts.versions.target import choose

    with reporting():
        named(model, "promote")
        if not version:
            raise TaskFailure(f"Which version? For example: invoke promote --model {model} --version 2 --url localhost")
        chosen, kept = number(version, name="version"), number(keep, name="keep", least=0, most=100)
        limit = number(timeout, name="timeout")
        target = choose(url)
        digest = digest_in_store(settings.load(), model, chosen, progress=step)
        was = target.state()
        roll(target, was, change.promoted(was, model, chosen, keep=kept, digest=digest), model, limit)


@task(
    help={
        "model": "The model's name.",
        "to": "The version to go back to (default: what was served before the last change).",
        "url": URL,
        "timeout": TIMEOUT,
    }
)
def rollback(c: Context, model: str = "", to: str = "", url: str = "", timeout: str = "600") -> None:
    """Serve an older version to all callers who name none; at once, where it is still served."""
    from scripts.host.terminal import reporting
    from scripts.versions import change
    from scripts.versions.target import choose

    with reporting():
        named(model, "rollback")
        chosen, limit = optional_number(to, name="to"), number(timeout, name="timeout")
        target = choose(url)
        was = target.state()
        roll(target, was, change.rolled_back(was, model, to=chosen), model, limit)


def roll(target: "OneServer", was: "State", plan: "Plan", model: str, timeout_s: int) -> None:
    """Let *target* follow *plan*, and print what came of it."""
    from scripts.host.terminal import say, step, table
    from scripts.versions.roll import COLUMNS, Roll

    done = Roll(target=target, model=model, was=was, timeout_s=timeout_s, progress=step).to(plan)
    table(f"{model} on {target.name}", COLUMNS, done.rows)
    highest = max(plan.models[model].serve)
    say(f"Callers who name no version of {model} get version {highest} since {done.switched_s:.2f} s after the order;")
    say(f"everything that is planned was served after {done.seconds:.2f} s.")


def named(model: str, asked: str) -> None:
    """Check that a model is named.

    Raises:
        TaskFailure: If none is.
    """
    if not model:
        raise TaskFailure(f"Which model? For example: invoke {asked} --model resnet50")
