"""What is advised about a registry is about the registry that failed."""

import pytest

from scripts.host.shell import Completed
from scripts.image import says

ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
CN = "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn"
LOGIN = "aws ecr get-login-password --region {} | docker login --username AWS --password-stdin {}"


def built(base: str, said: str) -> str:
    """Return the message about a build that failed."""
    return str(says.build_failed(Completed(status=1, output=said), base=base)).splitlines()[-1]


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("python:3.11", "docker.io"),
        ("me/triton:1", "docker.io"),
        ("nvcr.io/nvidia/tritonserver:26.08-py3", "nvcr.io"),
        ("reg.corp:5000/x@sha256:abc", "reg.corp:5000"),
        ("localhost/x", "localhost"),
        ("127.0.0.1:5000/a/b:1", "127.0.0.1:5000"),
    ],
)
def test_the_registry_of_an_image(image: str, registry: str) -> None:
    """As Docker finds it: without a host it is Docker Hub."""
    assert says.registry_of(image) == registry


@pytest.mark.parametrize(
    ("base", "login"),
    [
        ("python:3.11", "Docker Hub wants a login, or does not take the one it got. Log in: docker login"),
        ("ghcr.io/me/x:1", "ghcr.io wants a login, or does not take the one it got. Log in: docker login ghcr.io"),
        ("nvcr.io/nvidia/tritonserver:1", "docker login nvcr.io, user $oauthtoken"),
        (f"{ECR}/base:1", LOGIN.format("eu-central-1", ECR)),
        (f"{CN}/base:1", LOGIN.format("cn-north-1", CN)),
    ],
)
def test_the_login_is_that_registrys(base: str, login: str) -> None:
    """NVIDIA's key opens no other registry, and AWS's tokens are made by its own command."""
    assert login in built(base, "failed to authorize: 401 Unauthorized")
    assert ("NGC" in built(base, "unauthorized")) == base.startswith("nvcr.io")


@pytest.mark.parametrize(
    ("said", "saying"),
    [
        ("no basic auth credentials", "Docker has no login for reg.corp. Log in: docker login reg.corp"),
        (
            "denied: Your authorization token has expired. Reauthenticate and try again.",
            "login to reg.corp has expired",
        ),
        ("unexpected status from HEAD request: 403 Forbidden", "reg.corp does not allow the base image to this login"),
        ("denied: requested access to the resource is denied", "reg.corp does not allow the base image"),
        ("pull access denied for x, repository does not exist or may require login", "reg.corp does not give the base"),
        ("x509: certificate signed by unknown authority", "/etc/docker/certs.d/reg.corp/ca.crt"),
        (
            "x509: certificate has expired or is not yet valid: current time 2031",
            "Check the clock of this machine: date",
        ),
        ("x509: certificate is valid for a.corp, not reg.corp", "belongs to another name"),
        ("x509: cannot validate certificate for 10.0.0.1 because it doesn't contain any IP SANs", "another name"),
        ("http: server gave HTTP response to HTTPS client", "insecure-registries"),
        ("toomanyrequests: Rate exceeded", "reg.corp asks for a pause"),
        ("429 Too Many Requests", "reg.corp asks for a pause"),
        ("toomanyrequests: You have reached your unauthenticated pull rate limit.", "With a login it gives more"),
        ("proxyconnect tcp: dial tcp 10.0.0.1:3128: connection refused", "The proxy that Docker's engine uses"),
        ('error getting credentials - err: exec: "docker-credential-desktop": not found', "credsStore"),
    ],
)
def test_each_failure_of_a_registry_has_its_own_way_out(said: str, saying: str) -> None:
    """No login, an expired one, one without the right, three kinds of certificates, two of limits, a proxy."""
    assert saying in built("reg.corp/x:1", said)


@pytest.mark.parametrize(
    ("said", "registry"),
    [
        ('Get "https://registry-1.docker.io/v2/": x509: certificate signed by unknown authority', "Docker Hub"),
        (
            'failed to fetch anonymous token: Get "https://auth.docker.io/token?scope=x": 429 too many requests',
            "Docker Hub",
        ),
        ('Head "https://mirror.corp:8443/v2/x/manifests/1": x509: unknown authority', "mirror.corp:8443"),
        ("dial tcp: lookup ghcr.io on 10.0.0.1:53: no such host", "ghcr.io"),
    ],
)
def test_the_registry_that_dockers_words_name_is_meant(said: str, registry: str) -> None:
    """A build asks others than its base's: a mirror, a token's server, the base of a slim image."""
    assert registry in built("nvcr.io/nvidia/tritonserver:1", said)
    assert "nvcr.io" not in built("nvcr.io/nvidia/tritonserver:1", said)


@pytest.mark.parametrize(
    ("said", "of_ecr", "of_another"),
    [
        ("denied: requested access to the resource is denied", "docs/aws.md", "the registry's owner"),
        ("unexpected status: 403 Forbidden", "answers 403 Forbidden", "answers 403 Forbidden"),
        ("no basic auth credentials", "did not send the login", "did not send the login"),
        ("name unknown: no repository", "invoke create-repository", "Create it there"),
    ],
)
def test_rights_are_asked_of_whom_the_registry_belongs_to(said: str, of_ecr: str, of_another: str) -> None:
    """AWS's policies open ECR, and nothing that stands in for it."""
    assert of_ecr in str(says.push_failed(said, doing="push x", registry=ECR))
    other = str(says.push_failed(said, doing="push x", registry="127.0.0.1:5000"))
    assert of_another in other
    assert "docs/aws.md" not in other
    assert "create-repository" not in other
