"""The labels of an image in ECR; AWS's answers are scripted."""

import json
from collections.abc import Iterator

import pytest

from scripts.registry import labels
from scripts.registry.ecr import MANIFESTS
from tests.doubles.aws_stubs import REGISTRY, WHERE, ScriptedAws

DIGEST, CONFIG = "sha256:" + "a" * 64, "sha256:" + "c" * 64
URL = "https://objects.example/config"


@pytest.fixture
def aws() -> Iterator[ScriptedAws]:
    """Give AWS's answers, all of which must be asked for."""
    script = ScriptedAws()
    yield script
    script.close()


def holds(aws: ScriptedAws, *manifests: object) -> None:
    """Let ECR answer with these manifests."""
    images = [{"imageId": {"imageDigest": DIGEST}, "imageManifest": json.dumps(each)} for each in manifests]
    asked = {**WHERE, "imageIds": [{"imageDigest": DIGEST}], "acceptedMediaTypes": list(MANIFESTS)}
    aws.ecr("batch_get_image", {"images": images}, asked)


@pytest.mark.parametrize(
    ("config", "expected"),
    [({"config": {"Labels": {"triton-sdk.agent": "1"}}}, {"triton-sdk.agent": "1"}), ({"config": {}}, {}), ({}, {})],
)
def test_labels_stand_in_the_configuration(aws: ScriptedAws, config: object, expected: dict[str, str]) -> None:
    """Which ECR names by the manifest."""
    holds(aws, {"config": {"digest": CONFIG}})
    aws.ecr("get_download_url_for_layer", {"downloadUrl": URL}, {**WHERE, "layerDigest": CONFIG})
    fetched: list[str] = []

    def fetch(url: str) -> bytes:
        fetched.append(url)
        return json.dumps(config).encode()

    assert labels.read(aws.access, REGISTRY, DIGEST, fetch=fetch) == expected
    assert fetched == [URL]


@pytest.mark.parametrize("manifests", [(), ({"manifests": []},)], ids=["nothing", "a list of platforms"])
def test_what_has_no_configuration_has_no_labels(aws: ScriptedAws, manifests: tuple[object, ...]) -> None:
    """Nothing is fetched then."""
    holds(aws, *manifests)
    assert labels.read(aws.access, REGISTRY, DIGEST, fetch=lambda _: pytest.fail("it was fetched")) is None
