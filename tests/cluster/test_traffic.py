"""The steady calls count what they must: both clients, every failure, and callers that die. No cluster is needed."""

from pathlib import Path

import pytest

from tests.cluster.traffic import CALLERS, Record, Totals, traffic
from tests.doubles.fake_triton import FakeTriton, Refused
from tests.waiting import wait_until
from tests.wire.server import serve

pytestmark = pytest.mark.timeout(120)


def test_both_clients_call_and_failures_are_counted(tmp_path: Path) -> None:
    """Each of the two clients has calls; once the server refuses, every failure is told, with its error."""

    def refuse(method: str, _message: object) -> None:
        if method == "ModelInfer":
            raise Refused("INTERNAL", "boom")

    triton = FakeTriton()
    with (
        (tmp_path / "log").open("wb") as log,
        serve(triton) as served,
        traffic((), served.url, model="clf", log=log) as on,
    ):
        good = on.until(20)
        assert (good.failed, good.threads + good.coroutines) == (0, good.calls)
        wait_until(lambda: (found := on.taken()).threads and found.coroutines, "calls of both clients")
        triton.twist = refuse
        bad = Totals()

        def both_failed() -> bool:
            nonlocal bad
            bad += on.taken()
            return bad.failed >= 2 * CALLERS

        wait_until(both_failed, "failures", told=lambda: str(bad))
        assert "boom" in bad.errors[0]
    assert (tmp_path / "log").read_text() == ""


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), KeyboardInterrupt("x")])
def test_a_caller_that_dies_is_a_failure(error: BaseException) -> None:
    """Of whatever it dies: it made no further call, so nothing else would tell; it is told once."""

    def call() -> None:
        raise error

    record = Record()
    with record.caller():
        call()
    found = record.taken()
    assert (found.failed, found.calls, found.errors) == (1, 0, [f"a caller died: {error!r}"])
    assert record.taken() == Totals()
    assert (found + Totals()).failed == 1
