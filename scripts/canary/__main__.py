"""The judge of a canary in a pod of its own, as `invoke canary --job` runs it: ``python3 -m scripts.canary ORDER``."""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

from scripts.canary.kept import InFile, InRelease
from scripts.canary.manifests import RBAC
from scripts.canary.order import Order
from scripts.canary.run import Canary
from scripts.canary.servers import Server
from scripts.cluster.admin import ADMIN_HEADER
from scripts.cluster.api import Api
from scripts.cluster.says import ClusterFailure
from scripts.cluster.target import Target
from scripts.host.errors import TaskFailure
from scripts.host.secret import Secret
from scripts.host.stopping import stoppable
from scripts.versions.inside import Inside

# Neither is a verdict: the Job starts another pod.
STOPPED, BROKEN = 130, 70
# kubelet reads here what a container says at its end; a longer text is cut.
_LAST_WORDS, _MOST_BYTES = Path("/dev/termination-log"), 4096
# A file that lives as long as the pod: the ConfigMap of the release has what another pod goes on with.
_FILE = Path("/tmp/canary.json")


def main(
    order: Order,
    api: Api,
    environment: Mapping[str, str],
    *,
    line: Callable[[str], None],
    last_words: Path = _LAST_WORDS,
    file: Path = _FILE,
) -> int:
    """Judge one canary, and return the exit status; what is said at the end goes where Kubernetes keeps it."""
    wish, key = order.wish, environment.get("TRITON_ADMIN_KEY")
    target = Inside(
        api=api,
        target=Target(release=order.release, namespace=order.namespace),
        first=order.revision,
        plan_map=order.plan_map,
        deployment=order.deployment,
        headers={ADMIN_HEADER: Secret(key)} if key else {},
        progress=line,
    )
    canary = Canary(
        target=target,
        servers=lambda: [Server.beside(agent, target.ask) for agent in target.agents()],
        wish=wish,
        keeper=InRelease(file=InFile(path=file, line=line), held=target.held, model=wish.model),
        line=line,
        show=lambda _: None,
    )
    try:
        with stoppable():
            if not _is_wanted(api, order.job):  # until now, no signal could end the first process of a container
                raise KeyboardInterrupt("The Job was removed before its judge began.")
            result = canary.run()
        status, said = result.status, result.said
        if result.promoted is not None:
            for told in result.promoted[1].told(wish.model, result.promoted[0]):
                line(told)
    except TaskFailure as error:
        status, said = 1, str(error)
    except KeyboardInterrupt as error:
        status, said = STOPPED, str(error)
    except Exception as error:  # whatever it is, it says nothing about the version
        line(traceback.format_exc().rstrip())
        status, said = BROKEN, f"The judge itself has failed: {error!r}"
    line(said)
    with contextlib.suppress(OSError):  # only kubelet makes that file
        last_words.write_bytes(said.encode()[:_MOST_BYTES])
    _leave(api, order.job, status)
    return status


def _leave(api: Api, job: str, status: int) -> None:
    """Give the judge's rights back, if no other pod of its Job goes on: its other objects go with the Role."""
    # If the node is drained, for example, another pod goes on, or begins again.
    if status not in (STOPPED, BROKEN) or not _is_wanted(api, job):
        with contextlib.suppress(ClusterFailure):
            api.delete("roles", job, group=RBAC)


def _is_wanted(api: Api, job: str) -> bool:
    """Return whether the Job is there, and nobody removes it; if that is not known, it is."""
    try:
        return "deletionTimestamp" not in api.get("jobs", job, group="batch/v1")["metadata"]
    except ClusterFailure as error:
        return error.cause != "not found"


def _line(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    given = Order.parse(sys.argv[1])
    sys.exit(main(given, Api.inside(os.environ, given.namespace), os.environ, line=_line))
