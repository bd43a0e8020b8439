"""A comparison, whole: what was found, as rows for people and as JSON for scripts."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from scripts.compare.answers import FIVE, Pair
from scripts.compare.bound import Bound
from scripts.compare.chance import Interval
from scripts.compare.figures import SURE, Accuracy, Figures, Share, most_different
from scripts.compare.timing import Timing, callers_of
from scripts.compare.verdict import Limits, Ruling, State, judge, points, signed, status
from scripts.host.figures import brief
from triton_sdk.predictions import ClassScore

# Rows of the terminal's tables of examples.
_SHOWN = 5
# Pictures that the JSON and the page have.
MOST_DIFFERENT = 24

Row = tuple[str, str, str, str]


@attrs.frozen(kw_only=True, eq=False)
class Comparison:
    """What is known of two versions.

    Attributes:
        model: The model's name.
        versions: The baseline's number and the candidate's.
        server: Which server was asked, in words.
        source: Where the pictures are.
        pairs: The answers, picture by picture.
        figures: What they say.
        timing: How fast the versions are.
        limits: What is allowed.
        notes: What the reader has to know.
        digests: What names the bytes of a version, where that is known.
    """

    model: str
    versions: tuple[int, int]
    server: str
    source: str
    pairs: Sequence[Pair]
    figures: Figures
    timing: Timing
    limits: Limits
    notes: Sequence[str] = ()
    digests: Mapping[int, str] = attrs.field(factory=dict)

    @property
    def title(self) -> str:
        """What is compared."""
        return f"{self.model}: version {self.versions[1]} against version {self.versions[0]}"

    @property
    def columns(self) -> Row:
        """The heads of `rows`."""
        return "", f"version {self.versions[0]}", f"version {self.versions[1]}", "together"

    @property
    def rulings(self) -> list[Ruling]:
        """What came of the limits."""
        return judge(self.figures, self.limits)

    @property
    def status(self) -> int:
        """The exit status."""
        return status(self.rulings)

    def name(self, pair: Pair) -> str:
        """Return the name of a picture, from the folder of all on."""
        return str(pair.path.relative_to(self.source) if pair.path.is_relative_to(self.source) else pair.path.name)

    @property
    def most_different(self) -> list[Pair]:
        """The pictures to look at, those with another answer first."""
        return most_different(self.pairs, MOST_DIFFERENT)

    @property
    def rows(self) -> list[Row]:
        """The figures as a table."""
        figures = self.figures
        sure = figures.sure_agreement
        rows = [("same best class", "", "", _share(figures.agreement))]
        if figures.near is not None:
            rows.append((f"best class among the other's {FIVE} best", "", "", _share(figures.near)))
        if sure.of:
            rows.append((f"same, where version {self.versions[0]} is {SURE:.0%} sure", "", "", _share(sure)))
        one, other = figures.confidence
        middle, high, most = figures.shifts
        rows += [
            ("sure on average", points(one), points(other), f"{signed(other - one)} points"),
            (f"probability of version {self.versions[0]}'s best class", "", "", f"{signed(figures.kept)} points"),
            ("largest change of a probability", "", "", f"median {middle:.2g}, p95 {high:.2g}, at most {most:.2g}"),
        ]
        if figures.accuracy is not None:
            rows += _accuracy_rows(figures.accuracy)
        return rows + self._timing_rows()

    def _timing_rows(self) -> list[Row]:
        timing = self.timing
        ratio = times(timing.slower, timing.slower_interval)
        calls = f"{len(timing.latencies_ms[0])} calls of each in turn"
        rows = list[Row]()
        for percent, said in ((50, ratio), (95, calls)):
            one, other = (f"{timing.latency_ms(side, percent):.1f} ms" for side in (0, 1))
            rows.append((f"latency p{percent}, one caller", one, other, said))
        if timing.callers:
            one, other = (f"{brief(timing.rate(side))}/s" for side in (0, 1))
            rows.append(
                (f"throughput, {callers_of(timing.callers)}", one, other, times(timing.more, timing.more_interval))
            )
        return rows

    @property
    def lists(self) -> list[tuple[str, tuple[str, str, str], list[tuple[str, str, str]]]]:
        """Examples as tables, each with a title and heads: what became what, and the most different pictures."""
        one, other = self.columns[1:3]
        changes = [(str(each.pictures), each.was, each.became) for each in self.figures.changes[:_SHOWN]]
        pictures = [
            (self.name(each), str(each.baseline[0]), str(each.candidate[0]))
            for each in self.most_different[:_SHOWN]
            if each.shift
        ]
        found = [("What changed", ("pictures", one, other), changes), ("Most different", ("", one, other), pictures)]
        return [each for each in found if each[2]]

    def words(self, state: State) -> str:
        """Return the rulings of one state, in words."""
        return " ".join(ruling.words for ruling in self.rulings if ruling.state == state)

    def as_json(self) -> str:
        """Return all of it for scripts."""
        figures, timing = self.figures, self.timing
        accuracy = figures.accuracy
        content = {
            "model": self.model,
            "server": self.server,
            "images": self.source,
            "pictures": figures.pictures,
            "notes": list(self.notes),
            "limits": attrs.asdict(self.limits),
            "verdict": [attrs.asdict(one) for one in self.rulings],
            "exit_status": self.status,
            "agreement": _share_json(figures.agreement),
            "agreement_in_five": _share_json(figures.near),
            "agreement_where_sure": _share_json(figures.sure_agreement),
            "bound_for_canary": Bound(figures.sure_agreement.other).to_dict(),
            "shift": dict(zip(("median", "p95", "largest"), figures.shifts, strict=True)),
            "best_class_of_baseline": figures.kept,
            "versions": [self._version_json(side) for side in (0, 1)],
            "accuracy_loss": None
            if accuracy is None
            else {
                "value": accuracy.loss,
                "interval": accuracy.loss_interval,
                "only_baseline_right": accuracy.lost,
                "only_candidate_right": accuracy.won,
                "mcnemar_p": accuracy.chance,
            },
            "callers": timing.callers,
            "latency_ratio": {"value": timing.slower, "interval": timing.slower_interval},
            "throughput_ratio": {"value": timing.more, "interval": timing.more_interval} if timing.callers else None,
            "changes": [attrs.asdict(one) for one in figures.changes],
            "most_different": [_pair_json(one) for one in self.most_different],
        }
        return json.dumps(content, indent=2, ensure_ascii=False)

    def _version_json(self, side: int) -> dict[str, Any]:
        timing, accuracy = self.timing, self.figures.accuracy
        found: dict[str, Any] = {
            "version": self.versions[side],
            "sha256": self.digests.get(self.versions[side]),
            "confidence": self.figures.confidence[side],
            "latency_ms": {f"p{percent}": timing.latency_ms(side, percent) for percent in (50, 95, 99)},
        }
        if accuracy is not None:
            found["accuracy"] = _share_json((accuracy.baseline, accuracy.candidate)[side])
            found["accuracy_in_five"] = _share_json(accuracy.in_five[side] if accuracy.in_five else None)
        if timing.callers:
            found["throughput"] = {"per_s": timing.rate(side), "turns": timing.rates[side].tolist()}
        return found


def _accuracy_rows(accuracy: Accuracy) -> list[Row]:
    low, high = accuracy.loss_interval
    difference = f"{signed(-accuracy.loss)} points ({signed(-high)} to {signed(-low)})"
    rows = [("accuracy", _share(accuracy.baseline), _share(accuracy.candidate), difference)]
    if accuracy.in_five is not None:
        one, other = accuracy.in_five
        rows.append((f"accuracy, {FIVE} best", _share(one), _share(other), f"{signed(other.value - one.value)} points"))
    proof = f"McNemar, exact: p = {accuracy.chance:.2g}"
    return [*rows, ("right with one alone", str(accuracy.lost), str(accuracy.won), proof)]


def times(ratio: float, interval: Interval) -> str:
    """Return how many times more, in words."""
    return f"x{ratio:.2f} ({interval[0]:.2f} to {interval[1]:.2f})"


def _share(share: Share) -> str:
    low, high = share.interval
    return f"{points(share.value)} ({points(low)} to {points(high)})"


def _share_json(share: Share | None) -> dict[str, int | float | Interval] | None:
    if share is None or not share.of:
        return None
    return {"hits": share.hits, "of": share.of, "share": share.value, "interval": share.interval}


def _pair_json(pair: Pair) -> dict[str, Any]:
    def tops(scores: Sequence[ClassScore]) -> list[dict[str, Any]]:
        return [attrs.asdict(score) for score in scores]

    return {
        "file": str(pair.path),
        "class": pair.label,
        "shift": pair.shift,
        "baseline": tops(pair.baseline),
        "candidate": tops(pair.candidate),
    }
