"""What a promotion and a rollback make of a plan."""

from scripts.agent.plan import ModelPlan, Plan
from scripts.host.errors import TaskFailure
from scripts.server.seen import State


def promoted(state: State, model: str, version: int, *, keep: int, digest: str | None) -> Plan:
    """Return the plan in which callers who name no version of *model* get *version*.

    Args:
        state: What is served now.
        model: The model's name.
        version: The new version.
        keep: How many former versions stay served.
        digest: What the version's bytes must have; None: any.

    Raises:
        TaskFailure: If there is no such model, or a higher version is served.
    """
    part = state.part(model) if model in state.models or model in state.plan.models else ModelPlan()
    if higher := [served for served in part.serve if served > version]:
        raise TaskFailure(
            f"Version {max(higher)} of {model} is served, and callers who name no version get the highest. To go back "
            f"to version {version}: invoke rollback --model {model} --to {version}"
        )
    former = [served for served in part.serve if served < version]
    serve = (*former[max(0, len(former) - keep) :], version)
    candidate = None if part.candidate == version else part.candidate
    return _with(state, model, serve, candidate, {**part.digests, **({version: digest} if digest else {})})


def rolled_back(state: State, model: str, *, to: int | None) -> Plan:
    """Return the plan in which callers who name no version of *model* get an older one again.

    Args:
        state: What is served now.
        model: The model's name.
        to: The version to go back to; None: what the plan before said.

    Raises:
        TaskFailure: If there is no such model, no plan before, or what is asked for is no older version.
    """
    part = state.part(model)
    now = max(part.serve, default=0)
    if to is None:
        before = state.before.models.get(model, ModelPlan(serve=()))
        image = state.models[model].image if model in state.models else ()
        serve = before.serve or (tuple(n for n in image if n < now) if model in state.before.models else ())
        digests = {**before.digests, **part.digests}
        if not serve or max(serve) >= now:  # the change before was itself a way back, or was put back
            serve = tuple(version for version in part.serve if version < now)
        if not serve:
            raise TaskFailure(
                f"Nothing tells what was served of {model} before version {now}. Name the version: invoke rollback "
                f"--model {model} --to N"
            )
    else:
        if to >= now:
            raise TaskFailure(
                f"Version {now} of {model} is what callers get if they name none: {to} is no way back. To go "
                f"forward: invoke promote --model {model} --version {to}"
            )
        serve = (*(version for version in part.serve if version < to), to)
        digests = dict(part.digests)
    candidate = None if part.candidate in serve else part.candidate
    return _with(state, model, serve, candidate, digests)


def with_candidate(state: State, model: str, version: int | None, *, digest: str | None) -> Plan:
    """Return the plan that serves what is served of *model*, and *version* as its candidate; None: no candidate.

    Args:
        state: What is served now.
        model: The model's name.
        version: The candidate.
        digest: What its bytes must have; None: any.

    Raises:
        TaskFailure: If there is no such model.
    """
    part = state.part(model)
    digests = {**part.digests, **({version: digest} if version is not None and digest else {})}
    return _with(state, model, part.serve, version, digests)


def without_candidate(plan: Plan, model: str) -> Plan:
    """Return *plan* without a candidate of *model*."""
    part = plan.models[model]
    digests = {version: digest for version, digest in part.digests.items() if version in part.serve}
    return Plan(models={**plan.models, model: ModelPlan(serve=part.serve, digests=digests)}, generation=plan.generation)


def put_back(state: State, model: str, *, over: Plan) -> Plan:
    """Return the plan that serves what *state* says of *model*, and what *over* says of all others, to be next."""
    models = {name: part for name, part in over.models.items() if name != model}
    if model in state.models or model in state.plan.models:
        models[model] = state.part(model)
    return Plan(models=models, generation=over.generation + 1)


def _with(state: State, model: str, serve: tuple[int, ...], candidate: int | None, digests: dict[int, str]) -> Plan:
    """Return the followed plan with another part for *model*."""
    named = {*serve, candidate}
    part = ModelPlan(
        serve=tuple(sorted(set(serve))),
        candidate=candidate,
        digests={version: digest for version, digest in digests.items() if version in named},
    )
    return Plan(models={**state.plan.models, model: part}, generation=state.plan.generation + 1)
