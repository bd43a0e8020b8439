"""What an agent says: the plans that it follows, how far each version is, and what callers saw of it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Self

import attrs

from scripts.agent.errors import PlanError
from scripts.agent.outcomes import Tally
from scripts.agent.pace import Window
from scripts.agent.plan import ModelPlan, Plan
from scripts.agent.server import SCHEMA
from scripts.agent.traffic import Traffic
from scripts.host.errors import TaskFailure


@attrs.frozen(kw_only=True)
class Version:
    """How far one version is.

    Attributes:
        phase: What happens to it: ``"fetching"``, ``"serving"``, ``"failed"`` and so on.
        why: Why it failed; None while nothing is wrong.
        digest: What names its bytes; None while that is not known.
        source: ``"image"`` or ``"store"``, once known.
        seconds: How long each phase took, by its name.
    """

    phase: str
    why: str | None
    digest: str | None
    source: str | None
    seconds: Mapping[str, float]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what the agent says of it."""
        return cls(
            phase=data["phase"], why=data["why"], digest=data["sha256"], source=data["source"],
            seconds=dict(data["seconds"]),
        )  # fmt: skip


@attrs.frozen(kw_only=True)
class Model:
    """What one server serves of a model.

    Attributes:
        image: The versions that its image or its repository has.
        stable: The version that callers who name none get; None: there is none.
        fault: What is wrong with the model as a whole; None: nothing.
        versions: The versions that are planned or served.
        candidate: The candidate's number and state; None: there is none.
    """

    image: tuple[int, ...]
    stable: int | None
    fault: str | None
    versions: Mapping[int, Version]
    candidate: tuple[int, Version] | None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what the agent says of it."""
        candidate = data["candidate"]
        return cls(
            image=tuple(data["image"]),
            stable=data["stable"],
            fault=data["fault"],
            versions={int(number): Version.from_dict(one) for number, one in data["versions"].items()},
            candidate=candidate and (int(candidate["version"]), Version.from_dict(candidate)),
        )


@attrs.frozen(kw_only=True)
class Told:
    """What clients that follow a traffic plan told an agent of their calls of one model.

    Attributes:
        since: When the agent began to count: by another time it is known to have been started anew.
        dropped: How many calls clients could not tell of.
        versions: What became of the others, by version; `STABLE` stands for calls that failed while none was served.
    """

    since: str
    dropped: int
    versions: Mapping[str, Tally]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what the agent says of it."""
        versions = {version: Tally.from_dict(one) for version, one in data["versions"].items()}
        return cls(since=data["since"], dropped=int(data["dropped"]), versions=versions)


@attrs.frozen(kw_only=True)
class State:
    """What one agent says.

    Attributes:
        plan: The plan that it follows.
        before: The part of each model that was changed, as it was before its last change.
        followed: The digest of the plan that it has begun to follow; None: of none yet.
        settled: Whether just what is planned is served.
        problem: Why its server should get no traffic; None: it should.
        restart_needed: Why its server needs a restart; None: it needs none.
        models: Each model, by name.
        traffic: The traffic plan of each model that has one, by name.
        outcomes: What became of the calls of clients that follow one, by the model's name.
        pace: How fast the server has been of late, by the model's name and the version; none of an older agent.
    """

    plan: Plan
    before: Plan
    followed: str | None
    settled: bool
    problem: str | None
    restart_needed: str | None
    models: Mapping[str, Model]
    traffic: Mapping[str, Traffic] = attrs.field(factory=dict)
    outcomes: Mapping[str, Told] = attrs.field(factory=dict)
    pace: Mapping[str, Mapping[int, Sequence[Window]]] = attrs.field(factory=dict)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, where: str) -> Self:
        """Read an agent's answer; *where* names it in messages.

        Raises:
            TaskFailure: If it is none, or one of another release.
        """
        if (schema := data.get("schema")) != SCHEMA:
            raise TaskFailure(
                f"The agent on {where} is of another release: it answers with schema {schema!r}, and these tasks read "
                f"{SCHEMA}. Start its server with this release, or use the tasks of that one."
            )
        try:
            followed = data["plan"]
            return cls(
                plan=plan_of(followed["models"], generation=followed["generation"]),
                before=plan_of(data["before"]),
                followed=data["followed"],
                settled=data["settled"],
                problem=data["problem"],
                restart_needed=data["restart_needed"],
                models={name: Model.from_dict(one) for name, one in data["models"].items()},
                traffic={name: Traffic.parse(json.dumps(one), model=name) for name, one in data["traffic"].items()},
                outcomes={name: Told.from_dict(one) for name, one in data["outcomes"].items()},
                pace={name: _windows(versions) for name, versions in data.get("pace", {}).items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError, PlanError) as error:
            raise TaskFailure(f"The agent on {where} answers what these tasks do not understand: {error!r}.") from error

    def part(self, model: str) -> ModelPlan:
        """Return what is planned for *model*, with its versions by number and the digests that are known.

        Raises:
            TaskFailure: If the server has no such model.
        """
        planned = self.plan.models.get(model)
        seen = self.models.get(model)
        if planned is None and seen is None:
            names = ", ".join(sorted(self.models)) or "none"
            raise TaskFailure(f"The server has no model {model!r}. It has: {names}.")
        serve = planned.serve if planned and planned.serve else seen.image if seen else ()
        known = {n: one.digest for n, one in seen.versions.items() if n in serve and one.digest} if seen else {}
        return ModelPlan(
            serve=serve,
            candidate=planned.candidate if planned else None,
            digests={**known, **(planned.digests if planned else {})},
        )


def _windows(data: Mapping[str, Any]) -> dict[int, list[Window]]:
    """Read the windows of each version of a model."""
    return {
        int(version): [(int(at), int(calls), int(spent_us)) for at, calls, spent_us in windows]
        for version, windows in data.items()
    }


def plan_of(models: Mapping[str, Any], *, generation: int = 0) -> Plan:
    """Return the plan that JSON-like data describes."""
    return Plan(
        generation=generation,
        models={
            name: ModelPlan(
                serve=tuple(int(version) for version in part["serve"]),
                candidate=part["candidate"],
                digests={int(version): str(digest) for version, digest in part["digests"].items()},
            )
            for name, part in models.items()
        },
    )
