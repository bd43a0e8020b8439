"""The plan that stands in the files of this repository, for releases that are changed through git."""

from pathlib import Path

from scripts.agent.plan import ModelPlan, Plan
from scripts.cluster import serving
from scripts.cluster.release.chart import VALUES
from scripts.host.errors import TaskFailure
from scripts.host.settings import ROOT
from scripts.server.seen import State


def state(path: Path, model: str, *, root: Path = ROOT) -> State:
    """Return what the files plan; no server is asked.

    Args:
        path: The file with the plan.
        model: The model that is to be changed.
        root: The folder of the sources.

    Raises:
        TaskFailure: If they cannot be read, or do not say what is served of *model*.
    """
    values = serving.merged(serving.read(root / VALUES), serving.read(path))
    plan = serving.in_values(values, where=f"{VALUES} and {path.name}")
    if not plan.models.get(model, ModelPlan()).serve:
        raise TaskFailure(
            f"Neither {path.name} nor {VALUES} says which versions of {model} are served now: nothing tells which "
            f"of them stays. Write that into {VALUES}, for example models: {{{model}: {{serve: [1]}}}}."
        )
    return State(
        plan=plan, before=Plan(), followed=None, settled=False, problem=None, restart_needed=None, models={}
    )  # fmt: skip
