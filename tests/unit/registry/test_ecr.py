"""The registry: its address, whose it is, how it is made; AWS's answers are scripted."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.host.errors import TaskFailure
from scripts.host.settings import load
from scripts.registry import ecr
from scripts.registry.ecr import ImageRepository, Rules, Stored
from tests.doubles.aws_stubs import ACCOUNT, REGION, REGISTRY, WHERE, ScriptedAws

DIGEST = "sha256:" + "a" * 64
CONFIG = "sha256:" + "c" * 64
CREATE = {
    **WHERE,
    "imageTagMutability": "IMMUTABLE",
    "imageScanningConfiguration": {"scanOnPush": True},
    "encryptionConfiguration": {"encryptionType": "AES256"},
}
SETTINGS = {"AWS_ACCOUNT_ID": ACCOUNT, "AWS_REGION": REGION, "ECR_REPOSITORY": "triton-infer"}


@pytest.fixture
def aws() -> Iterator[ScriptedAws]:
    """Give AWS's answers, all of which must be asked for."""
    script = ScriptedAws()
    yield script
    script.close()


def from_settings(**values: str) -> ImageRepository:
    """Return the registry of these settings."""
    return ImageRepository.from_settings(load(Path("no-such-folder"), environ=SETTINGS | values))


def existing(**different: Any) -> dict[str, Any]:
    """Return ECR's description of a repository that is as it should be, but for *different*."""
    as_wanted = {key: value for key, value in CREATE.items() if key not in WHERE}
    return {"repositories": [as_wanted | different]}


def test_the_address_follows_from_account_region_and_name() -> None:
    """The usual host, China's, and a stand-in."""
    assert from_settings() == REGISTRY
    assert REGISTRY.uri == "123456789012.dkr.ecr.eu-central-1.amazonaws.com/triton-infer"
    assert REGISTRY.is_ecr
    assert from_settings(AWS_REGION="cn-north-1").host.endswith(".cn-north-1.amazonaws.com.cn")
    assert from_settings(AWS_REGION="cn-north-1").is_ecr
    local = from_settings(REGISTRY_HOST="127.0.0.1:5000")
    assert local.uri == "127.0.0.1:5000/triton-infer"
    assert not local.is_ecr


@pytest.mark.parametrize("whose", ["210987654321.dkr.ecr.eu-central-1", f"{ACCOUNT}.dkr.ecr.us-east-1"])
def test_a_host_of_another_account_or_region_is_refused(whose: str) -> None:
    """REGISTRY_HOST cannot lead an image to somebody else's registry."""
    with pytest.raises(TaskFailure, match="REGISTRY_HOST is the registry of account"):
        from_settings(REGISTRY_HOST=f"{whose}.amazonaws.com")


def test_credentials_of_another_account_are_refused_with_both_numbers(aws: ScriptedAws) -> None:
    """Who is logged in to the wrong account learns which one, and as whom."""
    aws.identity("210987654321")
    with pytest.raises(TaskFailure, match=f"user/ci, of account 210987654321, .* account {ACCOUNT}"):
        ecr.check_scope(aws.access, REGISTRY)


def test_a_repository_is_made_with_every_rule(aws: ScriptedAws) -> None:
    """Immutable tags, scan on push, encryption, and a policy that keeps the last N."""
    aws.identity()
    aws.ecr("create_repository", {}, CREATE)
    aws.refuse("get_lifecycle_policy", "LifecyclePolicyNotFoundException")
    rule = {
        "rulePriority": 1,
        "description": "Keep the last 20 images",
        "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 20},
        "action": {"type": "expire"},
    }
    aws.ecr("put_lifecycle_policy", {}, {**WHERE, "lifecyclePolicyText": json.dumps({"rules": [rule]})})
    said: list[str] = []
    ecr.create(aws.access, REGISTRY, Rules(), progress=said.append)
    assert said[0].startswith("Created triton-infer: immutable tags, scan on push")


def test_the_rules_come_from_the_settings(aws: ScriptedAws) -> None:
    """A KMS key and another number of images."""
    values = SETTINGS | {"ECR_KMS_KEY": "alias/images", "ECR_KEEP_IMAGES": "7"}
    rules = Rules.from_settings(load(Path("no-such-folder"), environ=values))
    aws.identity()
    key = {"encryptionType": "KMS", "kmsKey": "alias/images"}
    aws.ecr("create_repository", {}, CREATE | {"encryptionConfiguration": key})
    aws.ecr("get_lifecycle_policy", {"lifecyclePolicyText": json.dumps(rules.lifecycle)}, WHERE)
    ecr.create(aws.access, REGISTRY, rules, progress=lambda _: None)
    assert rules.lifecycle["rules"][0]["selection"]["countNumber"] == 7


def test_making_it_twice_changes_nothing(aws: ScriptedAws) -> None:
    """A repository that is as it should be is only looked at."""
    aws.identity()
    aws.refuse("create_repository", "RepositoryAlreadyExistsException")
    aws.ecr("describe_repositories", existing(), {"registryId": ACCOUNT, "repositoryNames": ["triton-infer"]})
    aws.ecr("get_lifecycle_policy", {"lifecyclePolicyText": json.dumps(Rules().lifecycle, indent=1)}, WHERE)
    said: list[str] = []
    ecr.create(aws.access, REGISTRY, Rules(), progress=said.append)
    assert said == ["triton-infer is there already"]


def test_a_repository_made_by_hand_is_brought_to_the_rules(aws: ScriptedAws) -> None:
    """What ECR can change is changed; that the encryption stays is said."""
    aws.identity()
    aws.refuse("create_repository", "RepositoryAlreadyExistsException")
    loose = existing(
        imageTagMutability="MUTABLE",
        imageScanningConfiguration={"scanOnPush": False},
        encryptionConfiguration={"encryptionType": "KMS", "kmsKey": "k"},
    )
    aws.ecr("describe_repositories", loose, {"registryId": ACCOUNT, "repositoryNames": ["triton-infer"]})
    aws.ecr("put_image_tag_mutability", {}, {**WHERE, "imageTagMutability": "IMMUTABLE"})
    aws.ecr("put_image_scanning_configuration", {}, {**WHERE, "imageScanningConfiguration": {"scanOnPush": True}})
    aws.ecr("get_lifecycle_policy", {"lifecyclePolicyText": json.dumps(Rules(keep=3).lifecycle)}, WHERE)
    aws.ecr("put_lifecycle_policy", {}, {**WHERE, "lifecyclePolicyText": json.dumps(Rules().lifecycle)})
    said: list[str] = []
    ecr.create(aws.access, REGISTRY, Rules(), progress=said.append)
    assert any("encrypted with KMS, which ECR cannot change" in line for line in said)


def test_a_missing_right_to_create_is_named(aws: ScriptedAws) -> None:
    """Pushing needs less than creating: the message says which right is missing."""
    aws.identity()
    aws.refuse("create_repository", "AccessDeniedException", "x is not authorized to perform: ecr:CreateRepository")
    with pytest.raises(TaskFailure, match=r"create the repository triton-infer: .*not allowed ecr:CreateRepository"):
        ecr.create(aws.access, REGISTRY, Rules(), progress=lambda _: None)


def test_the_login_is_the_password_of_ecrs_token(aws: ScriptedAws) -> None:
    """The part after `AWS:`, as a value that hides itself."""
    text = base64.b64encode(b"AWS:pass:word").decode()
    aws.ecr("get_authorization_token", {"authorizationData": [{"authorizationToken": text}]}, {})
    password = ecr.token(aws.access)
    assert password.reveal() == "pass:word"
    assert "pass" not in repr(password)


def test_a_repository_that_is_not_there_is_told_with_the_task_that_makes_it(aws: ScriptedAws) -> None:
    """Before anything is built."""
    aws.refuse("describe_images", "RepositoryNotFoundException")
    with pytest.raises(TaskFailure, match="invoke create-repository"):
        ecr.check_exists(aws.access, REGISTRY)


def test_a_tag_is_looked_up_with_its_image(aws: ScriptedAws) -> None:
    """A single image has a configuration, a list of platforms has none, a free tag is None."""
    expected = {**WHERE, "imageIds": [{"imageTag": "t"}], "acceptedMediaTypes": list(ecr.MANIFESTS)}
    for manifest in (json.dumps({"config": {"digest": CONFIG}}), '{"manifests": []}'):
        image = {"imageId": {"imageDigest": DIGEST}, "imageManifest": manifest}
        aws.ecr("batch_get_image", {"images": [image]}, expected)
    missing = {"images": [], "failures": [{"failureCode": "ImageNotFound"}]}
    aws.ecr("batch_get_image", missing, expected)
    access = aws.access
    assert ecr.stored(access, REGISTRY, "t") == Stored(image=REGISTRY.image(tag="t", digest=DIGEST), config=CONFIG)
    assert ecr.stored(access, REGISTRY, "t") == Stored(image=REGISTRY.image(tag="t", digest=DIGEST), config=None)
    assert ecr.stored(access, REGISTRY, "t") is None
