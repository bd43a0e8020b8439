"""What a test finds in its environment: what this machine needs to work, and nothing that its user has set up.

A developer's `.env`, clouds, clusters, engines and habits reach no test. A variable that is not named here is taken
away; each setting of the tasks is set to nothing, which hides the one of `.env`; and programs that look into the home
folder by themselves are sent to an empty one.
"""

import os
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from scripts.host.settings import VARIABLES

# What stays, by the reason for which it does.
KEPT: Mapping[str, tuple[str, ...]] = {
    "the machine": (
        *(
            "PATH",
            "HOME",
            "USER",
            "LOGNAME",
            "SHELL",
            "TERM",
            "TZ",
            "LANG",
            "LANGUAGE",
            "LC_*",
            "TMPDIR",
            "TEMP",
            "TMP",
        ),
        *("XDG_*", "LD_LIBRARY_PATH", "DYLD_*", "CUDA_*", "NVIDIA_VISIBLE_DEVICES", "OMP_*"),
    ),
    "this Python, and who runs the tests": (
        *("PYTHON*", "VIRTUAL_ENV", "CONDA_*", "PYENV_*", "PYTEST_*", "HYPOTHESIS_*", "COVERAGE_*", "COV_*", "NOX_*"),
    ),
    "installing packages and building programs": (
        *("PIP_*", "UV_*", "*_PROXY", "*_proxy", "SSL_CERT_*", "*_CA_BUNDLE", "NETRC", "DEBIAN_FRONTEND"),
        *("GOPROXY", "GOPRIVATE", "GONOPROXY", "GONOSUMDB", "GOSUMDB", "GOINSECURE", "GOENV", "GOPATH", "GOROOT"),
    ),
    # What is missing fails there instead of being skipped.
    "a machine for tests": ("CI",),
    "this project's tests": (
        *("TRITON_TEST_DATA", "TRITON_TEST_IMAGE", "TRITON_TEST_DIST", "TRITON_TEST_TAG"),
        *("CHECKOV", "HELM3", "HELM4"),
    ),
}
# What a person may mean for one suite; it gets them by `meant`, and no other test does.
CLUSTER = ("KUBECONFIG",)  # tests/cluster: the cluster to deploy to
ENGINE = (  # tests/image and tests/cluster: the Docker engine that builds
    *("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"),
)
# Hides all of `.env`. Who calls AWS is hidden as a whole; boto3 would look for a profile without a name.
NOTHING = dict.fromkeys(VARIABLES.keys() - {"AWS_PROFILE"}, "")
_outside: dict[str, str] = {}


def clean(environ: Mapping[str, str], *, empty: Path) -> dict[str, str]:
    """Return the environment of a test.

    Args:
        environ: That of the person who runs it.
        empty: An empty folder, for programs that would look into the home folder.
    """
    patterns = [pattern for kept in KEPT.values() for pattern in kept]
    kept = {name: v for name, v in environ.items() if any(fnmatchcase(name, pattern) for pattern in patterns)}
    nothing = {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "BOTO_CONFIG": os.devnull,
        "KUBECONFIG": os.devnull,
        "DOCKER_CONFIG": str(empty / "docker"),
        "HELM_CONFIG_HOME": str(empty / "helm"),
        "HELM_DATA_HOME": str(empty / "helm"),
    }
    return kept | NOTHING | nothing


def enter(*, empty: Path) -> None:
    """Give this process, and what it starts, the environment of a test; the person's is kept for `meant`."""
    _outside.update(os.environ)
    made = clean(_outside, empty=empty)
    os.environ.clear()
    os.environ.update(made)


def leave() -> None:
    """Give this process the person's environment again."""
    os.environ.clear()
    os.environ.update(_outside)


def outside() -> dict[str, str]:
    """Return the person's environment, for what acts on what the person named."""
    return dict(_outside or os.environ)


def meant(names: tuple[str, ...]) -> dict[str, str]:
    """Return what the person's environment says of *names*; nothing where it says nothing."""
    return {name: outside().get(name, "") for name in names}
