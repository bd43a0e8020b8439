"""Ask a registry itself what it holds, where AWS's API does not know it."""

import contextlib

import urllib3

from scripts.host import http
from scripts.host.errors import TaskFailure
from scripts.host.secret import Secret
from scripts.host.settings import is_loopback
from scripts.registry.ecr import MANIFESTS, USER, ImageRepository, Stored

_CONNECT_TIMEOUT_S, _SILENCE_S = 5.0, 20.0


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
    except urllib3.exceptions.SSLError as error:
        raise TaskFailure(
            f"The certificate of the registry {repository.host} is not trusted here ({error}). Give the one that "
            "signed it in SSL_CERT_FILE, and to Docker in /etc/docker/certs.d; or correct REGISTRY_HOST."
        ) from None
    except urllib3.exceptions.HTTPError as error:
        raise TaskFailure(
            f"The registry {repository.host} cannot be reached ({type(error).__name__}). Check the network and "
            "REGISTRY_HOST, and run the task again."
        ) from None
    if answer.status == 404:
        return None
    if answer.status == 401:
        raise TaskFailure(
            f"The registry {repository.host} does not take the login that AWS gave for account {repository.account}. "
            "Check AWS_ACCOUNT_ID and REGISTRY_HOST."
        )
    if answer.status == 403:
        raise TaskFailure(
            f"The registry {repository.host} takes the login, and does not allow it to read {repository.name}. Ask the "
            "registry's owner for that right, or correct ECR_REPOSITORY or REGISTRY_HOST."
        )
    if answer.status == 429:
        raise TaskFailure(f"The registry {repository.host} asks for a pause. Run the task again in a minute.")
    digest = answer.headers.get("Docker-Content-Digest")
    # What is no manifest is a page of something else that answers there.
    with contextlib.suppress(ValueError, AttributeError, LookupError, TypeError):
        if answer.status == 200 and digest:
            return Stored.from_manifest(repository.image(tag=tag, digest=digest), answer.data)
    raise TaskFailure(
        f"The registry {repository.host} answered {answer.status} without a manifest when asked for the tag {tag}. Is "
        "REGISTRY_HOST a registry? If it is, run the task again in a minute."
    )
