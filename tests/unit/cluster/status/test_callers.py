"""What clients told all agents is put together."""

from collections import Counter

import attrs

from scripts.agent.outcomes import Latency, Tally
from scripts.agent.plan import Plan
from scripts.cluster.status.callers import callers
from scripts.server.seen import State, Told

NOTHING = State(
    plan=Plan(), before=Plan(), followed=None, settled=True, problem=None, restart_needed=None, models={}
)  # fmt: skip


def told(**versions: Tally) -> State:
    """Return the state of an agent that was told of versions of the model ``cars``."""
    named = {name.removeprefix("v"): tally for name, tally in versions.items()}
    return attrs.evolve(NOTHING, outcomes={"cars": Told(since="then", dropped=0, versions=named)})


def test_what_callers_saw_adds_up() -> None:
    """Percentiles are those of all calls, not of any pod's; the versions go by number."""
    quick = Tally(calls=90, latency=Latency(Counter({-112: 90})))
    late = Tally(calls=12, failures=Counter(late=2), latency=Latency(Counter({-64: 10})))
    lone = Tally(calls=1, failures=Counter(refused=1))
    two, ten = callers([told(v2=quick, v10=lone), NOTHING, told(v2=late)])
    assert (two.model, two.version, two.calls, two.failures) == ("cars", "2", 102, {"late": 2})
    assert two.latency_ms == {"p50": 7.984, "p95": 63.869, "p99": 63.869}
    assert (ten.version, ten.failures, ten.latency_ms) == ("10", {"refused": 1}, {})


def test_what_was_asked_as_a_shadow_alone_is_no_call() -> None:
    """Nobody waited for it; and who has told nothing has no row."""
    assert callers([told(v3=Tally(shadow=Counter(images=5)))]) == ()
    assert callers([NOTHING]) == callers([]) == ()
