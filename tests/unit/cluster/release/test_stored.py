"""A revision of Helm's, read and written: another plan, and nothing else."""

import base64
import gzip
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from scripts.agent.plan import ModelPlan, Plan
from scripts.cluster.release.stored import Stored, name_of
from scripts.host.errors import TaskFailure

NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)
PLAN = Plan(models={"cars": ModelPlan(serve=(1, 2), candidate=3, digests={3: "a" * 64})}, generation=4)
BEFORE = '{"generation":3,"models":{},"schema":1}'
MANIFEST = f"""---
# Source: triton/templates/configmap.yaml
apiVersion: v1
kind: ConfigMap
metadata:
  name: "triton-infer-plan"
data:
  plan.json: {json.dumps(BEFORE)}
---
# Source: triton/templates/deployment.yaml
apiVersion: apps/v1
kind: Deployment
"""


def written(manifest: str = MANIFEST, **changes: Any) -> dict[str, Any]:
    """Return the Secret of revision 7, as Helm writes it."""
    body = {
        "name": "triton-infer",
        "info": {"first_deployed": "x", "last_deployed": "y", "status": "deployed", "description": "Upgrade complete"},
        "chart": {"metadata": {"name": "triton"}},
        "config": {"image": {"tag": "one"}, "models": {"cars": {"instances": 1}}, "plan": {"generation": 3}},
        "manifest": manifest,
        "version": 7,
        "namespace": "triton",
        "apply_method": "ssa",
        **changes,
    }
    text = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(body).encode()))).decode()
    labels = {"name": "triton-infer", "owner": "helm", "status": "deployed", "version": "7", "modifiedAt": "1"}
    return {"metadata": {"name": "sh.helm.release.v1.triton-infer.v7", "labels": labels}, "data": {"release": text}}


def test_the_next_revision_differs_in_the_plan_alone() -> None:
    """In the values and in the objects alike; what Helm has beside that is kept."""
    old = Stored.parse(written())
    new = old.with_plan(PLAN, now=NOW, description="for a test")
    secret = new.secret()
    assert (secret["metadata"]["name"], secret["type"]) == (name_of("triton-infer", 8), "helm.sh/release.v1")
    assert secret["metadata"]["labels"] == {
        "name": "triton-infer", "owner": "helm", "status": "deployed", "version": "8", "createdAt": "1896091200",
    }  # fmt: skip
    again = Stored.parse(secret)
    assert Plan.parse(again.plan_text) == PLAN
    changed = {key for key in again.body if again.body[key] != old.body[key]}
    assert changed == {"info", "config", "manifest", "version"}
    assert again.body["manifest"].replace(json.dumps(again.plan_text), json.dumps(BEFORE)) == MANIFEST
    assert again.values == {
        "image": {"tag": "one"},
        "models": {"cars": {"instances": 1, "serve": [1, 2], "candidate": 3, "digests": {"3": "a" * 64}}},
        "plan": {"generation": 4},
    }
    told = {"first_deployed": "x", "last_deployed": "2030-01-31T12:00:00Z", "description": "for a test"}
    assert again.body["info"] == {**told, "status": "deployed"}
    assert (again.revision.number, again.revision.status) == (8, "deployed")


def test_what_was_before_is_superseded() -> None:
    """Under its own number, as Helm says it."""
    made = Stored.parse(written()).superseded().secret()
    assert made["metadata"]["labels"]["status"] == "superseded"
    assert (Stored.parse(made).revision.status, Stored.parse(made).revision.number) == ("superseded", 7)


@pytest.mark.parametrize(
    "manifest",
    ["", MANIFEST + MANIFEST, MANIFEST.replace(json.dumps(BEFORE), '"x"'), MANIFEST.replace("plan.json", "x")],
)
def test_a_release_without_one_plan_is_left_alone(manifest: str) -> None:
    """None, several, or what is no plan."""
    with pytest.raises(TaskFailure, match=r"Revision 7 .* holds no serving plan that the judge can change"):
        Stored.parse(written(manifest)).with_plan(PLAN, now=NOW, description="")


@pytest.mark.parametrize("data", [{}, {"release": "%"}, {"release": base64.b64encode(b"eA==").decode()}])
def test_what_is_no_revision_is_told(data: dict[str, str]) -> None:
    """Whatever is wrong with it."""
    with pytest.raises(TaskFailure, match="A revision of Helm's cannot be read"):
        Stored.parse({"metadata": {}, "data": data})
