"""The image registry: where it is, whose it is, what it holds; made once by `create`."""

import base64
import json
from collections.abc import Callable
from typing import Any, Self

import attrs
from botocore.exceptions import ClientError

from scripts.host.errors import TaskFailure
from scripts.host.secret import Secret
from scripts.host.settings import Settings
from scripts.registry import aws, partitions
from scripts.registry.aws import Access
from scripts.registry.reference import Reference

DEFAULT_KEEP = 20
# Whose password `token` gives.
USER = "AWS"
# The kinds of manifest that an engine may have pushed: a single image, or a list with one for each platform.
MANIFESTS = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
)


@attrs.frozen(kw_only=True)
class ImageRepository:
    """A repository of images in somebody's registry.

    Attributes:
        account: The AWS account that it belongs to, 12 digits.
        region: Its region.
        name: Its name.
        host: The registry's host, with a port where it has one.
    """

    account: str
    region: str
    name: str
    host: str

    @classmethod
    def from_settings(cls, settings: Settings, *, region: str | None = None) -> Self:
        """Return the repository that the settings name.

        Args:
            settings: They must have AWS_ACCOUNT_ID and ECR_REPOSITORY.
            region: The region, where AWS_REGION does not say it.

        Raises:
            TaskFailure: If something is not set, or REGISTRY_HOST names another account's or region's registry.
        """
        account, name = settings.require("AWS_ACCOUNT_ID", "ECR_REPOSITORY")
        region = settings.get("AWS_REGION") or region or settings.require("AWS_REGION")[0]
        host = settings.get("REGISTRY_HOST") or f"{account}.dkr.ecr.{region}.{partitions.domain(region)}"
        named = partitions.registry_host().fullmatch(host)
        if named and named.groups() != (account, region):
            raise TaskFailure(
                f"REGISTRY_HOST is the registry of account {named[1]} in {named[2]}, but AWS_ACCOUNT_ID and the region "
                f"say {account} in {region}. Correct one of them, or leave REGISTRY_HOST out."
            )
        return cls(account=account, region=region, name=name, host=host)

    @classmethod
    def of(cls, image: Reference, settings: Settings) -> Self | None:
        """Return the repository of *image*, where that is in ECR or in what the settings name in its stead.

        Raises:
            TaskFailure: If the settings cannot be used.
        """
        if (own := partitions.registry_host().fullmatch(image.host)) is not None:
            return cls(account=own[1], region=own[2], name=image.name, host=image.host)
        if image.host and image.host == settings.get("REGISTRY_HOST") and settings.has("AWS_ACCOUNT_ID"):
            known = cls.from_settings(settings, region=aws.open_access(settings).region)
            return attrs.evolve(known, name=image.name)
        return None

    def image(self, *, tag: str | None = None, digest: str | None = None) -> Reference:
        """Return what an image in it is called."""
        return Reference(repository=self.uri, tag=tag, digest=digest)

    def below(self, name: str) -> Self:
        """Return the repository *name* below this one: the chart stands below the images."""
        return attrs.evolve(self, name=f"{self.name}/{name}")

    @property
    def uri(self) -> str:
        """The repository's address, to which ``:tag`` or ``@digest`` is added."""
        return f"{self.host}/{self.name}"

    @property
    def is_ecr(self) -> bool:
        """Whether the host is ECR itself, not something that stands in for it."""
        return partitions.registry_host().fullmatch(self.host) is not None


@attrs.frozen(kw_only=True)
class Stored:
    """An image in the registry.

    Attributes:
        image: What it is called there, by its digest too.
        config: The digest of its configuration, by which an engine knows it; None for a list of platforms.
    """

    image: Reference
    config: str | None

    @classmethod
    def from_manifest(cls, image: Reference, manifest: str | bytes) -> Self:
        """Read what a registry answered."""
        config = json.loads(manifest).get("config")
        return cls(image=image, config=config["digest"] if config else None)


def check_scope(access: Access, repository: ImageRepository) -> aws.Identity:
    """Check that the credentials belong to the account that the repository belongs to.

    Raises:
        TaskFailure: If they do not, or AWS does not take them.
    """
    identity = access.identity()
    if identity.account != repository.account:
        raise TaskFailure(
            f"These credentials ({access.credentials}) are {identity.arn}, of account {identity.account}, but the "
            f"registry belongs to account {repository.account}. Use a profile or keys of that account, or correct "
            "AWS_ACCOUNT_ID."
        )
    return identity


def check_exists(access: Access, repository: ImageRepository) -> None:
    """Check that the repository is there.

    Raises:
        TaskFailure: If it is not, or cannot be asked for.
    """
    with access.errors(f"find the repository {repository.name}"):
        access.client("ecr").describe_images(
            registryId=repository.account, repositoryName=repository.name, maxResults=1
        )


def token(access: Access) -> Secret:
    """Return a password for `USER`, good for 12 hours.

    Raises:
        TaskFailure: If AWS does not give one.
    """
    with access.errors("get a login for the registry"):
        answer = access.client("ecr").get_authorization_token()
        _, _, password = base64.b64decode(answer["authorizationData"][0]["authorizationToken"]).decode().partition(":")
    return Secret(password)


def stored(access: Access, repository: ImageRepository, tag: str) -> Stored | None:
    """Return what ECR holds under *tag*; None where the tag is free.

    Raises:
        TaskFailure: If ECR cannot be asked, or there is no repository.
    """
    images = _images(access, repository, {"imageTag": tag}, doing=f"look for the tag {tag} in {repository.name}")
    if not images:
        return None
    found = repository.image(tag=tag, digest=images[0]["imageId"]["imageDigest"])
    return Stored.from_manifest(found, images[0]["imageManifest"])


def has(access: Access, repository: ImageRepository, digest: str) -> bool:
    """Say whether ECR holds an image of *digest*.

    Raises:
        TaskFailure: If ECR cannot be asked, or there is no repository.
    """
    return bool(_images(access, repository, {"imageDigest": digest}, doing=f"look for the image in {repository.name}"))


def found(access: Access, repository: ImageRepository, digest: str) -> Stored | None:
    """Return what ECR holds by *digest*; None where it holds nothing by that.

    Raises:
        TaskFailure: If ECR cannot be asked, or there is no repository.
    """
    images = _images(access, repository, {"imageDigest": digest}, doing=f"look at the image in {repository.name}")
    return Stored.from_manifest(repository.image(digest=digest), images[0]["imageManifest"]) if images else None


def _images(access: Access, repository: ImageRepository, wanted: dict[str, str], *, doing: str) -> list[dict[str, Any]]:
    """Return ECR's description of the image *wanted*, by its tag or its digest; empty where there is none."""
    with access.errors(doing):
        answer = access.client("ecr").batch_get_image(
            registryId=repository.account,
            repositoryName=repository.name,
            imageIds=[wanted],
            acceptedMediaTypes=list(MANIFESTS),
        )
    return list(answer.get("images", []))


@attrs.frozen(kw_only=True)
class Rules:
    """How the repository shall be; its tags are always immutable, and its images scanned when they are pushed.

    Attributes:
        keep: How many images stay: older ones are removed.
        key: The KMS key that encrypts it; None for AES256.
    """

    keep: int = DEFAULT_KEEP
    key: str | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return what the settings say."""
        return cls(keep=int(settings.get("ECR_KEEP_IMAGES") or DEFAULT_KEEP), key=settings.get("ECR_KMS_KEY"))

    @property
    def encryption(self) -> dict[str, str]:
        """As ECR takes it."""
        return {"encryptionType": "KMS", "kmsKey": self.key} if self.key else {"encryptionType": "AES256"}

    @property
    def lifecycle(self) -> dict[str, Any]:
        """As ECR takes it, before it is made text."""
        return {
            "rules": [
                {
                    "rulePriority": 1,
                    "description": f"Keep the last {self.keep} images",
                    "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": self.keep},
                    "action": {"type": "expire"},
                }
            ]
        }


def create(access: Access, repository: ImageRepository, rules: Rules, *, progress: Callable[[str], None]) -> None:
    """Make the repository, or make the one that is there follow *rules*; doing it twice is doing it once.

    Raises:
        TaskFailure: If the credentials are another account's, or AWS refuses.
    """
    check_scope(access, repository)
    ecr, where = access.client("ecr"), {"registryId": repository.account, "repositoryName": repository.name}
    with access.errors(f"create the repository {repository.name}"):
        try:
            ecr.create_repository(
                **where,
                imageTagMutability="IMMUTABLE",
                imageScanningConfiguration={"scanOnPush": True},
                encryptionConfiguration=rules.encryption,
            )
            progress(f"Created {repository.name}: immutable tags, scan on push, {rules.encryption['encryptionType']}")
        except ClientError as error:
            if error.response["Error"]["Code"] != "RepositoryAlreadyExistsException":
                raise
            progress(f"{repository.name} is there already")
            _align(ecr, where, rules, progress=progress)
    with access.errors(f"set the lifecycle policy of {repository.name}"):
        if _lifecycle(ecr, where) != rules.lifecycle:
            ecr.put_lifecycle_policy(**where, lifecyclePolicyText=json.dumps(rules.lifecycle))
            progress(f"Lifecycle policy: the last {rules.keep} images stay")


def _align(ecr: Any, where: dict[str, str], rules: Rules, *, progress: Callable[[str], None]) -> None:
    """Change what differs from the rules in a repository that was there before."""
    there = ecr.describe_repositories(registryId=where["registryId"], repositoryNames=[where["repositoryName"]])
    repository = there["repositories"][0]
    if repository.get("imageTagMutability") != "IMMUTABLE":
        ecr.put_image_tag_mutability(**where, imageTagMutability="IMMUTABLE")
        progress("Tags are immutable from now on")
    if not repository.get("imageScanningConfiguration", {}).get("scanOnPush"):
        ecr.put_image_scanning_configuration(**where, imageScanningConfiguration={"scanOnPush": True})
        progress("Images are scanned when they are pushed from now on")
    kind = repository.get("encryptionConfiguration", {}).get("encryptionType", "AES256")
    if kind != rules.encryption["encryptionType"]:
        progress(f"Note: it is encrypted with {kind}, which ECR cannot change later: make a new repository for another")


def _lifecycle(ecr: Any, where: dict[str, str]) -> object:
    try:
        return json.loads(ecr.get_lifecycle_policy(**where)["lifecyclePolicyText"])
    except ClientError as error:
        if error.response["Error"]["Code"] != "LifecyclePolicyNotFoundException":
            raise
        return None
