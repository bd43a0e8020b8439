"""Deployments that cannot work: each ends soon with one message that names the cause, and what served still serves."""

import contextlib
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.cluster.deployment import Deployment, Offer, deployment
from tests.cluster.images import REPOSITORY, Archive
from tests.cluster.plane import Access, ControlPlane
from tests.cluster.registries import registry
from tests.cluster.terminal import Terminal, terminal
from tests.cluster.user import RELEASE, ROOT
from tests.image.conftest import lack
from tests.image.ground import Missing
from tests.waiting import wait_until

# Of what a test does itself: what it stands on may have to be built first.
pytestmark = pytest.mark.timeout(240, func_only=True)
# Far less than --timeout, which is 900 s: before anything is changed, and after pods were made that do not run.
AT_ONCE_S, SOON_S = 40.0, 100.0
# What a deployment prints when Helm is at work, and when it waits for pods.
HELM, NEW_POD = rf"helm upgrade --install {RELEASE}", r"pod \S+ \(new\) on"
NO_SUCH = f"triton@sha256:{'0' * 64}"


@pytest.fixture(scope="module")
def serving(access: Access, offer: Offer) -> Iterator[Deployment]:
    """Deploy one pod, to a namespace that enforces the strictest level of Pod Security."""
    with deployment(access, offer, restricted=True) as made:
        made.deployed()
        yield made


@pytest.fixture
def broken(archive: Archive, digests: dict[str, str]) -> str:
    """Return an image whose server ends with an error while it loads a model."""
    return f"docker.io/{REPOSITORY}@{digests[archive.broken]}"


@contextlib.contextmanager
def unharmed(serving: Deployment) -> Iterator[None]:
    """Check that the very same pods serve after the block, under the values that they had."""
    before, values = serving.pods(), serving.helm("get", "values", RELEASE)
    assert len(before) == 1
    yield
    assert serving.pods() == before
    assert serving.revision()[1] == "deployed"
    assert serving.helm("get", "values", RELEASE) == values
    stable = serving.offer.versions[0]
    assert serving.ask(version=stable) == str(stable)


def fails(
    on: Deployment,
    *arguments: str,
    saying: tuple[str, ...],
    within_s: float = AT_ONCE_S,
    image: str = "",
    extra: Mapping[str, str] | None = None,
) -> str:
    """Check that a deployment ends with status 1 and one message; return all that it printed."""
    done = on.deploy(*arguments, within_s=within_s, image=image, extra=extra)
    assert done.returncode == 1, done.stdout
    one_message(done.stdout, *saying)
    return done.stdout


def one_message(said: str, *saying: str) -> None:
    """Check that there is one message in what was printed, and that it has all of some words."""
    assert "Traceback" not in said
    _, *messages = re.split(r"^Error: ", said, flags=re.MULTILINE)
    assert len(messages) == 1, said
    (message,) = messages
    for words in saying:
        assert words in message, said


def test_values_that_the_chart_does_not_take(serving: Deployment) -> None:
    """The message names each value and what is wrong with it."""
    with unharmed(serving):
        wrong = ("--set=replicas=many", "--set=gpu.cuont=2")
        words = ("The chart does not take these values", "/replicas", "want integer", "cuont", "Nothing was changed.")
        fails(serving, *wrong, saying=words)


@pytest.mark.usefixtures("plane")
def test_no_gpu_in_the_cluster(serving: Deployment) -> None:
    """The message says that no node has one, and how to do without."""
    with unharmed(serving):
        words = ("No node has nvidia.com/gpu", "device plugin", "--cpu", "Nothing was changed.")
        fails(serving, "--set=gpu.enabled=true", saying=words)


def test_a_login_without_permissions(serving: Deployment, plane: ControlPlane) -> None:
    """The message says what the login may not do."""
    with unharmed(serving):
        said = fails(serving, saying=("may not", "Nothing was changed."), extra={"KUBECONFIG": str(plane.limited)})
        assert "create" in said or "list" in said


def test_an_api_that_does_not_answer(serving: Deployment, access: Access, tmp_path: Path) -> None:
    """The message says that there is no answer, from where, and what to look at."""
    found = json.loads(access.kubectl("config", "view", "--raw", "--output=json"))
    found["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    elsewhere = tmp_path / "kubeconfig"
    elsewhere.write_text(json.dumps(found), encoding="utf-8")
    with unharmed(serving):
        words = ("gives no answer", "127.0.0.1:9", "network or the VPN")
        fails(serving, saying=words, extra={"KUBECONFIG": str(elsewhere)})


def test_a_context_that_is_not_there(serving: Deployment) -> None:
    """The message names the context and how to see those there are."""
    with unharmed(serving):
        fails(serving, "--context=elsewhere", saying=("no such context", "elsewhere", "kubectl config get-contexts"))


def test_no_helm(serving: Deployment, access: Access, tmp_path: Path) -> None:
    """The message says that it is needed, and where it is to be had."""
    (tmp_path / "kubectl").symlink_to(access.bin / "kubectl")
    with unharmed(serving):
        words = ("helm is needed", "https://helm.sh", "Nothing was changed.")
        fails(serving, saying=words, extra={"PATH": str(tmp_path)})


def test_a_model_that_no_server_loads(serving: Deployment, broken: str) -> None:
    """The message has the agent's and Triton's own word for it, and the former revision is back."""
    with unharmed(serving):
        words = ("flowers version 3 cannot be served", "is deployed again and serves: 1 of 1")
        fails(serving, image=broken, saying=words, within_s=SOON_S)


def test_pods_that_the_namespace_does_not_take(serving: Deployment, tmp_path: Path) -> None:
    """A chart of one's own whose pods may be root: the message is that of Pod Security, and nothing is waited for."""
    chart = tmp_path / "triton"
    shutil.copytree(ROOT / "helm" / "triton", chart)
    helpers = chart / "templates" / "_helpers.tpl"
    text = helpers.read_text(encoding="utf-8")
    assert "runAsNonRoot: true" in text
    helpers.write_text(text.replace("runAsNonRoot: true", "runAsNonRoot: false"), encoding="utf-8")
    with unharmed(serving):
        words = ("violates PodSecurity", "runAsNonRoot", "pod-security.kubernetes.io/enforce", "is deployed again")
        fails(serving, saying=words, within_s=SOON_S, extra={"TRITON_CHART": str(chart)})


@pytest.fixture(scope="module")
def registries(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Run two empty registries in the cluster's network, the second for those who log in; give their addresses."""
    folder = tmp_path_factory.mktemp("registries")
    with contextlib.ExitStack() as stack:
        try:
            first = stack.enter_context(registry(plane, port=5080, login=False, folder=folder))
            second = stack.enter_context(registry(plane, port=5081, login=True, folder=folder))
        except Missing as reason:
            lack(reason)
        yield first, second


def test_an_image_that_is_not_there(serving: Deployment, registries: tuple[str, str]) -> None:
    """The message has the registry's answer and what to do about it, and the former revision is back."""
    with unharmed(serving):
        words = ("the image cannot be pulled", "not found", "has no such image", "is deployed again and serves: 1 of 1")
        fails(serving, image=f"{registries[0]}/{NO_SUCH}", saying=words, within_s=SOON_S)


def test_an_image_that_the_nodes_may_not_pull(serving: Deployment, registries: tuple[str, str]) -> None:
    """The message has the registry's answer and what to do about it, and the former revision is back."""
    with unharmed(serving):
        words = ("the image cannot be pulled", "401", "nodes may not pull it", "is deployed again and serves: 1 of 1")
        fails(serving, image=f"{registries[1]}/{NO_SUCH}", saying=words, within_s=SOON_S)


def test_a_first_deployment_that_fails_leaves_nothing(
    access: Access, offer: Offer, registries: tuple[str, str]
) -> None:
    """The release is removed again, with all that belonged to it, and the message says so."""
    with deployment(access, offer, restricted=False) as made:
        words = ("not found", "is removed again", "nothing of it is left", f"namespace {made.user.namespace} stays")
        fails(made, image=f"{registries[0]}/{NO_SUCH}", saying=words, within_s=SOON_S)
        assert made.contents() == set()
        assert "nothing to remove" in made.user.succeed("destroy-triton", "--yes", "--with-namespace")
        assert not made.namespace_exists()


def stopped(on: Terminal) -> str:
    """Check that the task says that it was stopped; return all that it printed."""
    assert on.end() == 130, on.said()
    said = on.said()
    assert "Traceback" not in said
    assert "Stopping: going back to what was there before" in said
    return said


@pytest.mark.parametrize("after", [HELM, NEW_POD], ids=["helm", "pods"])
def test_ctrl_c_midway(serving: Deployment, broken: str, after: str, tmp_path: Path) -> None:
    """While Helm is at work or pods are waited for: status 130, and the former revision is back."""
    with unharmed(serving):
        with terminal(serving.user, serving.command(image=broken), folder=tmp_path) as on:
            on.press_ctrl_c(after=after)
            said = stopped(on)
        assert "is deployed again and serves: 1 of 1" in said or (after == HELM and "Nothing was changed." in said)


def test_ctrl_c_while_going_back(serving: Deployment, broken: str, tmp_path: Path) -> None:
    """A second one stops that too: it is said how to go back by hand, and that works as it is printed."""
    with unharmed(serving):
        with terminal(serving.user, serving.command(image=broken), folder=tmp_path) as on:
            on.press_ctrl_c(after=NEW_POD)
            on.press_ctrl_c(after=rf"helm rollback {RELEASE}")
            said = stopped(on)
        found = re.search(rf"Going back was stopped too.*To go back by hand: (helm rollback {RELEASE} \d+ .*)", said)
        assert found is not None, said
        serving.run(*shlex.split(found[1]))
        serving.deployed()


def test_ctrl_c_in_the_middle_of_a_first_deployment(access: Access, offer: Offer, tmp_path: Path) -> None:
    """The release is removed again, with all that belonged to it."""
    with deployment(access, offer, restricted=False) as made:
        with terminal(made.user, made.command(), folder=tmp_path) as on:
            on.press_ctrl_c(after=NEW_POD)
            said = stopped(on)
        assert "is removed again" in said
        assert made.contents() == set()


def test_a_helm_that_was_killed(serving: Deployment, broken: str) -> None:
    """A release that it left in `pending-upgrade` is told with the way out, which works as it is printed."""
    (pod,) = serving.pods().items()
    repository, digest = broken.split("@")
    image = [f"--set=image.repository={repository}", f"--set=image.digest={digest}"]
    command = ["helm", "upgrade", RELEASE, "helm/triton", f"--values={serving.offer.values}", *image]
    with subprocess.Popen(
        [*command, f"--namespace={serving.user.namespace}", "--wait", "--timeout=5m"],
        cwd=ROOT,
        env=serving.user.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as helm:
        try:
            wait_until(lambda: serving.revision()[1] == "pending-upgrade", "a pending upgrade", within_s=AT_ONCE_S)
        finally:
            helm.kill()
    number, state = serving.revision()
    assert state == "pending-upgrade"
    said = fails(serving, saying=("in the state pending-upgrade", f"revision {number}", "a Helm was killed"))
    found = re.search(rf"If nobody does: (helm rollback {RELEASE} \d+ .*)", said)
    assert found is not None, said
    assert serving.revision() == (number, state), "nothing is deleted or mended silently"
    assert pod in serving.pods().items()

    serving.run(*shlex.split(found[1]))
    serving.deployed()
    assert serving.pods() == dict([pod])
    stable = serving.offer.versions[0]
    assert serving.ask(version=stable) == str(stable)


def test_no_failure_shows_the_key(serving: Deployment) -> None:
    """The key of the restricted API is in nothing that the tasks printed; the last test, so that there is something."""
    key, written = serving.admin_key()
    serving.user.succeed("status")
    assert serving.user.heard
    assert not [text for text in serving.user.heard if key in text or written in text]
