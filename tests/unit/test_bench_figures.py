"""The benchmark's arithmetic and its page, without a benchmark."""

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from benchmarks import contest as contests
from benchmarks import page
from benchmarks.aims import Aim, judge
from benchmarks.contest import Failed, Result, best_peer
from benchmarks.figures import Move, Moved, Round, Spread, cpu, percentile, rates, ratio
from benchmarks.served import Model
from benchmarks.workloads import FP32, NAIVE, UINT8, Variant, Workload, workloads


def rounds(*speeds: float, cpu_share: float = 0.5, latencies: tuple[float, ...] = ()) -> tuple[Round, ...]:
    """Return rounds of 100 images at these images per second."""
    return tuple(Round(images=100, seconds=100 / v, cpu=cpu_share * 100 / v, latencies=latencies) for v in speeds)


def model(dtype: str) -> Model:
    """Return a model that nobody serves."""
    return Model(name=f"m_{dtype}", dtype=dtype, input="image", output="scores", onnx=Path("m.onnx"))


def result(group: str, *speeds: float, dtype: str = "FP32", peer: bool = False, **more: Any) -> Result:
    """Return what a contender did."""
    variant = Variant(group=group, program="x", environment=None, model=model(dtype), peer=peer, settings={"batch": 8})
    return Result(variant=variant, rounds=rounds(*speeds, **more))


def test_rates_and_cpu_are_medians_with_their_spread() -> None:
    """100 images in a second are 100 a second; half a core of it is 5 seconds for 1000."""
    assert rates(rounds(100, 300, 200)) == Spread(200, 100, 300)
    assert cpu(rounds(100)).median == pytest.approx(5)


def test_a_ratio_is_taken_round_by_round() -> None:
    """A round in which the whole machine was slow changes neither the median nor the spread."""
    spread = ratio(rounds(200, 20, 200), rounds(100, 10, 50))
    assert (spread.median, spread.low, spread.high) == pytest.approx((2, 2, 4))
    with pytest.raises(ValueError, match="zip"):
        ratio(rounds(1, 2), rounds(1))


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_percentiles_are_the_nearest_rank_in_ms(share: float, expected: float) -> None:
    """Of 1 to 100 ms half stay within 50, and 99 of 100 within 99."""
    shuffled = tuple(((i * 37) % 100 + 1) / 1000 for i in range(100))
    assert percentile(rounds(10, latencies=shuffled), share) == pytest.approx(expected)
    assert percentile(rounds(10), share) is None


def test_an_aim_is_judged_by_all_its_rounds() -> None:
    """The fastest peer of the dtype counts; more is better for rates, and less for CPU."""
    results = {
        "small": {
            UINT8: result(UINT8, 400, 500, dtype="UINT8"),
            "slow": result("slow", 100, 100, peer=True),
            "fast": result("fast", 200, 200, peer=True),
            "other": result("other", 300, 300, dtype="UINT8", peer=True),
            "floor": result("floor", 900, 900),
        }
    }
    assert best_peer(results["small"], "FP32") == "fast"
    assert best_peer(results["small"], "UINT8") == "other"
    outcome = judge(Aim(title="t", workload="small", ours=UINT8, theirs=None, bound=2.0), results)
    assert (outcome.against, outcome.reached) == ("fast", Spread(2.25, 2.0, 2.5))


@pytest.mark.parametrize(
    ("of", "bound", "verdict"),
    [
        ("rate", 2.0, "met"),
        ("rate", 2.1, "within noise"),
        ("rate", 2.5, "within noise"),
        ("rate", 2.6, "missed"),
        ("cpu_per_thousand", 0.5, "met"),
        ("cpu_per_thousand", 0.49, "within noise"),
        ("cpu_per_thousand", 0.4, "within noise"),
        ("cpu_per_thousand", 0.39, "missed"),
    ],
)
def test_what_only_some_rounds_reach_is_within_noise(of: str, bound: float, verdict: str) -> None:
    """A rate of 2 to 2.5 times another's, at 0.4 to 0.5 of its CPU, is met only where the worst round is enough."""
    results = {"small": {UINT8: result(UINT8, 400, 500), "floor": result("floor", 200, 200)}}
    aim = Aim(title="t", workload="small", ours=UINT8, theirs="floor", bound=bound, of=of)
    assert judge(aim, results).verdict == verdict


def test_what_did_not_run_is_not_measured() -> None:
    """An aim without its contender says so, and the table too."""
    outcome = judge(Aim(title="t", workload="small", ours=FP32, theirs=NAIVE, bound=2), {"small": {}})
    assert (outcome.reached, outcome.verdict) == (None, "not measured")
    assert page.aims_table([outcome]).endswith(f"| t | {NAIVE} | >= 2 | - | not measured |")


def test_the_tables_say_who_was_how_fast() -> None:
    """The fastest comes first, ours stands out, and each peer's row says how many times as fast we were."""
    workload = Workload(name="small", title="Small ones", variants=())
    results = {
        "peer": result("peer", 100, 200, peer=True, latencies=(0.001, 0.003)),
        UINT8: result(UINT8, 300, 500, dtype="UINT8"),
    }
    lines = page.workload_table(workload, results).splitlines()
    assert lines[0] == "### Small ones"
    assert lines[-2:] == [
        f"| **{UINT8}** | batch 8 | 400 (300 to 500) | 1.33 | - / - | - |",
        "| peer | batch 8 | 150 (100 to 200) | 3.75 | 1.0 / 3.0 | 2.75 (2.50 to 3.00) |",
    ]


def test_the_stores_table_sets_each_way_beside_ours() -> None:
    """What took 3 and 8 s where ours took 2 took 1.5 and 4 times as long; one of ours is beside nothing."""

    def moves(*seconds: float) -> tuple[Move, ...]:
        return tuple(Move(seconds=s, requests=9, sent=2_500_000, received=0) for s in seconds)

    ways = [
        Moved(name="publish", beside="", moves=moves(2, 2)),
        Moved(name="copy", beside="publish", moves=moves(3, 8)),
    ]
    assert page.store_table(ways).splitlines()[-2:] == [
        "| **publish** | 2.00 (2.00 to 2.00) | 9 | 2.50 | 0.00 | - |",
        "| copy | 5.50 (3.00 to 8.00) | 9 | 2.50 | 0.00 | 2.75 (1.50 to 4.00) |",
    ]


def test_figures_go_between_the_marks_and_nowhere_else() -> None:
    """What stands around them is kept, another section's too; written twice gives the same page."""
    (begin, end), other = page.marks(page.CLIENTS), "\n\n".join(page.marks(page.STORE))
    text = f"# Title\n\n{begin}\nold\n{end}\n\n{other}\n"
    written = page.into(text, "new", section=page.CLIENTS)
    assert written == f"# Title\n\n{begin}\n\nnew\n\n{end}\n\n{other}\n"
    assert page.into(written, "new", section=page.CLIENTS) == written
    for broken in ("no marks", begin, end + begin, text + end):
        with pytest.raises(ValueError, match="The page needs"):
            page.into(broken, "new", section=page.CLIENTS)


@pytest.mark.parametrize("section", [page.CLIENTS, page.STORE])
def test_the_page_has_its_marks(section: str) -> None:
    """A run of an hour does not fail at its end."""
    text = (Path(__file__).parents[2] / "docs" / "performance.md").read_text(encoding="utf-8")
    assert "checked" in page.into(text, "checked", section=section)


def test_requests_are_full_for_everybody_that_works_at_once() -> None:
    """No contender waits for a last half-filled round of its own threads."""
    variant = Variant(
        group="g", program="p", environment=None, model=model("FP32"), settings={"batch": 8, "threads": 3}
    )
    assert [variant.images(wanted) for wanted in (0, 1, 50, 100)] == [24, 24, 48, 96]
    assert variant.label == "batch 8, 3 in flight"


def test_every_aim_names_groups_that_run() -> None:
    """The names in the aims are those of the workloads' groups."""
    from benchmarks.aims import AIMS, BESIDE

    models = {dtype: model(dtype) for dtype in ("FP32", "UINT8")}
    groups = {w.name: {v.group for v in w.variants} for w in workloads(models, models)}
    for aim in (*AIMS, *BESIDE):
        assert {aim.ours, aim.theirs or aim.ours} <= groups[aim.workload]


def test_no_client_of_ours_is_tuned_in_more_ways_than_a_peer() -> None:
    """The page says so; only the loop that is called naive is not tuned at all."""
    models = {dtype: model(dtype) for dtype in ("FP32", "UINT8")}
    for workload in workloads(models, models):
        ways = Counter(variant.group for variant in workload.variants)
        peers = {variant.group for variant in workload.variants if variant.peer} - {NAIVE}
        ours = {group for group in ways if group.startswith("triton_sdk")}
        assert max(ways[group] for group in ours) <= min(ways[group] for group in peers), workload.name


class Scripted:
    """A contender in this process, which runs at the rates that it is given."""

    def __init__(self, speeds: Iterator[float]) -> None:
        self.speeds = speeds

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def run(self, images: int) -> Round:
        """Take as long as the next rate says."""
        try:
            return Round(images=images, seconds=images / next(self.speeds), cpu=0.1)
        except StopIteration:
            raise Failed("it ended") from None


def test_ways_that_are_nearly_as_fast_run_in_turns_before_one_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """One lucky moment does not choose; who is far behind is not asked again, and who fails leaves it to the others."""
    #        warming and two runs, then four rounds of which the first warms
    tuning: dict[int, list[float]] = {1: [100, 103, 90], 2: [100, 90, 101], 3: [100, 95, 96], 4: [100, 50, 60]}
    final: dict[int, list[float]] = {1: [100, 80, 82, 84], 2: [100, 97, 70, 99], 3: [100, 120]}
    lives: dict[int, list[Iterator[float]]] = {
        threads: [iter(tuning[threads]), iter(final.get(threads, []))] for threads in tuning
    }
    # The rounds that count.
    lives[2].append(itertools.repeat(95.0))
    monkeypatch.setattr(contests, "_start", lambda variant, **_: Scripted(lives[variant.settings["threads"]].pop(0)))
    free = model("UINT8")
    variants = tuple(
        Variant(group=UINT8, program="x", environment=None, model=free, settings={"batch": 8, "threads": threads})
        for threads in tuning
    )
    told: list[str] = []
    results = contests.contest(
        Workload(name="small", title="Small", variants=variants),
        task={},
        pythons={},
        length=contests.Length(rounds=7, seconds=1.2, tuning=0.8),
        progress=told.append,
    )
    assert results[UINT8].variant.settings["threads"] == 2
    assert [round(r.rate) for r in results[UINT8].rounds] == [95] * 7
    assert f"  {UINT8}: 3 ways are nearly as fast as the fastest" in told
    assert f"  {UINT8} (batch 8, 3 in flight) failed and is left out: it ended" in told
