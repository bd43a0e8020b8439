"""The labels of an image in ECR, which stand in its configuration."""

import json
from collections.abc import Callable, Mapping

import urllib3

from scripts.host import http
from scripts.host.errors import TaskFailure
from scripts.registry import ecr
from scripts.registry.aws import Access
from scripts.registry.ecr import ImageRepository

_CONNECT_TIMEOUT_S, _SILENCE_S = 5.0, 20.0


def download(url: str) -> bytes:
    """Return a small object.

    Raises:
        TaskFailure: If it cannot be fetched.
    """
    try:
        answer = http.pool(url, connect=_CONNECT_TIMEOUT_S, silence=_SILENCE_S).request("GET", url, retries=False)
    except urllib3.exceptions.HTTPError as error:
        raise TaskFailure(f"What the registry holds cannot be fetched ({type(error).__name__}).") from None
    if answer.status != 200:
        raise TaskFailure(f"What the registry holds cannot be fetched (HTTP {answer.status}).")
    return answer.data


def read(
    access: Access, repository: ImageRepository, digest: str, *, fetch: Callable[[str], bytes] = download
) -> Mapping[str, str] | None:
    """Return the labels of the image of *digest*; None where ECR has none, or only a list of platforms.

    Raises:
        TaskFailure: If ECR, or the place that it names, cannot be asked.
    """
    image = ecr.found(access, repository, digest)
    if image is None or image.config is None:
        return None
    with access.errors(f"look at the image in {repository.name}"):
        answer = access.client("ecr").get_download_url_for_layer(
            registryId=repository.account, repositoryName=repository.name, layerDigest=image.config
        )
    said: Mapping[str, str] = (json.loads(fetch(answer["downloadUrl"])).get("config") or {}).get("Labels") or {}
    return said
