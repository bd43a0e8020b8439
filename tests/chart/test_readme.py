"""What is written from the chart's values is what they say: README, defaults, schema."""

import pytest

from scripts.cluster.chart_readme import CHART, DEFAULTS_PATH, Value, defaults, readme, values
from scripts.host.errors import TaskFailure
from tests.chart.kubernetes_schema import SCHEMA, written


def test_the_readme_is_up_to_date() -> None:
    """helm/triton/README.md is what `python -m scripts.cluster.chart_readme` writes."""
    written = (CHART / "README.md").read_text(encoding="utf-8")
    assert written == readme() + "\n", "run: python -m scripts.cluster.chart_readme"


def test_values_are_read_with_their_comments() -> None:
    """Names, defaults and comments come as they stand; a mapping without comments in it is one value."""
    text = (
        "# Two\n# lines.\na: 1\nb:\n  # Inner.\n  c: [x]\n\n  # Free.\n  d: {}\n# Whole.\ne:\n  f: {g: ''}\n  h: null\n"
    )
    assert list(values(text)) == [
        Value("a", "1", ("Two", "lines.")),
        Value("b.c", "[x]", ("Inner.",)),
        Value("b.d", "{}", ("Free.",)),
        Value("e", "{f: {g: ''}, h: null}", ("Whole.",)),
    ]


@pytest.mark.parametrize("text", ["a: 1\n", "# A.\na: 1\nb: 2\n", "b:\n  # C.\n  c: 1\n  d: 2\n"])
def test_a_value_without_a_comment_is_told(text: str) -> None:
    """A value that nobody explained stops the README, with its line."""
    with pytest.raises(TaskFailure, match=r"values\.yaml line \d: .* has no comment above it"):
        list(values(text))


def test_the_defaults_are_up_to_date() -> None:
    """The template of the defaults is what `python -m scripts.cluster.chart_readme` writes."""
    assert (CHART / DEFAULTS_PATH).read_text(encoding="utf-8") == defaults(), (
        "run: python -m scripts.cluster.chart_readme"
    )


def test_the_schema_has_kubernetes_own_definitions() -> None:
    """values.schema.json is what `python -m tests.chart.kubernetes_schema` writes."""
    assert SCHEMA.read_text(encoding="utf-8") == written(), "run: python -m tests.chart.kubernetes_schema"
