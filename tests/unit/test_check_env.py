"""What check-env says of .env, of Docker and of AWS: programs and AWS answer from a script."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from scripts import check_env
from scripts.check_env import Row
from scripts.host.errors import TaskFailure
from scripts.host.program import Version
from scripts.host.settings import load
from scripts.host.shell import Command, Completed
from tests.doubles import kubernetes
from tests.doubles.aws_stubs import ACCOUNT, REGION, WHERE, ScriptedAws
from tests.doubles.runners import ENGINE, NoProgram

SETTINGS = {"AWS_ACCOUNT_ID": ACCOUNT, "AWS_REGION": REGION, "ECR_REPOSITORY": "triton-infer"}
PLANTED = "AKIAPLANTEDPLANTED00"


@attrs.frozen
class Answers:
    """Answers every command by its program's name; a program that is not named is not installed."""

    programs: dict[str, tuple[int, str]]

    def capture(self, command: Command, *, timeout_s: float = 30.0) -> Completed:  # noqa: ARG002
        """Answer from the script."""
        if command.argv[0] not in self.programs:
            raise TaskFailure(f"{command.argv[0]} is not installed, or not on PATH.")
        status, output = self.programs[command.argv[0]]
        return Completed(status=status, output=output)

    def stream(self, command: Command, *, show: Callable[[str], None]) -> Completed:
        """Refuse: nothing here is streamed."""
        raise AssertionError(command, show)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedAws]:
    """Give AWS's answers, all of which must be asked for."""
    script = ScriptedAws()
    monkeypatch.setattr("scripts.registry.ecr.aws.open_access", lambda _: script.access)
    yield script
    script.close()


def env_file(root: Path, *, tracked: bool) -> Row:
    """Return the row of .env."""
    return check_env._env_file(load(root, environ={}), root, Answers({"git": (0 if tracked else 1, "")}))


def test_the_states_of_an_env_file(tmp_path: Path) -> None:
    """Missing, fine, doubtful, broken, and in git: each with what to do, none with a value."""
    assert env_file(tmp_path, tracked=True).state == "missing"
    path = tmp_path / ".env"
    path.write_text(f"AWS_ACCESS_KEY_ID={PLANTED}\nAWS_SECRET_ACCESS_KEY=s\n")
    path.chmod(0o600)
    assert env_file(tmp_path, tracked=False).state == "ok"
    path.chmod(0o644)
    doubtful = env_file(tmp_path, tracked=False)
    assert (doubtful.state, "chmod 600" in doubtful.advice) == ("warning", True)
    tracked = env_file(tmp_path, tracked=True)
    assert tracked.state == "failed"
    assert "git rm --cached .env" in tracked.advice
    assert "chmod 600" in tracked.advice
    path.write_text(f"AWS_ACCESS_KEY_ID='{PLANTED}\n")
    broken = env_file(tmp_path, tracked=False)
    assert (broken.state, "line 1" in broken.advice) == ("failed", True)
    assert PLANTED not in repr((doubtful, tracked, broken))


def test_docker_that_is_not_running_is_a_gap_with_its_advice() -> None:
    """Only some tasks need it."""
    assert check_env._engine(Answers({"docker": (0, ENGINE)})) == Row(what="Docker engine", state="ok", found="28.0.1")
    down = check_env._engine(Answers({"docker": (1, "Cannot connect to the Docker daemon at unix:///x.")}))
    assert (down.state, "Start it" in down.advice) == ("missing", True)


def test_a_disk_that_is_nearly_full_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here and where Docker keeps its images; without Docker, here."""
    there = Answers({"docker": (0, f"{tmp_path}\n")})
    assert "for Docker" in check_env._disk(tmp_path, there).found
    assert "for Docker" not in check_env._disk(tmp_path, Answers({})).found
    monkeypatch.setattr(check_env, "ENOUGH_DISK", 1 << 62)
    assert check_env._disk(tmp_path, there).state == "missing"


def test_identity_region_and_repository_are_asked_for(aws: ScriptedAws) -> None:
    """All that a push needs of AWS is there."""
    aws.identity()
    aws.ecr("describe_images", {}, {**WHERE, "maxResults": 1})
    rows = check_env._aws(load(Path("no-such-folder"), environ=SETTINGS))
    assert [(row.what, row.state) for row in rows] == [
        ("AWS settings", "ok"),
        ("AWS region", "ok"),
        ("AWS identity", "ok"),
        ("image repository", "ok"),
    ]


def test_the_first_thing_that_aws_refuses_is_told_and_the_rest_not_asked(aws: ScriptedAws) -> None:
    """Another account's credentials: the repository is not looked for."""
    aws.identity("210987654321")
    rows = check_env._aws(load(Path("no-such-folder"), environ=SETTINGS))
    assert [(row.what, row.state) for row in rows[-2:]] == [("AWS region", "ok"), ("AWS identity", "failed")]
    assert "210987654321" in rows[-1].advice


def test_aws_is_not_asked_without_settings() -> None:
    """What is not set is named, and no call is made."""
    (row,) = check_env._aws(load(Path("no-such-folder"), environ={"AWS_REGION": REGION}))
    assert (row.state, "AWS_ACCOUNT_ID, ECR_REPOSITORY" in row.advice) == ("missing", True)


CLUSTER: dict[str, Any] = {
    "helm version": "v4.3.1",
    "kubectl version --client": {"clientVersion": {"gitVersion": "v1.34.0"}},
    "kubectl config view": {"current-context": "here", "clusters": [{"cluster": {"server": "https://api.example"}}]},
    "kubectl get --raw=/version": {"gitVersion": "v1.33.1"},
    "kubectl get nodes": {"items": [kubernetes.node(gpus=4)]},
    "kubectl get pods": {"items": [kubernetes.holder("train", on="gpu-1")]},
}
NO_CONTEXT = kubernetes.failed("error: current-context must exist in order to minify")
DOWN = kubernetes.failed("The connection to the server h was refused")


@pytest.mark.parametrize(
    ("answers", "states", "saying"),
    [
        ({}, ["ok", "ok", "ok", "ok"], "4 nvidia.com/gpu on 1 node, 3 free"),
        ({"kubectl get nodes": {"items": []}}, ["ok", "ok", "ok", "missing"], "--cpu"),
        ({"kubectl config view": NO_CONTEXT}, ["ok", "missing"], "no current context"),
        ({"kubectl get --raw=/version": DOWN}, ["ok", "ok", "missing"], "gives no answer"),
        ({"kubectl version --client": {"clientVersion": {"gitVersion": "v1.20.0"}}}, ["missing"], "1.20.0 is too old"),
    ],
)
def test_the_cluster_is_looked_at_as_far_as_it_answers(answers: dict[str, Any], states: list[str], saying: str) -> None:
    """kubectl, the context with its server, the API's version, the GPUs; what follows from a failure is not asked."""
    rows = check_env._cluster(load(Path("no-such-folder"), environ={}), kubernetes.Cluster(answers=CLUSTER | answers))
    assert [row.state for row in rows] == states
    assert saying in f"{rows[-1].found} {rows[-1].advice}"


def test_helm_is_told_with_the_oldest_that_will_do() -> None:
    """Missing, too old, or fine."""
    assert check_env._helm(kubernetes.Cluster(answers=CLUSTER)).found == "Helm 4.3.1 (least: 3.13.0)"
    old = check_env._helm(kubernetes.Cluster(answers={"helm version": "v3.9.4"}))
    assert (old.state, "3.13.0 or newer" in old.advice) == ("missing", True)
    assert "https://helm.sh" in check_env._helm(NoProgram(answers={})).advice


def store(address: str) -> Row:
    """Return the row about a model store."""
    return check_env._store(load(Path("no-such-folder"), environ={"MODEL_STORE": address}))


def test_the_model_store_is_asked_and_what_may_be_done_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one, most still works; one that is not there is a gap."""
    (tmp_path / "models" / "cars").mkdir(parents=True)
    address = f"file://{tmp_path}"
    assert store(address) == Row(what="model store", state="ok", found=f"{address}, 1 model; may read and write")
    monkeypatch.setattr("os.access", lambda *_: False)
    assert (store(address).state, "publish-model needs more" in store(address).advice) == ("warning", True)
    assert store(f"{address}/none").state == "failed"
    assert check_env._store(load(Path("no-such-folder"), environ={})).state == "missing"


def test_an_old_cluster_is_a_warning() -> None:
    """Everything but promotions works there."""
    row = check_env._api(Version(1, 28))
    assert (row.state, "from 1.29.0 on" in row.advice) == ("warning", True)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ((0, "NVIDIA H100, 81559 MiB\n"), "NVIDIA H100, 81559 MiB"),
        ((9, "NVIDIA-SMI has failed because it couldn't communicate"), "nvidia-smi: NVIDIA-SMI has failed"),
        ((0, ""), "nvidia-smi names no GPU"),
        ((127, "error while loading shared libraries"), "nvidia-smi: error while loading"),
    ],
)
def test_whatever_nvidia_smi_answers_is_a_row(answer: tuple[int, str], found: str) -> None:
    """It is asked by the runner; a broken one is a gap, and no end of the table."""
    row = check_env._gpu(Answers({"nvidia-smi": answer}))
    assert row.found.startswith(found)
    assert row.state == ("ok" if found.startswith("NVIDIA H100") else "missing")


def test_a_program_that_hangs_is_a_row() -> None:
    """What the runner says of it stands in the table."""

    class Hanging(Answers):
        def capture(self, command: Command, *, timeout_s: float = 30.0) -> Completed:
            raise TaskFailure(f"{command.argv[0]} gave no answer within {timeout_s:g} s.")

    row = check_env._gpu(Hanging({}))
    assert (row.state, row.found) == ("missing", "no answer of nvidia-smi")
    assert "gave no answer within 20 s" in row.advice
    assert check_env._docker(Hanging({})).state == "missing"


@pytest.mark.parametrize(
    "error", [OSError("disk gone"), ValueError("odd"), RuntimeError(), UnicodeDecodeError("utf-8", b"x", 0, 1, "bad")]
)
def test_the_table_is_shown_whatever_fails_inside(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that fails in a way that nobody expects is one row; all others are there."""

    def fail(*_: object) -> Row:
        raise error

    for name in ("_models", "_disk", "_gpu"):
        monkeypatch.setattr(check_env, name, fail)
    rows = check_env.check(load(tmp_path, environ={}), root=tmp_path, repository=tmp_path, runner=Answers({}))
    states = {row.what: row.found for row in rows}
    assert [what for what, found in states.items() if found == "cannot be looked at"] == ["models", "disk", "GPU"]
    assert {"Python", "docker", "helm", ".env", "AWS settings", "model store"} <= set(states)


def test_runtimes_that_nothing_uses_are_offered_for_removal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their size is told, and the command that removes them names no other folder."""
    old = tmp_path / "runtime-3.11-0123456789abcdef"
    old.mkdir()
    (old / "library").write_bytes(bytes(3_000_000))
    monkeypatch.setattr(check_env, "old_runtimes", lambda: [old])
    (row,) = check_env._runtimes()
    assert (row.state, row.found) == ("warning", "1 that this version does not use, 3 MB")
    assert row.advice.endswith(f"rm -r {old}")
    monkeypatch.setattr(check_env, "old_runtimes", list)
    assert check_env._runtimes() == []
