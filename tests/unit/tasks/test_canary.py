"""What a canary says at its end, and with which status."""

import pytest
from invoke import Context

from scripts.canary.kept import Record
from scripts.canary.run import Result
from scripts.canary.stepping import Verdict
from scripts.host.errors import TaskFailure
from scripts.tasks import canary

TIME = "2030-01-31T12:00:00Z"


def result(verdict: Verdict) -> Result:
    """Return what came of a canary."""
    record = Record(model="cars", version=3, stable=2, server="here", begun=TIME, looked=TIME)
    return Result(verdict=verdict, why="For this reason.", record=record)


def test_a_promotion_is_said() -> None:
    """And the task ends well."""
    said: list[str] = []
    canary.end(result("promoted"), say=said.append)
    assert said == ["For this reason."]


def test_an_abort_is_a_failure() -> None:
    """With its reason."""
    with pytest.raises(TaskFailure, match=r"^The canary is aborted\. For this reason\.$"):
        canary.end(result("aborted"), say=print)


def test_that_nobody_can_tell_is_neither() -> None:
    """It has a status of its own."""
    said: list[str] = []
    with pytest.raises(SystemExit) as ended:
        canary.end(result("inconclusive"), say=said.append)
    assert (ended.value.code, said) == (3, ["The canary ends without a promotion. For this reason."])


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ({}, "Which model. For example: invoke canary --model resnet50"),
        ({"model": "cars"}, "Which version. For example: invoke canary --model cars --version 2"),
        ({"model": "cars", "version": "x"}, "--version takes a whole number"),
        ({"model": "cars", "version": "3", "for_": "1 hour"}, "--for takes a time, for example 90s, 30m or 2h"),
        ({"model": "cars", "version": "3", "config": "/none.toml"}, "--config /none.toml: there is no such file"),
        ({"model": "cars", "version": "3", "compared": "/none.json"}, "--compared /none.json cannot be read: No such"),
    ],
)
def test_what_is_missing_is_asked_before_any_server(
    flags: dict[str, str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One message, with an example."""
    with pytest.raises(SystemExit):
        canary.canary(Context(), **flags)
    assert why.replace(".", "") in capsys.readouterr().err.replace(".", "").replace("?", "")
