"""The judge, look by look."""

import json
from collections import Counter

import pytest

from scripts.agent.outcomes import Latency, Tally
from scripts.canary.judge import Counts, Judge, Look
from scripts.canary.limits import DISAGREEMENT, FAILURES, OUTRIGHT, P75, P95, QUANTILES, Limits

# What a version takes: twenty buckets from 32 ms, the same number of calls in each.
TAKES = Latency(Counter(dict.fromkeys(range(-80, -60), 50)))
LIMITS = Limits()


def counts(calls: int, failed: int = 0, incidents: int | None = None, *, slower: int = 0, **shadow: int) -> Counts:
    """Return those of one look: *slower* by so many buckets, failures each in a second of its own unless said."""
    answered = calls - failed
    latency = Counter({-80 + slower + i % 20: answered // 20 + (i < answered % 20) for i in range(20)})
    incidents = failed if incidents is None else incidents
    return Counts(calls=calls, failed=failed, incidents=incidents, latency=Latency(latency), **shadow)


def until_found(judge: Judge, look: Look, most: int = 100) -> tuple[str, int]:
    """Return what the judge finds if each look is the same, and after how many."""
    for number in range(1, most + 1):
        if finding := judge.look(look):
            return finding.kind, number
    return "nothing", most


def test_a_call_that_was_the_callers_fault_counts_for_nothing() -> None:
    """Neither among the calls nor among those that failed."""
    tally = Tally(calls=100, failures=Counter(invalid=7, late=2), incidents=2, latency=TAKES)
    tally.shadow.update(images=9, same=8, sure=7, sure_same=6)
    assert Counts.of(tally) == Counts(
        calls=93,
        failed=2,
        incidents=2,
        latency=TAKES,
        shadow_images=9,
        shadow_same=8,
        shadow_sure=7,
        shadow_sure_same=6,
    )


@pytest.mark.parametrize("bound", [None, 0.02])
def test_alpha_is_divided_among_what_is_judged(bound: float | None) -> None:
    """All together may end at most alpha of the canaries of good versions."""
    limits = Limits(alpha=0.03, most_disagreement=bound)
    assert (DISAGREEMENT in limits.judged) == (bound is not None)
    assert sum(1 / limits.evidence(name) for name in limits.judged) == pytest.approx(0.03)


def test_a_good_candidate_is_judged_on_and_on() -> None:
    """The same failures, latencies and answers as the stable version: nothing is found, and nothing is missing."""
    judge = Judge(Limits(most_disagreement=0.02), TAKES)
    shadow = {"shadow_images": 50, "shadow_same": 45, "shadow_sure": 40, "shadow_sure_same": 40}
    look = Look(stable=counts(900, 9), candidate=counts(100, 1, **shadow))
    assert until_found(judge, look) == ("nothing", 100)
    assert judge.missing() == []
    assert all(figure.evidence < 1 for figure in judge.figures())


def test_a_candidate_that_fails_more_often_is_found_and_said_with_figures() -> None:
    """The sentence has the numbers of both, and how seldom chance would do it."""
    judge = Judge(LIMITS, TAKES)
    look = Look(stable=counts(900, 4), candidate=counts(100, 6))
    finding = judge.look(look)
    assert finding is not None
    assert finding.kind == FAILURES
    evidence = finding.figures["evidence"]
    assert finding.sentence == (
        "The candidate fails more often than the stable version: 6.0% (6 of 100) of its calls failed, and 0.4% (4 of "
        "900) of the stable version's. If the candidate were good enough, chance would do this in at most 1 of "
        f"{evidence:,.0f} canaries."
    )
    assert evidence > finding.figures["limit"] == pytest.approx(175)


def test_calls_that_fail_together_are_one_incident() -> None:
    """A batch that fails twelve calls tells as little as one call that fails."""
    alone, together, singly = Judge(LIMITS), Judge(LIMITS), Judge(LIMITS)
    assert alone.look(Look(stable=counts(450), candidate=counts(50, 1))) is None
    assert together.look(Look(stable=counts(450), candidate=counts(50, 12, 1))) is None
    assert singly.look(Look(stable=counts(450), candidate=counts(50, 12))) is not None
    assert together.figures()[0].evidence < 1.5 * alone.figures()[0].evidence


def test_failures_whose_second_was_told_before_still_come_together() -> None:
    """Another client's report of the same second brings failures, and no incident."""
    judge = Judge(LIMITS)
    judge.look(Look(stable=counts(450), candidate=counts(50, 6, 1)))
    assert judge.look(Look(stable=counts(450), candidate=counts(50, 6, 0))) is None


def test_a_pod_that_is_away_is_nobodys_fault() -> None:
    """Both versions fail in each second of half a minute, a hundredth of the calls being the candidate's."""
    judge = Judge(LIMITS, TAKES)
    look = Look(stable=counts(198, 198, 2), candidate=counts(2, 2, 2))
    assert until_found(judge, look, 15) == ("nothing", 15)


def test_so_many_calls_that_each_second_has_a_failure_hide_nothing() -> None:
    """Ten times the failures are found in a few seconds, although both versions fail in each."""
    judge = Judge(LIMITS, TAKES)
    look = Look(stable=counts(1000, 5, 2), candidate=counts(1000, 50, 2))
    kind, looks = until_found(judge, look)
    assert kind == FAILURES
    assert looks <= 8


def test_a_candidate_that_fails_outright_is_found_at_once() -> None:
    """Also after it was good for so long that the evidence speaks for it."""
    judge = Judge(LIMITS, TAKES)
    assert until_found(judge, Look(stable=counts(1000, 5), candidate=counts(1000, 5)), 20) == ("nothing", 20)
    look = Look(stable=counts(12), candidate=counts(12, 12, 2))
    finding = next(finding for _ in range(2 * LIMITS.hard_looks) if (finding := judge.look(look)))
    assert finding.kind == OUTRIGHT
    assert finding.sentence == (
        "The candidate fails outright: 100.0% (36 of 36) of its last calls failed, and 0.0% (0 of 36) of the stable "
        "version's in the same time. The limit is 10%."
    )


@pytest.mark.parametrize(
    "look",
    [
        # Not above a tenth.
        Look(stable=counts(40), candidate=counts(10, 1, 0)),
        # The stable version fails more than a third as often.
        Look(stable=counts(40, 8, 0), candidate=counts(10, 5, 0)),
    ],
)
def test_the_hard_stop_has_limits(look: Look) -> None:
    """What is at one of them does not end a canary: here no failure is in a second of its own."""
    judge = Judge(Limits(alpha=1e-300), TAKES)
    assert until_found(judge, look) == ("nothing", 100)


def test_one_bad_look_is_no_hard_stop() -> None:
    """A batch that failed half of thirty calls is one incident: failures have to come in three looks."""
    judge = Judge(LIMITS, TAKES)
    good, bad = Look(stable=counts(40), candidate=counts(10)), Look(stable=counts(40), candidate=counts(10, 10, 1))
    assert [judge.look(one) for one in (bad, good, good, bad, good, good)] == [None] * 6


def test_a_slower_candidate_is_found_and_said_with_figures() -> None:
    """1.3 times slower are six of the sixteen buckets in an octave."""
    judge = Judge(LIMITS, TAKES)
    look = Look(stable=counts(900), candidate=counts(100, slower=6))
    finding = next(finding for _ in range(8) if (finding := judge.look(look)))
    assert finding.kind == P95
    assert finding.sentence.startswith(
        "The candidate is more than 1.15 times slower than the stable version: 95% of its calls took at most 90.3 ms, "
        "of the stable version's 69.6 ms. 21.4% (43 of 200) of its calls took longer than 1.15 times the time that "
        "7.5% (135 of 1,800) of the stable version's calls exceeded. If the candidate were good enough, chance would "
    )
    assert finding.figures["candidate_s"] == pytest.approx(0.0903, rel=0.01)


def test_what_is_slow_in_the_middle_alone_is_found_by_the_75th_percentile() -> None:
    """No call takes longer than the longest of the stable version, and all are among the longer ones."""
    judge = Judge(LIMITS, TAKES)
    candidate = Counts(calls=100, latency=Latency(Counter({-68: 60, -62: 40})))
    assert until_found(judge, Look(stable=counts(900), candidate=candidate))[0] == P75


@pytest.mark.parametrize("slower", [-6, 0, 2, 3])
def test_a_candidate_within_the_margin_is_not_slow(slower: int) -> None:
    """Faster, the same, and 1.09 and 1.14 times slower where 1.15 times are allowed."""
    judge = Judge(LIMITS, TAKES)
    assert until_found(judge, Look(stable=counts(900), candidate=counts(100, slower=slower))) == ("nothing", 100)


def test_a_long_tail_is_found_by_the_95th_percentile() -> None:
    """One call of seven takes ten times as long; the rest is a little faster."""
    judge = Judge(LIMITS, TAKES)
    latency = counts(60, slower=-6).latency.buckets + Counter({-10: 10})
    candidate = Counts(calls=70, latency=Latency(latency))
    assert until_found(judge, Look(stable=counts(700), candidate=candidate))[0] == P95


def test_a_load_that_slows_both_is_no_fault_of_the_candidate() -> None:
    """Both take twice as long as ever before, and later half."""
    judge = Judge(LIMITS, TAKES)
    for slower in (16, -16):
        look = Look(stable=counts(900, slower=slower), candidate=counts(900, slower=slower))
        assert until_found(judge, look, 20) == ("nothing", 20)


def test_what_is_slow_is_learned_again_when_the_load_changes() -> None:
    """If both take twice as long as before, a candidate that is 1.3 times slower is found all the same."""
    judge = Judge(LIMITS, TAKES)
    kind, _ = until_found(judge, Look(stable=counts(900, slower=16), candidate=counts(100, slower=22)))
    assert kind in QUANTILES


def test_what_is_slow_is_learned_from_the_canary_if_nothing_is_known_before() -> None:
    """Until then no latency is judged, and the judge says how far it is."""
    judge = Judge(LIMITS, Latency(Counter({-80: 100})))
    slow = Look(stable=counts(450), candidate=counts(50, slower=16))
    assert judge.missing() == [
        "calls: 0 of 30 calls of the stable version",
        "calls: 0 of 30 calls of the candidate",
        "latency: 100 of 1,000 calls of the stable version",
    ]
    assert judge.look(slow) is None
    assert judge.missing() == ["latency: 550 of 1,000 calls of the stable version"]
    assert judge.look(slow) is None
    assert judge.missing() == ["latency: 0 of 30 calls of the candidate"]
    assert until_found(judge, slow, 5)[0] in QUANTILES
    assert judge.missing() == []


def test_other_answers_are_found_beyond_their_bound_alone() -> None:
    """Images of which the caller's answer was sure: twice the bound is found, the bound itself is not."""
    for flips, found in ((4, DISAGREEMENT), (2, "nothing")):
        judge = Judge(Limits(most_disagreement=0.02), TAKES)
        shadow = {"shadow_images": 150, "shadow_same": 90, "shadow_sure": 100, "shadow_sure_same": 100 - flips}
        look = Look(stable=counts(900), candidate=counts(100, **shadow))
        assert until_found(judge, look, 30)[0] == found
    assert judge.figures()[-1].candidate_of == 3000


def test_other_answers_are_not_judged_without_a_bound() -> None:
    """They neither end a canary nor are they missing; with a bound they are missing until there are enough."""
    shadow = {"shadow_images": 100, "shadow_sure": 100}
    look = Look(stable=counts(900), candidate=counts(100, **shadow))
    judge = Judge(LIMITS, TAKES)
    assert judge.look(look) is None
    assert DISAGREEMENT not in {figure.statistic for figure in judge.figures()}
    assert judge.missing() == []
    judge = Judge(Limits(most_disagreement=1.0), TAKES)
    assert judge.look(look) is None
    assert judge.missing() == ["disagreement: 100 of 300 shadowed images with a sure answer"]


def test_a_canary_that_is_run_again_goes_on() -> None:
    """Its state goes through JSON after each look, and everything is found as without that."""
    limits = Limits(most_disagreement=0.02)
    shadow = {"shadow_images": 20, "shadow_sure": 20, "shadow_sure_same": 20}
    look = Look(stable=counts(450, 2), candidate=counts(50, 3, 2, slower=3, **shadow))
    judge, again = Judge(limits), Judge(limits)
    for _ in range(6):
        finding = judge.look(look)
        again = Judge.from_dict(limits, json.loads(json.dumps(again.to_dict())))
        assert again.look(look) == finding
        assert again.figures() == judge.figures()
        assert again.missing() == judge.missing()
        assert again.to_dict() == judge.to_dict()
    assert finding is not None


def test_no_calls_change_nothing() -> None:
    """A look in which nobody called leaves the evidence as it was."""
    judge = Judge(LIMITS, TAKES)
    judge.look(Look(stable=counts(900, 3), candidate=counts(100, 2)))
    before = judge.figures()
    assert judge.look(Look(stable=Counts(), candidate=Counts())) is None
    assert judge.figures() == before
