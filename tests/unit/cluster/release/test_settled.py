"""Which serving plan a deployment takes: that of its files, or the one that was promoted since."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from scripts.cluster import serving
from scripts.cluster.release.chart import Chart, Installation
from scripts.cluster.release.settled import TakesBackError, settle, without_agent
from scripts.host.program import Version
from scripts.registry.reference import Reference
from tests.doubles.kubernetes import DIGEST

ONE, TWO = "a1" * 32, "b2" * 32


def values(*serve: int, generation: int = 0, **more: Any) -> dict[str, Any]:
    """Return values that serve these versions of ``cars``."""
    return {"plan": {"generation": generation}, "models": {"cars": {"serve": list(serve), **more}}}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Return a folder for values."""
    return tmp_path


def installation(folder: Path, *layers: Mapping[str, Any], **more: Any) -> Installation:
    """Return what has these files."""
    names = []
    for number, layer in enumerate(layers):
        file = folder / f"{number}.yaml"
        file.write_text(json.dumps(layer))
        names.append(str(file))
    return Installation(chart=Chart(name="chart"), image=Reference.parse(f"h/x@{DIGEST}"), files=names, **more)


def deployed(chosen: Installation, layers: Mapping[str, Any]) -> Any:
    """Return the plan that Helm would make of an installation: single values replace what files say."""
    made = json.loads(json.dumps(layers))
    for value in chosen.json_values:
        key, _, said = value.partition("=")
        *path, last = key.replace("\\.", "\0").split(".")
        place = made
        for step in path:
            place = place.setdefault(step.replace("\0", "."), {})
        place[last] = json.loads(said)
    return serving.in_values(made, where="x")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (values(1, 2), values(1, 2)),
        ({"models": {"cars": {"instances": 2}}}, {}),
        (values(1), values(1, 2)),
        (values(2, 3, generation=8), values(1, 2, generation=7)),
        (values(1), {}),
    ],
)
def test_the_files_count_where_nothing_was_promoted_since(files: Path, ours: Any, theirs: Any) -> None:
    """The same plan, one that was never promoted, or an older one."""
    found = settle(installation(files, ours), theirs, take_back=None)
    assert found.installation.json_values == ()


def test_a_later_plan_is_for_a_person_to_take_back(files: Path) -> None:
    """Nobody's word is no yes; both plans are named."""
    ours, theirs = values(1, 2), values(2, 3, generation=7, digests={"3": ONE})
    with pytest.raises(TakesBackError, match=r"later plan, generation 7: cars 2, 3, than .*generation 0: cars 1, 2"):
        settle(installation(files, ours), theirs, take_back=None)


def test_a_later_plan_stays_if_it_is_not_taken_back(files: Path) -> None:
    """The whole of it, over whatever the files say of it."""
    ours = serving.merged(values(1, 2, candidate=9), {"models": {"a.b": {"serve": [4]}}})
    theirs = values(2, 3, generation=7, digests={"3": ONE, "1": TWO})
    found = settle(installation(files, ours), theirs, take_back=False)
    assert deployed(found.installation, ours) == serving.in_values(theirs, where="x")
    assert "--take-back" in found.note
    assert "--set-json=plan.generation=7" in found.installation.options
    assert "--set-json=models.a\\.b.serve=[]" in found.installation.options


def test_a_plan_that_is_taken_back_is_the_next_one(files: Path) -> None:
    """Or the pods would take it for an old one."""
    ours, theirs = values(1, 2), values(2, 3, generation=7)
    found = settle(installation(files, ours), theirs, take_back=True)
    plan = deployed(found.installation, ours)
    assert (plan.models["cars"].serve, plan.generation) == ((1, 2), 8)


def test_plans_that_serve_alike_change_nothing(files: Path) -> None:
    """A file that was not committed lacks digests and has a lower number."""
    ours, theirs = values(2, 3), values(2, 3, generation=7, digests={"3": ONE})
    found = settle(installation(files, ours), theirs, take_back=None)
    assert deployed(found.installation, ours) == serving.in_values(theirs, where="x")
    assert found.note == ""


def test_the_file_with_the_plan_counts_over_the_values(files: Path) -> None:
    """As it stands last."""
    theirs = values(2, 3, generation=7)
    assert settle(installation(files, values(1, 2), theirs), theirs, take_back=None).installation.json_values == ()


@pytest.mark.parametrize(
    ("server", "has_agent", "said", "given", "none"),
    [
        (Version(1, 34), True, {}, (), False),
        (Version(1, 34), None, {}, (), False),
        (None, None, {}, (), False),
        (Version(1, 28), True, {}, (), True),
        (Version(1, 34), False, {"modelControl": "agent"}, (), True),
        (Version(1, 34), False, {"agent": {"image": "r/agent:1"}}, (), False),
        (Version(1, 28), False, {"modelControl": "none"}, (), False),
        (Version(1, 28), False, {}, ("modelControl=agent",), False),
    ],
)
def test_where_no_agent_can_run_the_servers_load_everything(
    files: Path, server: Version | None, has_agent: bool | None, said: Any, given: tuple[str, ...], none: bool
) -> None:
    """And that is said; a word on the command line counts more."""
    asked = installation(files, said, values=given)
    found = without_agent(asked, server, has_agent)
    assert ("--set=modelControl=none" in found.installation.options) is none
    assert bool(found.note) is none
    assert attrs.evolve(found.installation, values=given) == asked
