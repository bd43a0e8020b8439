"""What the agent tells Prometheus: https://prometheus.io/docs/instrumenting/exposition_formats/."""

from scripts.agent.follow import Follower
from scripts.agent.health import Health
from scripts.agent.plans import Plans
from scripts.agent.traffics import Traffics


def text(follower: Follower, plans: Plans, traffics: Traffics, health: Health) -> str:
    """Return the metrics."""
    lines: list[str] = []

    def family(name: str, kind: str, about: str, rows: list[tuple[str, float]]) -> None:
        lines.append(f"# HELP triton_agent_{name} {about}")
        lines.append(f"# TYPE triton_agent_{name} {kind}")
        lines.extend(f"triton_agent_{name}{labels} {value:g}" for labels, value in rows)

    phases, failures, fetched = [], [], []
    with follower.lock:
        settled = follower.has_settled(plans.current)
        for model, state in sorted(follower.models.items()):
            candidate = [(state.candidate[0], state.candidate[1], "candidate")] if state.candidate else []
            for version, one, role in (*((n, v, "served") for n, v in sorted(state.versions.items())), *candidate):
                labels = f'model="{model}",version="{version}",role="{role}"'
                phases.append((f'{{{labels},phase="{one.phase}"}}', 1.0))
                failures.append((f"{{{labels}}}", float(one.failures)))
                fetched.append((f"{{{labels}}}", float(one.fetched_bytes)))
    now, shares = traffics.wall(), []
    for model, plan in traffics.all().items():
        over, whole = plan.is_over(now), sum(plan.routes.values())
        for version, weight in sorted(plan.routes.items()):
            role = "candidate" if version == plan.candidate else "served"
            labels = f'model="{model}",version="{version}",role="{role}"'
            shares.append((f"{{{labels}}}", 0.0 if over or not whole else weight / whole))
    family("traffic_share", "gauge", "Share of the calls that the traffic plan sends to a version.", shares)
    family("plan_generation", "gauge", "Generation of the plan that is followed.", [("", plans.current.generation)])
    family("settled", "gauge", "1 if just what is planned is served.", [("", float(settled))])
    family("healthy", "gauge", "1 if every model's stable version answers.", [("", float(not health.problem()))])
    family("restart_needed", "gauge", "1 if the pod needs a restart.", [("", float(bool(follower.restart_needed)))])
    family("version_phase", "gauge", "1 for the phase that a version is in.", phases)
    family("version_failures", "gauge", "Failures of a version since it last worked.", failures)
    family("version_fetched_bytes", "gauge", "Bytes of a version that came from the store.", fetched)
    return "\n".join(lines) + "\n"
