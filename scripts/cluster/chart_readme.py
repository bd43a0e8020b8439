"""Write the chart's README from its commented values: ``python -m scripts.cluster.chart_readme``."""

import itertools
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

{description}, behind one Service, with probes on the stable version,
rollouts that fit scarce GPUs, and everything around them behind flags.

```
helm upgrade --install triton-infer helm/triton --namespace triton --create-namespace -f helm/values.yaml \\
    --set-string image.repository=REGISTRY/triton-infer --set-string image.digest=sha256:...
helm test triton-infer --namespace triton
```

`invoke deploy-triton` does the same and watches over it. Kubernetes {kubernetes}, Helm 3 or 4. Pod Security's level
`restricted` takes the pods.

## Values

`python -m scripts.cluster.chart_readme` writes this page from [values.yaml](values.yaml).
[values.schema.json](values.schema.json) refuses what is not in it.
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
        entry += "\n\n".join(["", "\n".join(["  ```yaml", *text, "  ```"]), " "]) if example else " " + " ".join(text)
    return entry


if __name__ == "__main__":
    with reporting():
        (CHART / "README.md").write_text(readme() + "\n", encoding="utf-8")
        say(f"{CHART.relative_to(ROOT)}/README.md")
