"""What a deployment does with the serving plan: that of its files, or the one that was promoted since."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from scripts.agent.plan import ModelPlan, Plan
from scripts.cluster import serving
from scripts.cluster.release.chart import Installation
from scripts.host.errors import TaskFailure
from scripts.host.program import Version

# The first Kubernetes with native sidecars, as which the agent runs.
LEAST_FOR_AGENT = Version(1, 29)


class TakesBackError(TaskFailure):
    """The files would take back what was promoted; whether they shall is for a person to say."""


@attrs.frozen(kw_only=True)
class Settled:
    """What is deployed then.

    Attributes:
        installation: With the plan that counts.
        note: What a person should know; may be empty.
    """

    installation: Installation
    note: str = ""


def settle(installation: Installation, deployed: Mapping[str, Any], *, take_back: bool | None) -> Settled:
    """Return *installation* with the plan that counts.

    Args:
        installation: What is to be deployed.
        deployed: The values of the release as it is.
        take_back: Whether the plan of the files counts even if a later one is deployed; None: nobody has said.

    Raises:
        TakesBackError: If a later one is deployed, and nobody has said what counts.
        TaskFailure: If a plan cannot be read.
    """
    said = serving.merged(*(serving.read(Path(file)) for file in installation.files))
    ours = serving.in_values(said, where=", ".join(installation.files))
    theirs = serving.in_values(deployed, where="The values of the release")
    if ours == theirs:
        return Settled(installation=installation)
    if serving.serves_alike(ours, theirs):
        latest = Plan(models=theirs.models, generation=max(ours.generation, theirs.generation))
        return Settled(installation=_with(installation, latest, over=ours))
    if theirs.generation == 0 or ours.generation > theirs.generation:
        note = f"The plan of the files is the later one: {serving.told(ours)}. Deployed is {serving.told(theirs)}"
        return Settled(installation=installation, note=note)
    differ = f"Deployed is a later plan, {serving.told(theirs)}, than the files say, {serving.told(ours)}."
    if take_back is None:
        raise TakesBackError(differ)
    if take_back:
        next_one = Plan(models=ours.models, generation=theirs.generation + 1)
        return Settled(installation=_with(installation, next_one, over=ours), note=f"{differ} It is taken back")
    note = f"{differ} It stays; --take-back deploys the files' plan instead"
    return Settled(installation=_with(installation, theirs, over=ours), note=note)


def without_agent(installation: Installation, server: Version | None, has_agent: bool | None) -> Settled:
    """Return *installation* with ``modelControl: none`` where no agent can run.

    Args:
        installation: What is to be deployed.
        server: The cluster's version; None: not known.
        has_agent: Whether the image has an agent; None: not known.
    """
    said = serving.merged(*(serving.read(Path(file)) for file in installation.files))
    own_image = (said.get("agent") or {}).get("image") or any("agent.image=" in each for each in installation.values)
    if said.get("modelControl") == "none" or any(each.startswith("modelControl=") for each in installation.values):
        return Settled(installation=installation)
    if server is not None and server < LEAST_FOR_AGENT:
        why = f"Kubernetes {server} runs no native sidecars ({LEAST_FOR_AGENT} is the first that does)"
    elif has_agent is False and not own_image:
        why = "The image has no agent, as those that an earlier release of this project built"
    else:
        return Settled(installation=installation)
    return Settled(
        installation=attrs.evolve(installation, values=("modelControl=none", *installation.values)),
        note=f"{why}: modelControl is none. The servers load every version of the image, and none can be promoted",
    )


def _with(installation: Installation, plan: Plan, *, over: Plan) -> Installation:
    """Return *installation* with *plan* in the place of the plan *over* of its files."""
    values = [f"plan.generation={plan.generation}"]
    for name in sorted({*plan.models, *over.models}):
        part, below = plan.models.get(name, ModelPlan()), over.models.get(name, ModelPlan())
        key = "models." + name.replace(".", "\\.")
        values.append(f"{key}.serve={json.dumps(list(part.serve))}")
        if part.candidate != below.candidate:
            values.append(f"{key}.candidate={json.dumps(part.candidate)}")
        if part.digests != below.digests:
            digests = {str(version): digest for version, digest in sorted(part.digests.items())}
            values.append(f"{key}.digests={json.dumps(digests)}")
    return attrs.evolve(installation, json_values=values)
