"""A login to a registry that leaves nothing behind."""

import contextlib
import re
from collections.abc import Iterator

from scripts.host import temporary
from scripts.host.secret import Secret
from scripts.host.shell import Command, Runner
from scripts.image import says
from scripts.registry.ecr import USER, ImageRepository


@contextlib.contextmanager
def logged_in(repository: ImageRepository, password: Secret, *, runner: Runner) -> Iterator[dict[str, str]]:
    """Give the environment in which docker is logged in to *repository*; afterwards nothing of it is left.

    ``docker login`` writes the password down where it finds its configuration, so that is a folder for this alone,
    which nobody else can open.

    Raises:
        TaskFailure: If the registry does not take the password.
    """
    with temporary.folder("push") as folder:
        environment = {"DOCKER_CONFIG": str(folder), **_same_engine(runner)}
        login = ("docker", "login", "--username", USER, "--password-stdin", repository.host)
        done = runner.capture(Command(login, env=environment, stdin=password), timeout_s=60)
        if done.status != 0:
            raise says.push_failed(done.said, doing=f"log in to {repository.host}", registry=repository.host)
        yield environment


def _same_engine(runner: Runner) -> dict[str, str]:
    """Return what keeps docker on the engine that it uses now: which one stands in the configuration we set aside."""
    template = "{{.Name}} {{.Endpoints.docker.Host}}"
    done = runner.capture(Command(("docker", "context", "inspect", "--format", template)))
    # Whatever else a wrapper prints is no address.
    told = re.fullmatch(r"(\S+) ([a-z]+://\S+)", done.output.strip())
    return {"DOCKER_HOST": told[2]} if done.status == 0 and told and told[1] != "default" else {}
