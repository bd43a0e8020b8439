"""Which store an address opens; nobody is asked."""

import sys
from pathlib import Path

import pytest

from scripts.agent.errors import StoreError
from scripts.agent.folder import Folder
from scripts.agent.s3 import Bucket
from scripts.agent.stores import open_store


def test_a_folder_is_opened(tmp_path: Path) -> None:
    """Its name may hold what an address has to escape."""
    objects = open_store(f"file://{tmp_path}/my%20store").objects
    assert isinstance(objects, Folder)
    assert objects.root == tmp_path / "my store"


def test_a_bucket_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows the bucket's name stands before each key, with one slash."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    objects = open_store("s3://models/production/").objects
    assert isinstance(objects, Bucket)
    assert (objects.bucket, objects.prefix, objects.client.meta.region_name) == (
        "models",
        "production/",
        "eu-central-1",
    )


@pytest.mark.parametrize("address", ["models", "/srv/store", "https://models.example/production"])
def test_what_is_no_store_is_told(address: str) -> None:
    """The message shows both ways to write one."""
    with pytest.raises(StoreError, match=r"is no store: write s3://BUCKET/PREFIX or file:///FOLDER\.$"):
        open_store(address)


def test_a_bucket_needs_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names it; a folder needs nothing."""
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(StoreError, match=r"s3://models needs boto3, which is not installed here"):
        open_store("s3://models")
    open_store("file:///srv/store")
