"""A section or a value of a values file with nothing behind it means its default."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.cases import LEAST, Values, merge
from tests.chart.engines import CHART, Library, Program, Refused

DEFAULTS: Values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
# Where null says something of its own: no such request, limit, bound; let the platform choose.
MEANT = {"runAsUser", "podDisruptionBudget.maxUnavailable", "resources.requests", "resources.limits"}
MEANT |= {"agent.resources.requests", "agent.resources.limits"}


def _places(part: Values, prefix: str = "") -> Iterator[str]:
    for name, value in part.items():
        place = f"{prefix}{name}"
        if place in MEANT:
            continue
        yield place
        if isinstance(value, dict) and place != "metrics.dashboard.labels":
            yield from _places(value, f"{place}.")


def _nothing_at(place: str) -> Values:
    """Return values with nothing at a place: its key, and null."""
    values: Any = None
    for name in reversed(place.split(".")):
        values = {name: values}
    found: Values = values
    return found


# What must be given.
GIVEN = {"image", "image.repository", "image.digest", "admin", "admin.existingSecret"}
PLACES = [place for place in _places(DEFAULTS) if place not in GIVEN]


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_nothing_means_the_default(library: Library, depth: int) -> None:
    """With nothing at all places of one depth at once, all objects are those of the defaults."""
    places = [place for place in PLACES if place.count(".") == depth]
    assert places
    plain = library.render(LEAST)
    assert library.render(merge(LEAST, *map(_nothing_at, places))).text == plain.text


def test_what_is_given_beside_nothing_counts(library: Library) -> None:
    """Inside a section with values, what has none is the default; so alerts and dashboard are whole."""
    given: Values = {"metrics": {"prometheusRule": {"enabled": True}, "dashboard": {"enabled": True}}}
    empty = [place for place in PLACES if place.startswith("metrics.") and not place.endswith("enabled")]
    sections = {"metrics.prometheusRule", "metrics.dashboard"}
    nothing = map(_nothing_at, [place for place in empty if place not in sections])
    assert library.render(merge(LEAST, *nothing, given)).text == library.render(merge(LEAST, given)).text


@pytest.mark.parametrize("place", sorted(MEANT))
def test_nothing_means_what_the_value_says_it_does(library: Library, place: str) -> None:
    """Where null says something of its own, it is not the default."""
    given = merge(LEAST, {"replicas": 3, "podDisruptionBudget": {"minAvailable": 1}, "gpu": {"enabled": False}})
    if place == "podDisruptionBudget.maxUnavailable":
        given = merge(LEAST, {"replicas": 3})
        with pytest.raises(Refused, match="set maxUnavailable or minAvailable"):
            library.render(merge(given, _nothing_at(place)))
        return
    assert library.render(merge(given, _nothing_at(place))).text != library.render(given).text


def test_a_file_with_empty_sections_is_taken_by_the_programs(helm: Program, tmp_path: Path) -> None:
    """Sections whose lines are all comments, as people leave them."""
    sections = [name for name, value in DEFAULTS.items() if isinstance(value, dict) and name not in GIVEN]
    path = tmp_path / "values.yaml"
    path.write_text("".join(f"{name}:\n  # nothing yet\n" for name in sections), encoding="utf-8")
    where = ("triton-infer", str(CHART), "--namespace=triton", "--kube-version=1.33", "--values=-")
    empty, plain = (helm.run("template", *where, *more, stdin=json.dumps(LEAST)) for more in ([f"--values={path}"], []))
    assert empty.returncode == 0, empty.stderr
    assert empty.stdout == plain.stdout
