"""Where a canary is that a task judges from here: one server that `invoke serve` runs, or the pods of a release."""

import hashlib
from collections.abc import Callable, Sequence

from scripts.canary.kept import InFile, InRelease, Keeper
from scripts.canary.servers import Server
from scripts.cluster.release.plan_map import PlanMap
from scripts.host import settings
from scripts.versions.release import Release
from scripts.versions.target import OneServer


def servers(target: OneServer | Release) -> Sequence[Server]:
    """Return the servers of *target* that are there now.

    Raises:
        TaskFailure: If the cluster cannot be asked.
    """
    if isinstance(target, OneServer):
        return [Server.of(target)]
    return [Server.beside(agent, target.ask) for agent in target.agents.look()]


def keeper(target: OneServer | Release, model: str, *, line: Callable[[str], None]) -> Keeper:
    """Return what keeps how far the canary of a model on *target* is."""
    where = target.name if isinstance(target, OneServer) else f"{target.kubectl.where} {target.target}"
    name = f"{model}-{hashlib.sha256(where.encode()).hexdigest()[:12]}.json"
    file = InFile(path=settings.state_folder() / "canary" / name, line=line)
    if isinstance(target, OneServer):
        return file
    kubectl, which = target.kubectl, target.target
    return InRelease(file=file, held=lambda: PlanMap.read(kubectl, which), model=model)
