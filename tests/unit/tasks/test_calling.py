"""What Invoke would let pass and no person means: each is refused with one message, and nothing is done."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from invoke import Collection, Program

from scripts.host.errors import TaskFailure
from scripts.host.root import ROOT
from scripts.tasks import flags
from scripts.tasks.calling import Task
from scripts.tasks.models import named_after
from tasks import namespace


@pytest.fixture(autouse=True)
def help_is_kept() -> Iterator[None]:
    """Give the tasks their help back, which Invoke takes away while it makes its parser."""
    kept = {task: dict(task.help) for task in namespace.tasks.values()}
    yield
    for task, texts in kept.items():
        task.help = texts


def refused(*arguments: str, capsys: pytest.CaptureFixture[str], tasks: Collection = namespace) -> str:
    """Return the one message with which a command line fails."""
    with pytest.raises(SystemExit) as raised:
        Program(namespace=tasks).run(["invoke", *arguments], exit=False)
    assert raised.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("Error: ")
    return said


def test_every_task_is_called_so() -> None:
    """A task that is made with Invoke's own decorator would act in its dry run."""
    assert {name for name, task in namespace.tasks.items() if not isinstance(task, Task)} == set()


def test_invokes_dry_run_is_honoured_where_there_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    """`--dry` and `-R` before a task that has --dry-run are that: nothing is built, and the commands are printed."""
    for dry in ("--dry", "-R"):
        Program(namespace=namespace).run(["invoke", dry, "serve", "--docker"], exit=False)
        assert capsys.readouterr().out.startswith("docker run ")


@pytest.mark.parametrize(
    "task", ["package-model", "publish-model --model x", "create-repository", "smoke-test --local", "create-store"]
)
def test_invokes_dry_run_is_refused_where_there_is_none(capsys: pytest.CaptureFixture[str], task: str) -> None:
    """Invoke would call the task as without it, which then acts for real."""
    for dry in ("--dry", "-R"):
        assert f"{task.split()[0]} has no dry run" in refused(dry, *task.split(), capsys=capsys)


@pytest.mark.parametrize(
    "line",
    [
        ["smoke-test", "--url", ""],
        ["smoke-test", "--url="],
        ["promote", "--model", "m", "--version", "1", "--url", " "],
        ["destroy-triton", "--yes", "--namespace", ""],
        ["lint-repository", "--repository", ""],
        ["build-image", "--tag="],
        ["deploy-triton", "--values", "a.yaml", "--values", ""],
    ],
    ids=lambda line: " ".join(line),
)
def test_an_empty_value_is_refused(capsys: pytest.CaptureFixture[str], line: list[str]) -> None:
    """An unset variable of a shell would otherwise mean the cluster, the folder here, or another namespace."""
    name = next(word.removesuffix("=") for word in reversed(line) if word.startswith("--"))
    assert f"Error: {name} is empty. Give it a value, or leave it out" in refused(*line, capsys=capsys)


@pytest.mark.parametrize(
    ("line", "saying"),
    [
        ("package-model --onnx x.onnx --weights seeded", "--weights and --seed belong to a known model"),
        ("package-model --onnx x.onnx --seed 7", "--weights and --seed belong to a known model"),
        ("package-model --model resnet50 --seed 7", "--seed belongs to --weights seeded"),
        ("package-model --model resnet50 --weights zoo --seed 7", "--seed belongs to --weights seeded"),
        ("serve --docker --agent-port 8003", "--agent-port: no agent runs beside a server of --docker"),
        ("serve --http-port 8000 --grpc-port 8000", "two of them are the same"),
        ("serve --metrics-port 8001", "two of them are the same"),
        ("push-triton --image x:1 --cpu", "--image pushes what is built already"),
        ("push-triton --image x:1 --repository models", "--image pushes what is built already"),
        ("push-triton --tag a:b --dry-run", "--tag 'a:b' is not a tag"),
        ("push-triton --image X:1 --dry-run", "--image takes the name of an image here"),
        ("build-image --tag Triton:1 --dry-run", "--tag takes NAME:TAG in small letters"),
        ("build-image --tag x:y:z --dry-run", "--tag takes NAME:TAG"),
        ("build-image --base :x --dry-run", "--base takes NAME:TAG"),
        ("build-image --slim --minimal x@y --dry-run", "--minimal takes NAME:TAG"),
        ("build-image --platform windows --dry-run", "--platform takes linux/amd64 or linux/arm64"),
        ("build-image --platform amd64 --dry-run", "--platform takes linux/amd64 or linux/arm64"),
        ("build-image --platform linux/riscv64 --dry-run", "--platform takes linux/amd64 or linux/arm64"),
    ],
)
def test_flags_that_contradict_or_cannot_be_are_refused(
    capsys: pytest.CaptureFixture[str], line: str, saying: str
) -> None:
    """In a dry run too, which would print commands that cannot work."""
    assert saying in refused(*line.split(), capsys=capsys)


def test_a_picture_is_looked_at_before_the_checks(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A folder that is not there, a folder in the file's place, and another kind of file: no check has run."""
    (tmp_path / "x.svg").mkdir()
    for picture, saying in (
        (tmp_path / "no" / "x.svg", f"there is no folder {tmp_path / 'no'}"),
        (tmp_path / "x.svg", "is a folder. Name a file in it."),
        (tmp_path / "x.png", "takes a file whose name ends in .svg"),
    ):
        said = refused("smoke-test", "--url", "127.0.0.1:1", "--picture", str(picture), capsys=capsys)
        assert said.count("\n") == 1
        assert saying in said
    assert flags.writable(str(tmp_path / "new.svg"), name="picture", suffix=".svg") == tmp_path / "new.svg"
    assert flags.writable("", name="picture") is None


@pytest.mark.parametrize(
    ("file", "model"),
    [
        ("my model (1).onnx", "my-model-1"),
        ("été.onnx", "t"),
        ("(1).onnx", "1"),
        ("模型.onnx", "mine"),
        ("x y.onnx", "x-y"),
    ],
)
def test_a_file_whose_name_cannot_name_a_model_says_model(tmp_path: Path, file: str, model: str) -> None:
    """As browsers and people call files; the name that is proposed can be one."""
    with pytest.raises(TaskFailure, match=rf"give it one, for example --model {model}$"):
        named_after(tmp_path / file)
    assert named_after(tmp_path / f"{model}.onnx") == model


def test_what_is_not_given_lies_in_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a task is called from; what is given is meant from there, and `~` is the home folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Path(flags.REPOSITORY) == ROOT / "model_repository"
    assert Path(flags.INPUT) == ROOT / "input.json"
    assert flags.path("models") == tmp_path / "models"
    assert flags.path("~/models") == tmp_path / "models"
