"""The table and the JSON of a comparison."""

import json

from scripts.compare.verdict import Limits
from tests.unit.compare.scene import comparison, pair

PAIRS = [pair(0, 0, label=0), pair(0, 1, label=0, shift=0.5, name="b.jpg"), pair(1, 1, label=2)]


def test_the_table_has_both_versions_and_what_is_between_them() -> None:
    """Shares with intervals, the change of the accuracy, and how many times longer and more."""
    found = comparison(PAIRS)
    assert found.title == "pets: version 2 against version 1"
    assert found.columns == ("", "version 1", "version 2", "together")
    rows = {row[0]: row[1:] for row in found.rows}
    assert rows["same best class"] == ("", "", "66.7% (9.4% to 99.2%)")
    assert rows["accuracy"][0].startswith("66.7%")
    assert rows["accuracy"][2].startswith("-33.3 points (")
    assert rows["right with one alone"] == ("1", "0", "McNemar, exact: p = 1")
    assert rows["latency p50, one caller"] == ("10.0 ms", "20.0 ms", "x2.00 (2.00 to 2.00)")
    assert rows["throughput, 8 callers"] == ("100/s", "50/s", "x0.50 (0.50 to 0.50)")
    assert "same, where version 1 is 90% sure" not in rows


def test_what_was_not_measured_has_no_row() -> None:
    """No classes, no accuracy; no callers, no throughput."""
    rows = [row[0] for row in comparison([pair(0, 0)], callers=0).rows]
    assert not [row for row in rows if row.startswith(("accuracy", "right", "throughput"))]


def test_examples_are_listed_where_there_are_some() -> None:
    """What changed, and the most different pictures by their names in the folder."""
    changed, pictures = comparison(PAIRS).lists
    assert changed == ("What changed", ("pictures", "version 1", "version 2"), [("1", "cat", "dog")])
    assert pictures[2][0] == ("b.jpg", "cat 80.0%", "dog 70.0%")
    assert comparison([pair(0, 0, shift=0.0)]).lists == []


def test_the_json_has_all_of_it() -> None:
    """It is JSON of RFC 8259, with the exit status and every figure of the table."""

    def no_number(text: str) -> float:
        raise AssertionError(text)

    found = comparison(PAIRS, limits=Limits(disagreement=0.1, loss=0.5))
    content = json.loads(found.as_json(), parse_constant=no_number)
    assert (content["exit_status"], content["pictures"]) == (1, 3)
    assert [one["state"] for one in content["verdict"]] == ["failed", "too few"]
    assert content["agreement"]["hits"] == 2
    assert content["accuracy_loss"]["only_baseline_right"] == 1
    assert [one["latency_ms"]["p50"] for one in content["versions"]] == [10.0, 20.0]
    assert [one["throughput"]["per_s"] for one in content["versions"]] == [100.0, 50.0]
    assert content["most_different"][0]["file"].endswith("b.jpg")
    assert found.words("failed").startswith("1 of 3 pictures get another answer")
    without = json.loads(comparison([pair(0, 0)], callers=0).as_json(), parse_constant=no_number)
    assert (without["accuracy_loss"], without["throughput_ratio"], without["agreement_where_sure"]) == (None,) * 3
