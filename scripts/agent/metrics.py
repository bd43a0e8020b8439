"""What the agent tells Prometheus: https://prometheus.io/docs/instrumenting/exposition_formats/."""

from scripts.agent.follow import Follower
from scripts.agent.health import Health
from scripts.agent.outcomes import BUCKETS_PER_OCTAVE, Latency, Outcomes, middle_s
from scripts.agent.plans import Plans
from scripts.agent.traffics import Traffics

# Two bounds an octave, from 1 ms to 32 s.
_BOUNDS = range(-10 * BUCKETS_PER_OCTAVE, 5 * BUCKETS_PER_OCTAVE + 1, BUCKETS_PER_OCTAVE // 2)
_TOLD = {
    "calls": "Calls that clients say a version answered or failed.",
    "failures": "Those of them that failed, as their callers saw it.",
    "passed_over": "Calls for which the stable version was asked, because this one was gone.",
    "shadow_images": "Images that a version was asked about beside the one that answered.",
    "shadow_same": "Those of them with the same best class.",
}


def text(follower: Follower, plans: Plans, traffics: Traffics, outcomes: Outcomes, health: Health) -> str:
    """Return the metrics."""
    lines: list[str] = []

    def family(name: str, kind: str, about: str, rows: list[tuple[str, float]]) -> None:
        lines.extend(_head(name, kind, about))
        lines.extend(f"triton_agent_{name}{labels} {value:.15g}" for labels, value in rows)

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
    return "\n".join([*lines, *_of_clients(outcomes)]) + "\n"


def _of_clients(outcomes: Outcomes) -> list[str]:
    """Return what clients that follow a traffic plan have told."""
    counted: dict[str, list[str]] = {name: [] for name in _TOLD}
    seconds: list[str] = []

    def count(name: str, labels: str, value: int) -> None:
        counted[name].append(f"triton_agent_client_{name}_total{{{labels}}} {value}")

    with outcomes.lock:
        for model, tallies in sorted(outcomes.tallies.items()):
            for version, tally in sorted(tallies.items()):
                labels = f'model="{model}",version="{version}"'
                count("calls", labels, tally.calls)
                count("passed_over", labels, tally.passed_over)
                for kind, number in sorted(tally.failures.items()):
                    count("failures", f'{labels},kind="{kind}"', number)
                count("shadow_images", labels, tally.shadow["images"])
                count("shadow_same", labels, tally.shadow["same"])
                seconds += _histogram("triton_agent_client_latency_seconds", labels, tally.latency)
    lines: list[str] = []
    for name, about in _TOLD.items():
        lines += _head(f"client_{name}_total", "counter", about) + counted[name]
    about = "From sending to the answer, retries included; the sum is right to 2 %."
    return [*lines, *_head("client_latency_seconds", "histogram", about), *seconds]


def _histogram(name: str, labels: str, latency: Latency) -> list[str]:
    """Return the samples of a histogram, whose bounds are bounds of the buckets that clients have."""
    places = sorted(latency.buckets.items())
    rows = []
    for bound in _BOUNDS:
        end_s = 2.0 ** (bound / BUCKETS_PER_OCTAVE)
        rows.append(f'{name}_bucket{{{labels},le="{end_s:.6g}"}} {sum(count for at, count in places if at < bound)}')
    whole, total_s = latency.buckets.total(), sum(count * middle_s(place) for place, count in places)
    rows.append(f'{name}_bucket{{{labels},le="+Inf"}} {whole}')
    return [*rows, f"{name}_sum{{{labels}}} {total_s:.15g}", f"{name}_count{{{labels}}} {whole}"]


def _head(name: str, kind: str, about: str) -> list[str]:
    return [f"# HELP triton_agent_{name} {about}", f"# TYPE triton_agent_{name} {kind}"]
