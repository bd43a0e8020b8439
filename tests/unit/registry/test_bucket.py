"""The bucket of the model store: made whole, or checked and left alone."""

from collections.abc import Iterator

import attrs
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


def test_a_try_to_write_leaves_nothing(access: Access) -> None:
    """Neither an object nor an unfinished upload."""
    bucket.create(access, "our-models", progress=lambda _: None)
    assert bucket.may_write(access, "our-models", "some/") is True
    client = access.client("s3")
    assert client.list_objects_v2(Bucket="our-models")["KeyCount"] == 0
    assert not client.list_multipart_uploads(Bucket="our-models").get("Uploads")
    with pytest.raises(TaskFailure):
        bucket.may_write(access, "nobodys", "")


def test_who_may_only_read_is_told_apart(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS's refusal is an answer."""
    bucket.create(access, "our-models", progress=lambda _: None)
    client = access.client("s3")
    refusal = client.exceptions.ClientError({"Error": {"Code": "AccessDenied"}}, "CreateMultipartUpload")

    def refuse(**_: object) -> None:
        raise refusal

    monkeypatch.setattr(client, "create_multipart_upload", refuse)
    assert bucket.may_write(attrs.evolve(access, client=lambda _: client), "our-models", "") is False
