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


def test_a_flag_that_is_repeated_makes_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    """Of `--freeze keep_prob=1` came a tuple of letters once, and a second one was no flag any more."""
    line = ("package-model", "--onnx", "x.onnx", "--freeze", "keep_prob=1", "--freeze", "anchor")
    assert "--freeze takes INPUT=VALUE once for each input" in (said := refused(*line, capsys=capsys))
    assert said.rstrip().endswith("not 'anchor'.")
    for task in namespace.tasks.values():
        lists = [argument for argument in task.get_arguments() if argument.kind is list]
        assert len(lists) == len(task.iterable)
        for argument in lists:
            argument.value = "a"
            argument.value = "b"
            assert argument.value == ["a", "b"]


@pytest.mark.parametrize(
    "line",
    [
        "package-model --onnx https://u:hush@example.com/model.onnx",
        "package-model --onnx x.onnx --model m --images s3://bucket/hush/",
        "generate-input --image http://example.com/hush.jpg",
        "lint-repository --repository gs://bucket/hush",
        "smoke-test --url 127.0.0.1:1 --picture file:///tmp/hush.svg",
        "compare --model m --baseline 1 --candidate 2 --local --images https://example.com/?hush",
    ],
)
def test_a_url_is_no_path(capsys: pytest.CaptureFixture[str], line: str) -> None:
    """It is said to be one, where the message once named a folder `https:` here; what it holds is not repeated."""
    said = refused(*line.split(), capsys=capsys)
    assert "://..., was given, but a path on this machine is needed. If the file or the folder is elsewhere" in said
    assert "hush" not in said


@pytest.mark.parametrize(
    ("flag", "saying"),
    [
        ("--std 0", "the std has to be a number above 0 for each channel, not 0"),
        ("--scale 0", "the scale is 0"),
        ("--scale 255", "the scale is 255"),
        ("--mean 300", "the mean is 300"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused_before_any_work(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, flag: str, saying: str
) -> None:
    """Once the weights were drawn first, or downloaded."""
    line = f"package-model --model mobilenetv2 --weights seeded --repository {tmp_path / 'models'} {flag}"
    assert saying in refused(*line.split(), capsys=capsys)


def test_another_largest_batch_is_refused_before_any_work(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """All versions of a model share one; once the new version was built and proved first."""
    folder = tmp_path / "models" / "mobilenetv2"
    folder.mkdir(parents=True)
    (folder / "config.pbtxt").write_text("max_batch_size: 2", encoding="utf-8")
    line = f"package-model --model mobilenetv2 --weights seeded --max-batch 64 --repository {folder.parent}"
    assert "Error: mobilenetv2 takes up to 2 images, for all its versions" in refused(*line.split(), capsys=capsys)


@pytest.mark.parametrize(
    "task",
    [
        "lint-repository",
        "serve",
        "serve --docker",
        "smoke-test --local",
        "generate-input",
        "build-image --dry-run",
        "package-model --model resnet50 --weights seeded",
        "compare --model cars --baseline 1 --candidate 2 --images {models} --local",
    ],
)
def test_a_models_own_folder_is_no_repository(capsys: pytest.CaptureFixture[str], tmp_path: Path, task: str) -> None:
    """It was once read as a repository whose versions are models: move them out, the linter said."""
    folder = tmp_path / "models" / "cars"
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").touch()
    (tmp_path / "a.jpg").touch()
    said = refused(*task.format(models=tmp_path).split(), "--repository", str(folder), capsys=capsys)
    assert f"{folder} is the folder of one model, because config.pbtxt lies in it." in said
    assert said.rstrip().endswith(f"--repository {folder.parent}")


def test_a_repository_that_is_not_there_is_said_to_be_none(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A misspelt --repository reads like an empty one otherwise."""
    said = refused("smoke-test", "--local", "--repository", str(tmp_path / "modles"), capsys=capsys)
    assert f"in {tmp_path / 'modles'}, which is no folder: there is nothing to serve" in said


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
