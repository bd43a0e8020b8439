"""Ask a registry itself what it holds, where AWS's API does not know it."""

import urllib3

from scripts.host import http
from scripts.host.errors import TaskFailure
from scripts.host.secret import Secret
from scripts.host.settings import is_loopback
from scripts.registry.ecr import MANIFESTS, ImageRepository, Stored

_CONNECT_TIMEOUT_S, _SILENCE_S = 5.0, 20.0
USER = "AWS"


def stored(repository: ImageRepository, tag: str, *, password: Secret) -> Stored | None:
    """Return what the registry's host holds under *tag*; None where the tag is free.

    Raises:
        TaskFailure: If the registry cannot be reached, or does not take the password.
    """
    # As docker does it: without TLS only on this machine.
    scheme = "http" if is_loopback(repository.host.partition(":")[0]) else "https"
    url = f"{scheme}://{repository.host}/v2/{repository.name}/manifests/{tag}"
    headers = urllib3.make_headers(basic_auth=f"{USER}:{password.reveal()}") | {"Accept": ", ".join(MANIFESTS)}
    try:
        answer = http.pool(url, connect=_CONNECT_TIMEOUT_S, silence=_SILENCE_S).request(
            "GET", url, headers=headers, retries=False, redirect=False
        )
    except urllib3.exceptions.HTTPError as error:
        raise TaskFailure(
            f"The registry {repository.host} cannot be reached ({type(error).__name__}). Check the network and "
            "REGISTRY_HOST, "
            "and run the task again."
        ) from None
    if answer.status == 404:
        return None
    if answer.status in (401, 403):
        raise TaskFailure(
            f"The registry {repository.host} does not take the login that AWS gave for account {repository.account}. "
            "Check REGISTRY_HOST and the permissions in docs/aws.md."
        )
    digest = answer.headers.get("Docker-Content-Digest")
    if answer.status != 200 or not digest:
        raise TaskFailure(
            f"The registry {repository.host} answered {answer.status} when asked for the tag {tag}. Is "
            "REGISTRY_HOST a registry? "
            "If it is, run the task again in a minute."
        )
    return Stored.from_manifest(repository.image(tag=tag, digest=digest), answer.data)
