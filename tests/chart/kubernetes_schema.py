"""Write Kubernetes' own definitions into values.schema.json: ``python -m tests.chart.kubernetes_schema``.

What the values hand on as it is (volumes, tolerations, containers) is checked by what the newest Kubernetes says of it,
unknown keys included. The schema names a definition; this adds it, and those that it names in turn.
"""

import json
import re
from typing import Any

import kubernetes_validate

from tests.chart.engines import CHART

SCHEMA = CHART / "values.schema.json"
_REFERENCE = re.compile(r'"\$ref": "[^"]*?(io\.k8s\.[^"/]+)"')


def written() -> str:
    """Return the schema with the definitions that it needs, and no others of Kubernetes'."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    ours = {name: part for name, part in schema["definitions"].items() if not name.startswith("io.k8s.")}
    known = _known()
    needed: dict[str, Any] = {}
    wanted = set(_REFERENCE.findall(json.dumps([schema["properties"], ours])))
    while wanted:
        name = wanted.pop()
        needed[name] = _plain(known[name])
        wanted |= set(_REFERENCE.findall(json.dumps(needed[name]))) - needed.keys()
    schema["definitions"] = ours | dict(sorted(needed.items()))
    return json.dumps(schema, indent=2) + "\n"


def _known() -> dict[str, Any]:
    newest = kubernetes_validate.utils.latest_version()
    folder = f"kubernetes-json-schema/v{newest}-local-strict"
    schema = kubernetes_validate.utils.schema_contents(f"{folder}/_definitions.json", newest)
    found: dict[str, Any] = schema["$defs"]
    return found


def _plain(part: Any) -> Any:
    """Return a definition without prose, whose references are to the same file."""
    if isinstance(part, list):
        return [_plain(inner) for inner in part]
    if not isinstance(part, dict):
        return part
    kept = {name: inner for name, inner in part.items() if not (name == "description" and isinstance(inner, str))}
    kept = {name: inner for name, inner in kept.items() if not name.startswith("x-")}
    if isinstance(reference := kept.get("$ref"), str):
        return {"$ref": f"#/definitions/{reference.rpartition('/')[2]}"}
    return {name: _plain(inner) for name, inner in kept.items()}


if __name__ == "__main__":
    SCHEMA.write_text(written(), encoding="utf-8")
