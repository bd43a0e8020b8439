"""This machine: what is there, and what is missing."""

from invoke import Context

from scripts.host.errors import TaskFailure
from scripts.tasks.calling import task
from scripts.tasks.flags import REPOSITORY, path


@task(help={"repository": "Folder with the packaged models (default: model_repository)."})
def check_env(c: Context, repository: str = REPOSITORY) -> None:
    """Check the tools, settings and models on this machine, and say what to do about each gap."""
    from scripts.check_env import check
    from scripts.host import settings
    from scripts.host.shell import LocalRunner
    from scripts.host.terminal import reporting, table

    with reporting():
        known = settings.load()
        rows = check(known, root=settings.ROOT, repository=path(repository), runner=LocalRunner())
        table("Environment", ("", "state", "found", "what to do"), [(r.what, r.state, r.found, r.advice) for r in rows])
        if any(row.state == "failed" for row in rows):
            raise TaskFailure("Mend what is marked as failed.")
