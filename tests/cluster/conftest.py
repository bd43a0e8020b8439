"""What the tests of a cluster share: a control plane, a node, and a namespace for each test."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import environment
from tests.cluster import binaries, images
from tests.cluster.deployment import Offer
from tests.cluster.images import Archive
from tests.cluster.node import Node, real_node
from tests.cluster.plane import Access, ControlPlane, control_plane
from tests.cluster.user import ROOT
from tests.image.conftest import lack
from tests.image.ground import Missing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test of this layer the time that the first one takes, which builds Kubernetes."""
    for item in items:
        if Path(__file__).parent in item.path.parents and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(3600))


def named_cluster() -> str:
    """Return the kubeconfig of a cluster that the user names for these tests; empty for none."""
    return environment.meant(environment.CLUSTER)["KUBECONFIG"]


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    """Give a control plane of the tests' own."""
    if named_cluster():
        pytest.skip("tests the cluster that the tests make; KUBECONFIG names another")
    try:
        with control_plane() as running:
            yield running
    except Missing as reason:
        lack(reason)


@pytest.fixture(scope="session")
def node(plane: ControlPlane) -> Iterator[Node]:
    """Give the control plane a node that runs pods."""
    try:
        with real_node(plane) as running:
            yield running
    except Missing as reason:
        lack(reason)


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Build the images that pods run."""
    try:
        return images.build(tmp_path_factory.mktemp("images"))
    except Missing as reason:
        lack(reason)


@pytest.fixture(scope="session")
def digests(node: Node, archive: Archive) -> dict[str, str]:
    """Put the images on the node; the digest of each, by its name."""
    return node.load(archive.path)


@pytest.fixture(scope="session")
def access(request: pytest.FixtureRequest) -> Access:
    """Give the way into the user's cluster, where KUBECONFIG names one, or into the tests' own, with its node."""
    if not (given := named_cluster()):
        request.getfixturevalue("node")
        own: ControlPlane = request.getfixturevalue("plane")
        return own
    try:
        # What fetches a token for it may need more of what its user has set up.
        return Access(kubeconfig=Path(given), bin=binaries.tools(), variables=environment.outside())
    except Missing as reason:
        lack(reason)


@pytest.fixture(scope="session")
def offer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Offer:
    """Give what there is to deploy: on the user's cluster the image that TRITON_TEST_IMAGE names."""
    folder = tmp_path_factory.mktemp("offer")
    if named_cluster():
        if not (image := os.environ.get("TRITON_TEST_IMAGE")):
            pytest.skip("TRITON_TEST_IMAGE names no image for the cluster of KUBECONFIG")
        made = Offer.of(image, ROOT / "model_repository", folder=folder)
        if made is None:
            pytest.skip("model_repository does not hold the models of TRITON_TEST_IMAGE")
        return made
    archive: Archive = request.getfixturevalue("archive")
    digests: dict[str, str] = request.getfixturevalue("digests")
    first, second = (f"docker.io/{images.REPOSITORY}@{digests[name]}" for name in (archive.first, archive.second))
    own = Offer.of(first, archive.models, folder=folder, versions=(1, 2), successor=second)
    assert own is not None
    return own


@pytest.fixture
def namespace(plane: ControlPlane) -> Iterator[str]:
    """Make a namespace, and remove it with all that is in it."""
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "test-"}}
    name = plane.kubectl("create", "--filename=-", "--output=jsonpath={.metadata.name}", stdin=json.dumps(made))
    # Without it no pod is let in.
    plane.kubectl("--namespace", name, "wait", "serviceaccount/default", "--for=create", "--timeout=30s")
    yield name
    plane.kubectl("delete", "namespace", name, "--timeout=60s")
