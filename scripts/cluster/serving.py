"""The serving plan of a release: in its values, in the ConfigMap that the pods read, and in a file for git."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from scripts.agent.errors import PlanError
from scripts.agent.plan import SCHEMA, ModelPlan, Plan
from scripts.cluster.kubectl import Kubectl
from scripts.cluster.objects import Object
from scripts.cluster.target import Target
from scripts.host.errors import TaskFailure
from scripts.host.settings import ROOT, Settings

# By the ConfigMaps that pods read them from: one, or in an umbrella one for each of its charts.
Plans: TypeAlias = Mapping[str, Plan]
FILE = "helm/serving.yaml"
KEY = "plan.json"
# The keys of a model's values that are its part of the plan.
_PARTS = ("serve", "candidate", "digests")
_HEAD = """\
# Which versions are served. `invoke promote` and `invoke rollback` write this file, and `invoke deploy-triton` takes it
# after helm/values.yaml: a commit of it keeps git and cluster together.
"""


def planned(kubectl: Kubectl, target: Target) -> Plans:
    """Return the plans that the pods of a release read, as `rendered` does.

    Raises:
        TaskFailure: If the cluster cannot be asked, or the plan cannot be read.
    """
    selector = f"--selector={target.owned}"
    return rendered(kubectl.json("get", "configmaps", selector, doing="read the serving plan")["items"])


def rendered(objects: Iterable[Object]) -> Plans:
    """Return the plans in *objects*.

    Raises:
        TaskFailure: If one cannot be read.
    """
    found = {}
    for each in objects:
        if each["kind"] == "ConfigMap" and KEY in (each.get("data") or {}):
            name = str(each["metadata"]["name"])
            try:
                found[name] = Plan.parse(each["data"][KEY])
            except PlanError as error:
                raise TaskFailure(f"The ConfigMap {name} holds no serving plan: {error}") from error
    return found


def read_by(pod: str, plans: Plans, name: str) -> Plan:
    """Return the plan that *pod* reads from the ConfigMap *name*.

    Raises:
        TaskFailure: If it is not there.
    """
    if name not in plans:
        raise TaskFailure(f"Pod {pod} reads its serving plan from the ConfigMap {name or '(none)'}, which has none.")
    return plans[name]


def in_values(values: Mapping[str, Any], *, where: str) -> Plan:
    """Return the plan that values of the chart say; *where* names them in messages.

    Raises:
        TaskFailure: If it cannot be followed.
    """
    models = {
        name: {key: value[key] for key in _PARTS if value.get(key) is not None}
        for name, value in (values.get("models") or {}).items()
        if isinstance(value, Mapping)
    }
    said = {"schema": SCHEMA, "generation": (values.get("plan") or {}).get("generation") or 0, "models": models}
    try:
        return tidied(Plan.parse(json.dumps(said)))
    except PlanError as error:
        raise TaskFailure(f"{where}: {error}") from error


def with_plan(values: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """Return *values* with *plan* in the place of the plan that they have."""
    known = values.get("models") or {}
    models = {}
    for name in (*known, *(name for name in sorted(plan.models) if name not in known)):
        rest = {key: value for key, value in (known.get(name) or {}).items() if key not in _PARTS}
        part = plan.models.get(name)
        models[name] = {**rest, **(_part(part) if part else {})}
    return {**values, "models": models, "plan": {**(values.get("plan") or {}), "generation": plan.generation}}


def tidied(plan: Plan) -> Plan:
    """Return *plan* without what says nothing: models whose versions are all served, digests of versions it lacks."""
    models = {
        name: ModelPlan(
            serve=part.serve,
            candidate=part.candidate,
            digests={n: digest for n, digest in part.digests.items() if n in (*part.serve, part.candidate)},
        )
        for name, part in plan.models.items()
    }
    return Plan(models={name: part for name, part in models.items() if part != ModelPlan()}, generation=plan.generation)


def told(plan: Plan) -> str:
    """Return in words what *plan* serves."""
    parts = []
    for name, part in sorted(tidied(plan).models.items()):
        served = f"{name} {', '.join(map(str, part.serve)) or 'all of the image'}"
        parts.append(served if part.candidate is None else f"{served}, candidate {part.candidate}")
    return f"generation {plan.generation}: {'; '.join(parts) or 'all of the image'}"


def all_told(plans: Plans) -> str:
    """Return in words what *plans* serve, each with its name if there are several."""
    several = len(plans) > 1
    return "; ".join(f"{name}, {told(plan)}" if several else told(plan) for name, plan in sorted(plans.items()))


def serves_alike(one: Plan, other: Plan) -> bool:
    """Return whether two plans serve the same versions; digests count where both know them."""
    one, other = tidied(one), tidied(other)
    return one.models.keys() == other.models.keys() and all(
        (part.serve, part.candidate) == (other.models[name].serve, other.models[name].candidate)
        and all(other.models[name].digests.get(n, digest) == digest for n, digest in part.digests.items())
        for name, part in one.models.items()
    )


def place(settings: Settings, *, root: Path = ROOT) -> Path:
    """Return where the file with the plan is, or will be."""
    return root / Path(settings.get("TRITON_PLAN_FILE") or FILE).expanduser()


def shown(path: Path, *, root: Path = ROOT) -> str:
    """Return how a person calls the file: by its path in the sources, where it is there."""
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def read(path: Path) -> dict[str, Any]:
    """Return the values in a file; none where there is no such file.

    Raises:
        TaskFailure: If it cannot be read.
    """
    import yaml  # the judge of a canary in a pod has none, and reads no YAML

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise TaskFailure(f"{path} cannot be read: {error}") from error
    if values is not None and not isinstance(values, dict):
        raise TaskFailure(f"{path} holds no values of a chart.")
    return values or {}


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Return values in which each layer counts more than those before it, as Helm puts them together."""
    found: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            below = found.get(key)
            if isinstance(below, Mapping) and isinstance(value, Mapping):
                found[key] = merged(below, value)
            else:
                found[key] = value
    return found


def write(path: Path, plan: Plan) -> None:
    """Write the file with the plan, in one step.

    Raises:
        TaskFailure: If it cannot be written.
    """
    import yaml

    values = with_plan({}, tidied(plan))
    new = path.with_name(f".{path.name}.new")
    try:
        new.write_text(_HEAD + yaml.safe_dump(values, sort_keys=False, width=120), encoding="utf-8")
        new.replace(path)
    except OSError as error:
        raise TaskFailure(f"{path} cannot be written: {error.strerror}.") from error


def _part(part: ModelPlan) -> dict[str, Any]:
    """Return a model's part of a plan as values."""
    said: dict[str, Any] = {"serve": list(part.serve)}
    if part.candidate is not None:
        said["candidate"] = part.candidate
    if part.digests:
        said["digests"] = {str(version): digest for version, digest in sorted(part.digests.items())}
    return said
