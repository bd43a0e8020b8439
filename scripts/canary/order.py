"""What a canary in the cluster is told: all that the judge in the pod knows beside what the cluster says."""

import json
from typing import Self

import attrs

from scripts.canary.compared import Compared
from scripts.canary.settings import Settings


@attrs.frozen(kw_only=True)
class Wish:
    """What is to be tried, and how.

    Attributes:
        model: The model's name.
        version: The version that is tried.
        digest: What its bytes must have; None: any.
        settings: How to go about it.
        keep: How many former versions stay served after the promotion.
        limit_s: It ends without a promotion after so long.
        roll_s: So long a change of what is served may take.
        compared: What the bound for other answers in *settings* comes from; None: from the configuration.
    """

    model: str
    version: int
    digest: str | None
    settings: Settings
    keep: int
    limit_s: float
    roll_s: float
    compared: Compared | None


@attrs.frozen(kw_only=True)
class Order:
    """One canary of a release.

    Attributes:
        wish: What is to be tried.
        release: The release.
        namespace: Its namespace.
        revision: The last revision that it had.
        plan_map: The ConfigMap that its pods read.
        deployment: Its Deployment.
        job: The name of the Job, and of the Role by which the judge may do all this.
    """

    wish: Wish
    release: str
    namespace: str
    revision: int
    plan_map: str
    deployment: str
    job: str

    def to_json(self) -> str:
        """Return it as an argument."""
        return json.dumps(attrs.asdict(self), default=str)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `to_json` gave."""
        data = json.loads(text)
        wish = data["wish"]
        compared = wish["compared"] and Compared.from_dict(wish["compared"])
        settings = Settings.from_dict(wish["settings"])
        return cls(**{**data, "wish": Wish(**{**wish, "settings": settings, "compared": compared})})
