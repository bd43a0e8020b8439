"""The bucket of the model store: made whole, or checked and left alone."""

from collections.abc import Iterator

import boto3
import moto
import pytest

from scripts.host.errors import TaskFailure
from scripts.registry import bucket
from scripts.registry.aws import Access
from scripts.registry.credentials import Credentials


@pytest.fixture
def access(monkeypatch: pytest.MonkeyPatch) -> Iterator[Access]:
    """Return a way to an AWS in this process."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with moto.mock_aws():
        yield Access(
            region="eu-central-1",
            credentials=Credentials.of_keys(),
            client=lambda service: boto3.client(service, region_name="eu-central-1"),
        )


def test_a_bucket_is_made_as_it_has_to_be(access: Access) -> None:
    """A second time it is there already."""
    said: list[str] = []
    assert bucket.create(access, "our-models", progress=said.append) is True
    assert said == ["Creating the bucket our-models in eu-central-1"]
    assert all(one.found for one in bucket.check(access, "our-models"))
    assert bucket.create(access, "our-models", progress=said.append) is False


def test_a_bucket_of_somebody_elses_making_is_only_checked(access: Access) -> None:
    """What it lacks is told with the command that mends it, and it is not changed."""
    client = access.client("s3")
    client.create_bucket(Bucket="theirs", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    assert bucket.create(access, "theirs", progress=lambda _: None) is False
    wrong = {one.what: one.mend for one in bucket.check(access, "theirs") if not one.found}
    assert wrong["versioned"] == "put-bucket-versioning --bucket theirs --versioning-configuration Status=Enabled"
    assert "BlockPublicAcls=true" in wrong["no public access"]
    assert "Status" not in client.get_bucket_versioning(Bucket="theirs")


def test_a_bucket_that_is_not_there_cannot_be_checked(access: Access) -> None:
    """AWS's answer becomes one message."""
    with pytest.raises(TaskFailure):
        bucket.check(access, "nowhere")
