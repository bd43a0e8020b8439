"""Versions in production: seen, promoted, rolled back."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from invoke import Context

from scripts.host.errors import TaskFailure
from scripts.tasks.calling import task
from scripts.tasks.flags import WHERE, named, number, optional_number
from scripts.tasks.reaching import served

if TYPE_CHECKING:
    from scripts.agent.plan import Plan
    from scripts.server.endpoint import Endpoint
    from scripts.server.seen import State
    from scripts.versions.release import Release
    from scripts.versions.roll import Outcome
    from scripts.versions.target import OneServer

URL = "Use a server that `invoke serve` runs, instead of the release in the cluster: HOST or HOST:HTTP_PORT."
TIMEOUT = "Seconds that the change may take (default: 600). If it takes longer, the task puts the former plan back."
ONLY_FILE = "Only write the plan into the file for git (TRITON_PLAN_FILE, or helm/serving.yaml), and touch no cluster."


@task(
    help={
        "url": URL,
        "model": "Show only the versions of this model.",
        "json": "Print everything as JSON, for scripts.",
        **WHERE,
    }
)
def versions(
    c: Context,
    url: str = "",
    model: str = "",
    json: bool = False,
    release: str = "",
    namespace: str = "",
    context: str = "",
) -> None:
    """Show each version: in the store, in the image, planned, served by how many pods, and what callers saw of it."""
    from scripts.host import settings
    from scripts.host.terminal import reporting, say, step, table
    from scripts.versions.stores import open_store
    from scripts.versions.table import COLUMNS, as_json, look

    with reporting(), contextlib.ExitStack() as stack:
        loaded = settings.load()
        store = open_store(loaded) if loaded.get("MODEL_STORE") else None
        try:
            servers, absent = stack.enter_context(seen(url, release, namespace, context))
        except TaskFailure as error:
            if store is None or url or release or namespace or context:
                raise
            step(f"Only the store is looked at. {error}")
            servers, absent = [], 0
        found = look(store, servers, absent=absent, model=model)
        if model and not found:
            known = ", ".join(sorted({one.model for one in look(store, servers)})) or "none"
            raise TaskFailure(f"No version of a model {model!r} is known here. Known models: {known}.")
        if json:
            say(as_json(found))
        else:
            table("Versions", COLUMNS, [one.row for one in found])


@task(
    help={
        "model": "The model's name.",
        "version": "The version that callers get from now on if they name none.",
        "keep": "How many former versions stay served, and can answer at once after a rollback (default: 1).",
        "url": URL,
        "timeout": TIMEOUT,
        "only_file": ONLY_FILE,
        **WHERE,
    }
)
def promote(
    c: Context,
    model: str = "",
    version: str = "",
    keep: str = "1",
    url: str = "",
    timeout: str = "600",
    only_file: bool = False,
    release: str = "",
    namespace: str = "",
    context: str = "",
) -> None:
    """Check a version on its golden images, then serve it to all callers who name none; no pod restarts."""
    from scripts.host import settings
    from scripts.host.terminal import reporting, step
    from scripts.versions import change
    from scripts.versions.publish import digest_in_store

    with reporting():
        named(model, "promote")
        if not version:
            raise TaskFailure(f"Which version? For example: invoke promote --model {model} --version 2")
        chosen, kept = number(version, name="version"), number(keep, name="keep", least=0, most=100)
        limit = number(timeout, name="timeout")
        digest = digest_in_store(settings.load(), model, chosen, progress=step)

        def make(was: "State") -> "Plan":
            return change.promoted(was, model, chosen, keep=kept, digest=digest)

        if only_file:
            write_file(model, make, url or release or namespace or context)
            return
        with served(url, release, namespace, context) as target:
            was = target.state()
            plan = without_canary(target, was, make(was), model, doing="promote")
            roll(target, was, plan, model, limit)


@task(
    help={
        "model": "The model's name.",
        "to": "The version to go back to (default: the version before the last change).",
        "url": URL,
        "timeout": TIMEOUT,
        "only_file": ONLY_FILE,
        **WHERE,
    }
)
def rollback(
    c: Context,
    model: str = "",
    to: str = "",
    url: str = "",
    timeout: str = "600",
    only_file: bool = False,
    release: str = "",
    namespace: str = "",
    context: str = "",
) -> None:
    """Go back to an older version for all callers who name none; if it is still served, it answers at once."""
    from scripts.host.terminal import reporting
    from scripts.versions import change
    from scripts.versions.target import OneServer

    with reporting():
        named(model, "rollback")
        chosen, limit = optional_number(to, name="to"), number(timeout, name="timeout")
        if only_file:
            write_file(
                model, lambda was: change.rolled_back(was, model, to=chosen), url or release or namespace or context
            )
            return
        with served(url, release, namespace, context) as target:
            was = target.state()
            if chosen is None and not isinstance(target, OneServer):
                was = target.recall(was, model)
            plan = change.rolled_back(was, model, to=chosen)
            roll(target, was, without_canary(target, was, plan, model, doing="rollback"), model, limit)


@contextlib.contextmanager
def seen(url: str, release: str, namespace: str, context: str) -> "Iterator[tuple[list[tuple[State, Endpoint]], int]]":
    """Give what each server serves, with its address, and how many more could not be asked.

    Raises:
        TaskFailure: If what is named cannot be reached.
    """
    from scripts.cluster.serving import told
    from scripts.host.terminal import step
    from scripts.versions.target import OneServer

    with served(url, release, namespace, context, only_looks=True) as target:
        if isinstance(target, OneServer):
            state = target.state()
            step(f"{target.name} follows {told(state.plan)}")
            asked = [(target.name, state, target.triton)]
            absent = 0
        else:
            asked, absent = target.look()
        for name, state, _ in asked:
            for problem in (state.problem, state.restart_needed):
                if problem:
                    step(f"{name}: {problem}")
        yield [(state, triton) for _, state, triton in asked], absent


def write_file(model: str, make: "Callable[[State], Plan]", elsewhere: str) -> None:
    """Write the plan that *make* makes of the one in the files; *elsewhere* is a server or a release that was named.

    Raises:
        TaskFailure: If one was, or the files cannot be used.
    """
    from scripts.cluster import serving
    from scripts.host import settings
    from scripts.host.terminal import say
    from scripts.versions import written

    if elsewhere:
        raise TaskFailure("--only-file touches no server and no cluster: leave the flags out that name one.")
    path = serving.place(settings.load())
    plan = make(written.state(path, model))
    serving.write(path, plan)
    say(f"{serving.shown(path)} says now {serving.told(plan)}")
    say("Commit it; the pods follow what Argo CD, Flux or `invoke deploy-triton` bring into the cluster.")


def without_canary(target: "OneServer | Release", was: "State", plan: "Plan", model: str, *, doing: str) -> "Plan":
    """End a canary of the model, if there is one, and return *plan* without its candidate.

    Raises:
        TaskFailure: If it cannot be ended everywhere.
    """
    from scripts.canary import ending
    from scripts.canary.places import keeper, servers
    from scripts.canary.routes import Routes
    from scripts.host.terminal import say, step
    from scripts.versions import change

    if model not in was.models:
        return plan
    kept = keeper(target, model, line=step)
    routes = Routes(servers=lambda: servers(target), model=model, keeper=kept, expires_s=0.0, line=step)
    if told := ending.end_before(routes, doing=doing):
        say(told)
        return change.without_candidate(plan, model)
    return plan


def roll(target: "OneServer | Release", was: "State", plan: "Plan", model: str, timeout_s: int) -> None:
    """Let *target* follow *plan*, and print what came of it."""
    from scripts.host.terminal import say, step, table
    from scripts.versions.roll import COLUMNS, Roll

    done = Roll(target=target, model=model, was=was, timeout_s=timeout_s, progress=step).to(plan)
    table(f"{model} on {target.name}", COLUMNS, done.rows)
    changed(target, plan, done, model, say=say)


def changed(
    target: "OneServer | Release", plan: "Plan", done: "Outcome", model: str, *, say: "Callable[[str], None]"
) -> None:
    """Say since when *target* follows *plan*, and write the plan of a release into the file for git."""
    from scripts.versions.target import OneServer

    for line in done.told(model, plan):
        say(line)
    if not isinstance(target, OneServer):
        into_file(plan, say=say)


def into_file(plan: "Plan", *, say: "Callable[[str], None]") -> None:
    """Write the plan of a release into the file for git, and say so."""
    from scripts.cluster import serving
    from scripts.host import settings

    path = serving.place(settings.load())
    serving.write(path, plan)
    say(f"{serving.shown(path)} says it too: a commit of it keeps git and cluster together.")
