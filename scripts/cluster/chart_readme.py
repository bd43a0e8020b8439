"""Write the chart's README and defaults from its values: ``python -m scripts.cluster.chart_readme``."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import yaml

from scripts.host.errors import TaskFailure
from scripts.host.settings import ROOT
from scripts.host.terminal import reporting, say

CHART = ROOT / "helm" / "triton"

HEAD = """\
# The chart `triton`

{description}, behind one Service. An agent switches versions
without a restart, and rollouts work with few GPUs. Values turn on what else you need: autoscaling, alerts, a dashboard,
an Ingress.

```
helm upgrade --install triton-infer helm/triton --namespace triton --create-namespace -f helm/values.yaml \\
    --set-string image.repository=REGISTRY/triton-infer --set-string image.digest=sha256:...
helm test triton-infer --namespace triton
```

`invoke deploy-triton` does the same, watches the pods, and goes back if they do not come up. You need Kubernetes
{kubernetes}, and Helm 3 or 4. The pods pass Pod Security's level `restricted`.

## Values

`python -m scripts.cluster.chart_readme` writes this page from [values.yaml](values.yaml). If your values have a
name that is not in [values.schema.json](values.schema.json), Helm refuses them. If a section or a value has nothing
behind it (`gpu:`), it has its default.
"""
DEFAULTS_PATH = "templates/_defaults.tpl"
DEFAULTS = """\
{{{{/* Written by `python -m scripts.cluster.chart_readme` from values.yaml and values.schema.json. */}}}}
{{{{- define "triton.knownDefaults" -}}}}
{json}
{{{{- end -}}}}
"""


@attrs.frozen
class Value:
    """One value of the chart.

    Attributes:
        name: Its keys, joined by dots.
        default: Its default, as YAML on one line.
        comment: The lines of its comment, without the number signs.
    """

    name: str
    default: str
    comment: tuple[str, ...]


def values(text: str) -> Iterator[Value]:
    """Yield every value of a commented ``values.yaml``; a mapping without a comment in it is one value.

    Raises:
        TaskFailure: If a value has no comment.
    """
    root = yaml.compose(text)
    if not isinstance(root, yaml.MappingNode):
        raise TaskFailure("values.yaml is no mapping.")
    yield from _within(root, yaml.safe_load(text), text.splitlines(), prefix="")


def _within(
    node: yaml.MappingNode, defaults: Mapping[str, Any], lines: Sequence[str], *, prefix: str
) -> Iterator[Value]:
    for key, value in node.value:
        name, default = f"{prefix}{key.value}", defaults[key.value]
        if isinstance(value, yaml.MappingNode) and _commented(value, lines):
            yield from _within(value, default, lines, prefix=f"{name}.")
            continue
        comment = _above(key.start_mark.line, lines)
        if not comment:
            raise TaskFailure(f"values.yaml line {key.start_mark.line + 1}: {name} has no comment above it.")
        yield Value(name, _one_line(default), comment)


def _commented(node: yaml.MappingNode, lines: Sequence[str]) -> bool:
    """Say whether a comment stands above any key in *node*."""
    return any(_above(key.start_mark.line, lines) for key, _ in node.value)


def _above(line: int, lines: Sequence[str]) -> tuple[str, ...]:
    comment: list[str] = []
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        comment.insert(0, lines[line].lstrip().removeprefix("#").removeprefix(" "))
    return tuple(comment)


def _one_line(default: object) -> str:
    text = yaml.safe_dump(default, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def readme(chart: Path = CHART) -> str:
    """Return the text of the chart's README."""
    about = yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8"))
    kubernetes = about["kubeVersion"].removeprefix(">=").removesuffix("-0").removesuffix(".0") + " or later"
    parts = [HEAD.format(description=about["description"], kubernetes=kubernetes)]
    for value in values((chart / "values.yaml").read_text(encoding="utf-8")):
        parts.append(_entry(value))
    return "\n".join(parts)


def _entry(value: Value) -> str:
    """Write one value as an item of a list, with the indented lines of its comment as an example."""
    entry = f"- **`{value.name}`** (`{value.default}`):"
    for example, lines in itertools.groupby(value.comment, key=lambda line: line.startswith("  ")):
        text = list(lines)
        # Four spaces: with fewer, not every Markdown takes the lines for a part of the item.
        shown = "\n".join(["    ```yaml", *(f"  {line}" for line in text), "    ```"])
        entry += f"\n\n{shown}\n\n   " if example else " " + " ".join(text)
    # A blank line, or the next item is taken for a part of the text.
    return f"{entry.rstrip()}\n" if "\n" in entry else entry


def defaults(chart: Path = CHART) -> str:
    """Return the template that gives an empty section of a values file its defaults.

    Helm takes `gpu:` with nothing behind it for "no such value", and the chart could not tell what it would have been.
    What the schema lets be null means something else without a value, and stays away.
    """
    schema = json.loads((chart / "values.schema.json").read_text(encoding="utf-8"))
    known = yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8"))
    return DEFAULTS.format(json=json.dumps(_nodes(schema, schema, known), indent=1))


def _nodes(schema: Mapping[str, Any], part: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Return for each value its default and, for a section, those within it."""
    nodes = {}
    for name, default in known.items():
        inner = part["properties"][name]
        while "$ref" in inner:
            inner = schema["definitions"][inner["$ref"].rpartition("/")[2]]
        if _may_be_null(inner):
            continue
        nodes[name] = {"default": default}
        if isinstance(default, dict) and default and "properties" in inner:
            nodes[name]["within"] = _nodes(schema, inner, default)
    return nodes


def _may_be_null(part: Mapping[str, Any]) -> bool:
    return "null" in part.get("type", ()) or any(_may_be_null(choice) for choice in part.get("anyOf", ()))


if __name__ == "__main__":
    with reporting():
        for name, text in (("README.md", readme() + "\n"), (DEFAULTS_PATH, defaults())):
            (CHART / name).write_text(text, encoding="utf-8")
            say(f"{CHART.relative_to(ROOT)}/{name}")
