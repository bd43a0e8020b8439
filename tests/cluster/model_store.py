"""An S3 of the tests' own (moto) in the network of a cluster, with a model store in it."""

import contextlib
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import boto3

from scripts.agent.s3 import Bucket
from scripts.agent.store import Store
from scripts.versions.publish import publish
from tests.cluster.plane import ControlPlane
from tests.cluster.processes import child, wait_until_ready

BUCKET, PORT = "models", 5555
KEYS = {"AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}


@attrs.frozen(kw_only=True)
class ModelStore:
    """A model store that pods reach.

    Attributes:
        url: Where S3 answers, for pods and for this machine.
    """

    url: str
    address: str = f"s3://{BUCKET}/prod"

    @property
    def settings(self) -> Mapping[str, str]:
        """The settings of somebody on the node, where it answers on loopback."""
        return {**KEYS, "MODEL_STORE": self.address, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{PORT}"}

    @property
    def values(self) -> Mapping[str, Any]:
        """The values of the chart for it."""
        variables = {**KEYS, "AWS_ENDPOINT_URL": self.url}
        return {"store": self.address, "env": [{"name": name, "value": value} for name, value in variables.items()]}

    def publish(self, repository: Path, *, model: str, version: int) -> str:
        """Publish a packaged version; return its digest."""
        store = Store(Bucket(self._client(), BUCKET, "prod/"))
        done = publish(repository, store, model=model, version=version, progress=lambda *_: None)
        return done.version.digest

    def create(self) -> None:
        """Make the bucket."""
        self._client().create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": KEYS["AWS_REGION"]}
        )  # fmt: skip

    def _client(self) -> Any:
        session = boto3.Session(
            KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"], region_name=KEYS["AWS_REGION"]
        )
        return session.client("s3", endpoint_url=self.url)


@contextlib.contextmanager
def model_store(plane: ControlPlane, *, folder: Path) -> Iterator[ModelStore]:
    """Run an S3 until the block ends, and give the empty model store in it.

    Args:
        plane: In whose network.
        folder: Where its log may lie.
    """
    made = ModelStore(url=f"http://{plane.network.address}:{PORT}")
    command = [*plane.inside, sys.executable, "-m", "moto.server", "--host=0.0.0.0", f"--port={PORT}"]
    with child("s3", command, logs=folder) as process:

        def answers() -> bool:
            with contextlib.suppress(OSError), urllib.request.urlopen(made.url, timeout=2):
                return True
            return False

        wait_until_ready("s3", answers, log=folder / "s3.log", process=process)
        made.create()
        yield made
