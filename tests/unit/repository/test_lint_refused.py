"""The linter finds what Triton refuses first, and an unreadable file hides nothing but itself."""

import os
import re
import shutil
import socket
from pathlib import Path

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripts.repository.lint.finding import Finding
from scripts.repository.lint.model import lint
from scripts.repository.lint.version import NEWEST_IR
from tests.doubles import refused_configs, tiny
from tests.properties import examples

REFUSED = {**refused_configs.CASES, **refused_configs.UNTRIED}


@pytest.mark.parametrize("name", REFUSED)
def test_what_triton_refuses_first_is_an_error(name: str, tmp_path: Path) -> None:
    """Most are tried on the real server in tests/live, and each message says what is wrong."""
    case = REFUSED[name]
    refused_configs.write(tmp_path, name, case)
    said = [finding.message for finding in lint(tmp_path) if (finding.severity, finding.rule) == ("error", case.rule)]
    assert any(re.search(case.says, message) for message in said), lint(tmp_path)


@pytest.mark.parametrize(
    "extra",
    [
        'platform: "onnxruntime_onnx"',
        'parameters { key: "intra_op_thread_count" value { string_value: "4" } }',
        'parameters { key: "enable_mem_arena" value { string_value: "False" } }',
        "dynamic_batching { preferred_batch_size: [ 1, 8 ] preserve_ordering: true }",
        'model_warmup [{ name: "w" batch_size: 8 inputs { key: "x" value '
        "{ data_type: TYPE_FP32 dims: 4 random_data: true } } }]",
    ],
)
def test_what_triton_takes_is_no_error(extra: str, tmp_path: Path) -> None:
    """The neighbours of what it refuses pass."""
    tiny.write_model(tmp_path, extra=extra)
    assert [finding for finding in lint(tmp_path) if finding.severity == "error"] == []


def test_a_backend_of_one_s_own_is_known_by_its_library(tmp_path: Path) -> None:
    """Triton looks for it in the model's folder, and so does the linter."""
    folder = refused_configs.write(tmp_path, "own", refused_configs.CASES["misspelt"])
    (folder / "libtriton_onxruntime.so").touch()
    assert "backend" not in {finding.rule for finding in lint(tmp_path)}


def test_an_ensemble_needs_its_models(tmp_path: Path) -> None:
    """A step that asks a model which is not there is an error; one whose model is there passes."""
    tiny.write_model(tmp_path, "inner")
    (tmp_path / "joined" / "1").mkdir(parents=True)
    step = 'step { model_name: "%s" input_map { key: "x" value: "x" } output_map { key: "y" value: "y" } }'
    text = tiny.config("joined", tiny.scaler()).partition("instance_group")[0].replace('backend: "onnxruntime"', "")
    for name, wrong in (("inner", 0), ("iner", 1)):
        more = f'platform: "ensemble" ensemble_scheduling {{ {step % name} }}'
        (tmp_path / "joined" / "config.pbtxt").write_text(text + more)
        assert len([finding for finding in lint(tmp_path) if finding.rule == "ensemble"]) == wrong


@pytest.mark.parametrize(("size", "warned"), [(2**31 - 1, True), (2**28, True), (1024, False)])
def test_batches_that_nothing_can_hold_are_said(size: int, *, warned: bool, tmp_path: Path) -> None:
    """A max_batch_size of billions loads, and then no request and no memory holds such a batch."""
    tiny.write_model(tmp_path, model=tiny.scaler(), max_batch=size)
    said = [finding.message for finding in lint(tmp_path) if finding.rule == "max-batch"]
    assert bool(said) is warned
    assert all(re.search(r"GiB.*such as 32", message) for message in said)


def test_a_thread_count_below_0_is_said_to_be_ignored(tmp_path: Path) -> None:
    """The backend takes it for nothing, so it is no error."""
    tiny.write_model(tmp_path, extra='parameters { key: "intra_op_thread_count" value { string_value: "-3" } }')
    assert [f.severity for f in lint(tmp_path) if f.rule == "parameter"] == ["warning"]


def unreadable(path: Path) -> None:
    """Put in the place of *path* a file that gives an error to whoever reads it, root too."""
    path.unlink(missing_ok=True)
    path.symlink_to("/proc/self/mem")


@pytest.mark.parametrize("hidden", ["config.pbtxt", "labels.txt", "1/manifest.json", "1/model.onnx"])
def test_an_unreadable_file_hides_nothing_else(hidden: str, tmp_path: Path) -> None:
    """The file itself is a finding, and what is wrong elsewhere in the model is still said."""
    extra = 'parameters { key: "execution_mode" value { string_value: "2" } }'
    version = tiny.write_model(tmp_path, extra=extra)
    newer = tmp_path / "tiny" / "2"
    shutil.copytree(version, newer)
    model = onnx.load_model(newer / "model.onnx")
    model.ir_version = NEWEST_IR + 1
    onnx.save_model(model, newer / "model.onnx")
    config = tmp_path / "tiny" / "config.pbtxt"
    config.write_text(config.read_text().replace('name: "y"', 'name: "y" label_filename: "labels.txt"'))
    (tmp_path / "tiny" / "01").mkdir()
    unreadable(tmp_path / "tiny" / hidden)
    rules = {finding.rule for finding in lint(tmp_path)}
    assert {"too-new", "version-folder"} <= rules
    assert ("parameter" in rules) is (hidden != "config.pbtxt")
    assert any(Path(hidden).name in finding.message for finding in lint(tmp_path) if finding.severity == "error")


@pytest.mark.parametrize("place", ["tiny", "tiny/1", "tiny/configs"])
def test_a_folder_that_cannot_be_entered_is_found(place: str, tmp_path: Path) -> None:
    """Without execute permission a server that runs as another user cannot open what lies in a folder."""
    tiny.write_model(tmp_path)
    (tmp_path / "tiny" / "configs").mkdir()
    (tmp_path / place).chmod(0o644)
    said = [f.message for f in lint(tmp_path) if f.model and f.rule == "unreadable-by-others"]
    (tmp_path / place).chmod(0o755)
    if os.geteuid() == 0:  # another user than root cannot look into it at all
        assert any(place in message and "cannot be entered" in message for message in said)
    assert lint(tmp_path) != []


def test_the_repository_s_own_folder_is_looked_at(tmp_path: Path) -> None:
    """What mktemp makes is its owner's alone; after the advised chmod nothing is said."""
    repository = tmp_path / "models"
    tiny.write_model(repository)
    repository.chmod(0o700)
    (said,) = [f.message for f in lint(repository) if f.rule == "unreadable-by-others"]
    assert "models cannot be entered" in said
    assert "chmod -R a+rX" in said
    repository.chmod(0o755)
    assert "unreadable-by-others" not in {finding.rule for finding in lint(repository)}


def test_a_link_to_nothing_is_found(tmp_path: Path) -> None:
    """It is named, and hides nothing."""
    tiny.write_model(tmp_path)
    (tmp_path / "tiny" / "old").symlink_to("gone")
    assert [finding.message for finding in lint(tmp_path) if finding.rule == "dangling"] == [
        "tiny/old leads to nothing. Remove it, or restore its target."
    ]


SPECIAL = ["config.pbtxt", "labels.txt", "configs/gpu.pbtxt", "1/model.onnx", "1/manifest.json"]


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder"])
@pytest.mark.parametrize("place", SPECIAL)
def test_what_is_no_file_is_not_opened(place: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A named pipe would stop the linter for ever; each is a finding, and so is everything else."""
    tiny.write_model(tmp_path)
    config = tmp_path / "tiny" / "config.pbtxt"
    config.write_text(config.read_text().replace('name: "y"', 'name: "y" label_filename: "labels.txt"'))
    (tmp_path / "tiny" / "configs").mkdir()
    (tmp_path / "tiny" / "labels.txt").write_text("a\nb\nc\nd\n")
    path = tmp_path / "tiny" / place
    path.unlink(missing_ok=True)
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "socket":
            monkeypatch.chdir(path.parent)  # the name of a socket is short
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(path.name)
        case "device":
            path.symlink_to("/dev/zero")
        case "folder":
            path.mkdir()
    assert [finding for finding in lint(tmp_path) if finding.severity == "error"] != []


@settings(examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.sets(st.sampled_from([*refused_configs.CASES]), min_size=1, max_size=3),
    hidden=st.sampled_from(["", "1/manifest.json", "1/golden.npz", "labels.txt", "notes"]),
)
def test_faults_do_not_hide_each_other(names: set[str], hidden: str, tmp_path: Path) -> None:
    """Whatever is wrong together, in any model and beside any unreadable file, is said of each."""
    shutil.rmtree(tmp_path / "models", ignore_errors=True)
    for name in names:
        folder = refused_configs.write(tmp_path / "models", name, refused_configs.CASES[name])
        if hidden:
            unreadable(folder / hidden)
    found: dict[str, set[str]] = {}
    for finding in lint(tmp_path / "models"):
        assert isinstance(finding, Finding)
        found.setdefault(finding.model, set()).add(finding.rule)
    assert all(refused_configs.CASES[name].rule in found[name] for name in names)


def test_a_graph_that_draws_random_numbers_is_said(tmp_path: Path) -> None:
    """The operator is named, and what to do."""
    version = tiny.write_model(tmp_path)
    model = onnx.load_model(version / "model.onnx")
    model.graph.node.append(onnx.helper.make_node("RandomNormalLike", ["x"], ["noise"]))
    onnx.save_model(model, version / "model.onnx")
    (said,) = [finding for finding in lint(tmp_path) if finding.rule == "not-deterministic"]
    assert said.severity == "warning"
    assert re.search(r"not deterministic: RandomNormalLike \('noise'\).*model\.eval\(\)", said.message)
