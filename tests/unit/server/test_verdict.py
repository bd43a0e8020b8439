"""What a smoke test says in the end."""

import pytest

from scripts.host.errors import TaskFailure
from scripts.server.result import GOLDEN, Result, State
from scripts.server.verdict import Verdict


def result(state: State, *, check: str = GOLDEN, pod: str = "") -> Result:
    """Return what a check of the version m v1 found."""
    return Result(check=check, subject="m v1", state=state, figure="1e-7", pod=pod)


def test_a_failed_check_fails_the_test() -> None:
    """However many others went well, and however few failed."""
    with pytest.raises(TaskFailure, match=r"^1 of 3 checks failed\.$"):
        Verdict(of="x", results=[result("ok"), result("failed"), result("skipped")]).require()


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ([result("ok")], ["1 checks, none failed."]),
        ([result("ok"), result("skipped", check="GPU")], ["2 checks, none failed, 1 skipped."]),
        ([result("skipped")], ["1 checks, none failed, 1 skipped.", "No number was compared"]),
        ([result("ok", check="live")], ["1 checks, none failed.", "No number was compared"]),
        ([], ["0 checks, none failed.", "No number was compared"]),
    ],
    ids=["all", "one skipped", "golden skipped", "no golden", "nothing"],
)
def test_what_was_not_compared_is_said(results: list[Result], said: list[str]) -> None:
    """Skipped checks are counted, and a test without a golden check says that it proves no number."""
    lines = Verdict(of="x", results=results).require()
    assert [line.startswith(start) for line, start in zip(lines, said, strict=True)] == [True] * len(said)


def test_each_row_names_its_pod_where_all_were_asked() -> None:
    """Otherwise the title has the one that was, and outside of a cluster there is none."""
    found = [result("ok", pod="a"), result("failed", pod="b")]
    every = Verdict(of="release r", results=found, each_pod=True)
    assert every.title == "Smoke test of release r"
    assert every.columns == ("pod", "", "of", "check", "figure")
    assert every.rows == [("a", "ok", "m v1", GOLDEN, "1e-7"), ("b", "failed", "m v1", GOLDEN, "1e-7")]
    one = Verdict(of="release r", results=found[:1])
    assert one.title == "Smoke test of release r, pod a"
    assert one.columns == ("", "of", "check", "figure")
    assert one.rows == [("ok", "m v1", GOLDEN, "1e-7")]
    assert Verdict(of="http://h:8000", results=[result("ok")]).title == "Smoke test of http://h:8000"
