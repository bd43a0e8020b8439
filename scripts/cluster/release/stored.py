"""A revision of a release as Helm keeps it, in a Secret: read, and followed by one that differs in the plan alone.

A pod has no Helm. What its next revision says is what `helm upgrade` would say with other values of the plan: no other
object of the chart depends on these, and a test holds the two against each other. Helm's format is the same since 3.0.
"""

import base64
import gzip
import json
import re
import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self

import attrs

from scripts.agent.errors import PlanError
from scripts.agent.plan import SCHEMA, Plan
from scripts.cluster import serving
from scripts.cluster.helm import Revision
from scripts.host.errors import TaskFailure

# The one line of a release's objects that holds the plan.
_LINE = re.compile(r'^  plan\.json: ("(?:[^"\\]|\\.)*")$', re.MULTILINE)
DEPLOYED, SUPERSEDED, FAILED = "deployed", "superseded", "failed"


def name_of(release: str, number: int) -> str:
    """Return the name of the Secret with a revision."""
    return f"sh.helm.release.v1.{release}.v{number}"


@attrs.frozen(kw_only=True)
class Stored:
    """One revision.

    Attributes:
        labels: The Secret's.
        body: What Helm has written.
    """

    labels: Mapping[str, str]
    body: Mapping[str, Any]

    @classmethod
    def parse(cls, secret: Mapping[str, Any]) -> Self:
        """Read a Secret of Helm's.

        Raises:
            TaskFailure: If it is none.
        """
        try:
            packed = base64.b64decode(base64.b64decode(secret["data"]["release"]))
            return cls(labels=secret["metadata"].get("labels") or {}, body=json.loads(gzip.decompress(packed)))
        except (KeyError, ValueError, OSError, EOFError, zlib.error) as error:
            raise TaskFailure(f"A revision of Helm's cannot be read: {error!r}.") from error

    @property
    def revision(self) -> Revision:
        """Its number and its state."""
        info = self.body["info"]
        return Revision(
            number=int(self.body["version"]), status=str(info["status"]), description=str(info.get("description", ""))
        )

    @property
    def values(self) -> Mapping[str, Any]:
        """The values that were given."""
        return self.body.get("config") or {}

    @property
    def plan_text(self) -> str:
        """The plan as the pods read it.

        Raises:
            TaskFailure: If there is none, or there are several.
        """
        return str(json.loads(self._place()[1]))

    def secret(self) -> dict[str, Any]:
        """Return it as Helm writes it."""
        packed = base64.b64encode(gzip.compress(json.dumps(self.body).encode(), 9, mtime=0))
        number, status = self.revision.number, self.revision.status
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "helm.sh/release.v1",
            "metadata": {
                "name": name_of(self.body["name"], number),
                "labels": {**self.labels, "version": str(number), "status": status},
            },
            "data": {"release": base64.b64encode(packed).decode()},
        }

    def superseded(self) -> Self:
        """Return it as it is when another one has taken its place."""
        return self._with(status=SUPERSEDED)

    def failed(self, description: str) -> Self:
        """Return it as it is when Helm gave up."""
        return self._with(status=FAILED, description=description)

    def with_plan(self, plan: Plan, *, now: datetime, description: str) -> Self:
        """Return the next revision, which has *plan*.

        Raises:
            TaskFailure: If this one has no place for it.
        """
        values = serving.with_plan(self.values, plan)
        place, manifest = self._place(), self.body["manifest"]
        made = json.dumps(rendered(serving.in_values(values, where="The values of the release")))
        at = now.isoformat().replace("+00:00", "Z")
        body = {
            **self.body,
            "version": self.revision.number + 1,
            "config": values,
            "manifest": f"{manifest[: place.start(1)]}{made}{manifest[place.end(1) :]}",
            "info": {**self.body["info"], "status": DEPLOYED, "last_deployed": at, "description": description},
        }
        seconds = str(int(now.timestamp()))
        labels = {key: value for key, value in self.labels.items() if key != "modifiedAt"} | {"createdAt": seconds}
        return attrs.evolve(self, body=body, labels=labels)

    def _with(self, **info: str) -> Self:
        return attrs.evolve(self, body={**self.body, "info": {**self.body["info"], **info}})

    def _place(self) -> re.Match[str]:
        """Return where the plan stands among the objects.

        Raises:
            TaskFailure: If that is not one place, or no plan stands there.
        """
        try:
            (found,) = _LINE.finditer(self.body["manifest"])
            Plan.parse(json.loads(found[1]))
        except (ValueError, PlanError) as error:
            raise TaskFailure(
                f"Revision {self.revision.number} of the release {self.body['name']} holds no serving plan that the "
                "judge can change. Run `invoke canary` without --job."
            ) from error
        return found


def rendered(plan: Plan) -> str:
    """Return the text of a plan as the chart renders it."""
    said = {"schema": SCHEMA, "generation": plan.generation, "models": plan.to_dict()["models"]}
    return json.dumps(said, sort_keys=True, separators=(",", ":"))
