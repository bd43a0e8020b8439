"""An image that takes a pull, one replica, no surge: how long nobody answers. Shown with -rP: the seconds."""

import contextlib
import re
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.cluster import node_runtime
from tests.cluster.deployment import Deployment, Offer, deployment
from tests.cluster.node import Node
from tests.cluster.registries import registry
from tests.cluster.user import RELEASE, ROOT
from tests.image.conftest import lack
from tests.image.ground import Missing
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(300, func_only=True)
# A layer as it is pulled; NVIDIA's image has 20 GB.
MEGABYTES = 300
OPTIONS = ("--set=rollout.surge=false", "--set=replicas=1")


@pytest.fixture(scope="module")
def serving(node: Node, offer: Offer) -> Iterator[Deployment]:
    """Deploy one pod, whose successor comes after it."""
    with deployment(node.plane, offer, restricted=True) as made:
        made.deployed(*OPTIONS)
        yield made


@pytest.fixture(scope="module")
def images(node: Node, offer: Offer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Give two images in a registry that no node has: one to deploy by Helm alone, one by the task."""
    folder = tmp_path_factory.mktemp("registry")
    try:
        with registry(node.plane, port=5090, login=False, folder=folder) as address:
            node_runtime.push(node.machine, offer.successor, f"{address}/flowers:base")
            yield grown(node, address, "a"), grown(node, address, "b")
    except Missing as reason:
        lack(reason)


def grown(node: Node, address: str, tag: str) -> str:
    """Return the image with a layer of noise of its own."""
    command = ("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "tests.cluster.grown")
    made = node.machine.run(*command, f"{address}/flowers", "base", tag, str(MEGABYTES))
    return f"{address}/flowers@{made.strip()}"


class Silence:
    """Asks a server all the time until the block ends, and keeps the longest time without an answer, in seconds."""

    def __init__(self, url: str, request: Path) -> None:
        self.longest = 0.0
        self.last = time.monotonic()
        self._url, self._body = url, request.read_bytes()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait_for_an_answer(self) -> None:
        """Wait until the server has answered once more, so that the time before counts whole."""
        start = time.monotonic()
        wait_until(lambda: self.last > start, "an answer", within_s=60, every_s=0.1)

    def _ask(self) -> None:
        while not self._stop.is_set():
            request = urllib.request.Request(self._url, self._body, {"Content-Type": "application/json"})
            with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=1) as answer:
                if answer.status == 200:
                    now = time.monotonic()
                    self.longest, self.last = max(self.longest, now - self.last), now
            time.sleep(0.05)


def test_nobody_waits_for_a_pull(serving: Deployment, images: tuple[str, str]) -> None:
    """`helm upgrade` by itself ends the pod first and pulls then; the task pulls while the pod still serves."""
    address = serving.user.kubectl("get", f"service/{RELEASE}", "--output=jsonpath={.spec.clusterIP}")
    url = f"http://{address}:8000/v2/models/{serving.offer.model}/infer"
    by_hand, by_task = images
    repository, _, digest = by_hand.partition("@")
    with Silence(url, serving.offer.request) as alone:
        new = (f"--set-string=image.repository={repository}", f"--set-string=image.digest={digest}")
        serving.helm("upgrade", RELEASE, "helm/triton", "--reuse-values", *new)
        serving.user.kubectl("rollout", "status", f"deployment/{RELEASE}", "--timeout=180s")
        alone.wait_for_an_answer()
    with Silence(url, serving.offer.request) as ahead:
        said = serving.deployed(*OPTIONS, image=by_task)
        ahead.wait_for_an_answer()
    pulled = re.search(r"The image is on \S+ after (\d+) s", said)
    assert pulled is not None, said
    assert pulled.start() < said.index("helm upgrade --install")
    sys.stdout.write(
        f"{MEGABYTES} MB pulled in {pulled[1]} s; nobody answered for {alone.longest:.1f} s with helm upgrade, "
        f"{ahead.longest:.1f} s with deploy-triton\n"
    )
