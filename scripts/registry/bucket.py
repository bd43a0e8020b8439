"""A bucket for the model store: made once, or checked."""

from collections.abc import Callable
from typing import Any

import attrs

from scripts.host.errors import TaskFailure
from scripts.registry.aws import Access

_BLOCKED = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
_ABSENT = ("404", "NoSuchBucket", "NotFound")


@attrs.frozen(kw_only=True)
class Property:
    """Something that a bucket must be.

    Attributes:
        what: Its name.
        found: Whether the bucket is so.
        mend: The arguments of ``aws s3api`` that make it so.
    """

    what: str
    found: bool
    mend: str


def create(access: Access, name: str, *, progress: Callable[[str], None]) -> bool:
    """Make the bucket *name*, encrypted, versioned and closed to the public; return whether it was not there before.

    Raises:
        TaskFailure: If it belongs to somebody else, or AWS refuses.
    """
    client = access.client("s3")
    with access.errors(f"look for the bucket {name}"):
        try:
            client.head_bucket(Bucket=name)
        except client.exceptions.ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ("403", "AccessDenied"):
                raise TaskFailure(
                    f"The bucket {name} belongs to another account, or these credentials may not see it. Choose "
                    "another name in MODEL_STORE, or see docs/aws.md for what they need."
                ) from error
            if code not in _ABSENT:
                raise
        else:
            return False
    progress(f"Creating the bucket {name} in {access.region}")
    with access.errors(f"create the bucket {name}"):
        # The one region that must not be named.
        where: dict[str, Any] = (
            {} if access.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": access.region}}
        )
        client.create_bucket(Bucket=name, ObjectOwnership="BucketOwnerEnforced", **where)
        client.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=_BLOCKED)
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
        client.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": [rule]})
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return True


def check(access: Access, name: str) -> list[Property]:
    """Return what the bucket must be, and whether it is.

    Raises:
        TaskFailure: If AWS cannot be asked.
    """
    client = access.client("s3")

    def asked(call: str, absent: str, **more: str) -> dict[str, Any]:
        with access.errors(f"look at the bucket {name}"):
            try:
                answer: dict[str, Any] = getattr(client, call)(Bucket=name, **more)
            except client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] != absent:
                    raise
                return {}
        return answer

    public = asked("get_public_access_block", "NoSuchPublicAccessBlockConfiguration")
    encrypted = asked("get_bucket_encryption", "ServerSideEncryptionConfigurationNotFoundError")
    versioned = asked("get_bucket_versioning", "")
    closed = ",".join(f"{key}=true" for key in _BLOCKED)
    rule = '{"Rules":[{"ApplyServerSideEncryptionByDefault":{"SSEAlgorithm":"AES256"}}]}'
    return [
        Property(
            what="encrypted",
            found=bool(encrypted.get("ServerSideEncryptionConfiguration", {}).get("Rules")),
            mend=f"put-bucket-encryption --bucket {name} --server-side-encryption-configuration '{rule}'",
        ),
        Property(
            what="no public access",
            found=public.get("PublicAccessBlockConfiguration") == _BLOCKED,
            mend=f"put-public-access-block --bucket {name} --public-access-block-configuration {closed}",
        ),
        Property(
            what="versioned",
            found=versioned.get("Status") == "Enabled",
            mend=f"put-bucket-versioning --bucket {name} --versioning-configuration Status=Enabled",
        ),
    ]


def may_write(access: Access, name: str, prefix: str) -> bool:
    """Say whether these credentials may write below *prefix*: an upload is begun and given up, so nothing is written.

    Raises:
        TaskFailure: If AWS cannot be asked.
    """
    client, key = access.client("s3"), f"{prefix}check-env"
    with access.errors(f"try to write to the bucket {name}"):
        try:
            begun = client.create_multipart_upload(Bucket=name, Key=key)
        except client.exceptions.ClientError as error:
            if error.response["Error"]["Code"] not in ("403", "AccessDenied"):
                raise
            return False
        client.abort_multipart_upload(Bucket=name, Key=key, UploadId=begun["UploadId"])
    return True
