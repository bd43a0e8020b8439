"""The plan of a release: in values, in words, in a file."""

from pathlib import Path
from typing import Any

import pytest

from scripts.agent.plan import ModelPlan, Plan
from scripts.cluster import serving
from scripts.host.errors import TaskFailure
from scripts.host.settings import load

DIGEST = "ab" * 32


def test_what_is_written_into_values_is_read_from_them() -> None:
    """Everything else in them stays, and digests of versions that are gone go."""
    values: dict[str, Any] = {
        "replicas": 2,
        "plan": {"generation": 3},
        "models": {
            "cars": {"instances": 2, "serve": [1, 2], "candidate": 9, "digests": {"1": "cd" * 32}},
            "bikes": {"serve": [1]},
        },
    }
    plan = Plan(models={"cars": ModelPlan(serve=(2, 3), digests={3: DIGEST})}, generation=4)
    written = serving.with_plan(values, plan)
    assert written == {
        "replicas": 2,
        "plan": {"generation": 4},
        "models": {"cars": {"instances": 2, "serve": [2, 3], "digests": {"3": DIGEST}}, "bikes": {}},
    }
    assert serving.in_values(written, where="x") == plan
    assert values["plan"] == {"generation": 3}


def test_models_that_only_say_how_they_run_are_no_part_of_the_plan() -> None:
    """All of their versions in the image are served."""
    assert serving.in_values({"models": {"cars": {"instances": 2}, "bikes": None}}, where="x") == Plan()
    assert serving.in_values({}, where="x") == Plan()


def test_values_that_are_no_plan_are_told() -> None:
    """With where they stand."""
    with pytest.raises(TaskFailure, match=r"values\.yaml: .*cars: serve is 'all'"):
        serving.in_values({"models": {"cars": {"serve": "all"}}}, where="values.yaml")


def test_the_file_is_values_for_the_chart(tmp_path: Path) -> None:
    """It says what it is for, and holds the plan alone."""
    path = tmp_path / "serving.yaml"
    plan = Plan(models={"cars": ModelPlan(serve=(2,), candidate=3, digests={2: DIGEST, 1: DIGEST})}, generation=4)
    serving.write(path, plan)
    assert path.read_text().startswith("# Which versions are served.")
    assert serving.in_values(serving.read(path), where="x") == serving.tidied(plan)
    assert [each.name for each in tmp_path.iterdir()] == ["serving.yaml"]
    assert serving.read(tmp_path / "none.yaml") == {}


@pytest.mark.parametrize("text", ["- 1", "a: [", "text"])
def test_a_file_that_holds_no_values_is_told(tmp_path: Path, text: str) -> None:
    """By its name."""
    path = tmp_path / "serving.yaml"
    path.write_text(text)
    with pytest.raises(TaskFailure, match=r"serving\.yaml"):
        serving.read(path)


def test_layers_count_as_helm_counts_them() -> None:
    """Sections are put together, lists and values replaced."""
    assert serving.merged({"a": {"b": [1], "c": 1}, "d": 1}, {"a": {"b": [2]}, "d": {"e": 1}}) == {
        "a": {"b": [2], "c": 1},
        "d": {"e": 1},
    }


def test_plans_that_serve_alike_differ_in_nothing_that_counts() -> None:
    """A digest that only one of them knows is none of that."""
    known = Plan(models={"cars": ModelPlan(serve=(2,), digests={2: DIGEST})}, generation=4)
    unknown = Plan(models={"cars": ModelPlan(serve=(2,)), "bikes": ModelPlan()})
    other = Plan(models={"cars": ModelPlan(serve=(2,), digests={2: "cd" * 32})})
    assert serving.serves_alike(known, unknown)
    assert not serving.serves_alike(known, other)
    assert not serving.serves_alike(known, Plan())


def test_a_plan_is_told_in_words() -> None:
    """Model by model."""
    plan = Plan(models={"cars": ModelPlan(serve=(2, 3), candidate=4), "bikes": ModelPlan()}, generation=7)
    assert serving.told(plan) == "generation 7: cars 2, 3, candidate 4"
    assert serving.told(Plan()) == "generation 0: all of the image"


def test_the_files_place_is_a_setting(tmp_path: Path) -> None:
    """Relative to the sources."""
    assert serving.place(load(tmp_path, environ={}), root=tmp_path) == tmp_path / "helm" / "serving.yaml"
    own = load(tmp_path, environ={"TRITON_PLAN_FILE": "/etc/plan.yaml"})
    assert serving.place(own, root=tmp_path) == Path("/etc/plan.yaml")
    assert serving.shown(tmp_path / "helm" / "serving.yaml", root=tmp_path) == "helm/serving.yaml"
    assert serving.shown(Path("/etc/plan.yaml"), root=tmp_path) == "/etc/plan.yaml"
