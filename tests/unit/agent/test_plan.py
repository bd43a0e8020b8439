"""The serving plan: what is read, what is refused, and what names it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.agent.errors import PlanError
from scripts.agent.plan import LARGEST, ModelPlan, Plan, is_model_name, is_version

DIGEST = "ab" * 32
PLANS = st.builds(
    Plan,
    generation=st.integers(0, 2**31 - 1),
    models=st.dictionaries(
        st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True).filter(is_model_name),
        st.builds(
            ModelPlan,
            serve=st.sets(st.integers(1, 99)).map(lambda numbers: tuple(sorted(numbers))),
            candidate=st.none() | st.integers(1, 99),
            digests=st.dictionaries(st.integers(1, 99), st.just(DIGEST)),
        ),
    ),
)


def text(**changes: Any) -> str:
    """Return the text of a plan for one model, with *changes* of the model's part."""
    return json.dumps({"schema": 1, "generation": 3, "models": {"cars": {"serve": [1, 2], **changes}}})


@given(PLANS)
def test_a_plan_is_read_as_it_was_written(plan: Plan) -> None:
    """What `to_json` writes, `parse` reads, and its digest does not depend on the generation."""
    again = Plan.parse(plan.to_json())
    assert again == plan
    assert Plan(models=plan.models, generation=plan.generation + 1).digest == again.digest


def test_the_digest_changes_with_the_plan() -> None:
    """Another version, candidate or digest is another plan."""
    every: list[dict[str, Any]] = [{}, {"serve": [1]}, {"candidate": 3}, {"digests": {"1": DIGEST}}, {"serve": []}]
    assert len({Plan.parse(text(**changes)).digest for changes in every}) == 5


@pytest.mark.parametrize(
    ("plan", "fault"),
    [
        ("", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"schema": 2, "models": {}}', "schema 2; this agent reads 1"),
        ('{"schema": 1}', "models is not a JSON object"),
        ('{"schema": 1, "models": {}, "model": {}}', "'model' is not known"),
        ('{"schema": 1, "models": {}, "generation": true}', "generation is True"),
        ('{"schema": 1, "models": {}, "generation": -1}', "generation is -1"),
        ('{"schema": 1, "models": {"../x": {}}}', "'../x' cannot name a model"),
        ('{"schema": 1, "models": {"a/b": {}}}', "'a/b' cannot name a model"),
        ('{"schema": 1, "models": {"cars.candidate": {}}}', "'cars.candidate' cannot name a model"),
        ('{"schema": 1, "models": {"cars.trial": {}}}', "'cars.trial' cannot name a model"),
        ('{"schema": 1, "models": {"cars": 7}}', "cars: 7 is not a JSON object"),
        ('{"schema": 1, "models": {"cars": {}, "cars": {}}}', "'cars' stands there twice"),
        (text(serve=[0]), r"serve is \[0\]"),
        (text(serve=[1.0]), r"serve is \[1.0\]"),
        (text(serve=["1"]), r"serve is \['1'\]"),
        (text(serve="12"), "serve is '12'"),
        (text(serve=[2**31]), "serve is"),
        (text(candidate="3"), "candidate is '3'"),
        (text(candidate=0), "candidate is 0"),
        (text(digests={"1": "ab"}), "digests is"),
        (text(digests={"01": DIGEST}), "digests is"),
        (text(versions=3), "'versions' is not known"),
    ],
)
def test_what_is_no_plan_is_refused(plan: str, fault: str) -> None:
    """The message says what is wrong."""
    with pytest.raises(PlanError, match=fault):
        Plan.parse(plan)


def test_all_faults_are_told_at_once() -> None:
    """Two faults of a plan stand in one message."""
    with pytest.raises(PlanError, match=r"serve is .*candidate is"):
        Plan.parse(text(serve=[0], candidate=-1))


def test_a_huge_plan_is_refused_before_it_is_read() -> None:
    """A text of more bytes than any plan has is not parsed."""
    with pytest.raises(PlanError, match="more than"):
        Plan.parse("[" * (LARGEST + 1))


def test_deep_nesting_is_refused() -> None:
    """A text that would exhaust the parser's stack is no plan."""
    with pytest.raises(PlanError):
        Plan.parse("[" * 200_000)


@pytest.mark.parametrize(
    ("name", "right"),
    [("1", True), ("2147483647", True), ("2147483648", False), ("01", False), ("٣", False), ("", False)],
)
def test_version_folders_are_numbers(name: str, right: bool) -> None:
    """A version is a positive whole number in ASCII digits without a zero in front."""
    assert is_version(name) is right
