"""What the linter finds without a server."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import attrs
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripts.graph.session import Session
from scripts.host.errors import TaskFailure
from scripts.repository import config_pbtxt, golden, manifest
from scripts.repository.golden import Golden
from scripts.repository.lint.finding import Finding
from scripts.repository.lint.model import lint
from scripts.repository.lint.version import NEWEST_IR, NEWEST_OPSET
from scripts.repository.manifest import Manifest, Measured, Origin
from tests.doubles import small_classifiers
from tests.properties import examples
from triton_sdk.contract import ModelContract, TensorSpec

CONTRACT = ModelContract(
    model="good",
    input=TensorSpec(name="image", dtype="UINT8", shape=(small_classifiers.SIDE, small_classifiers.SIDE, 3)),
    output=TensorSpec(name="probabilities", dtype="FP32", shape=(small_classifiers.CLASSES,)),
    layout="NHWC",
    max_batch=8,
    resize=18,
    scores="probabilities",
    labelled=True,
)


def write_version(folder: Path, number: int) -> None:
    """Write what packaging would write, without its measurements."""
    version = folder / str(number)
    version.mkdir(parents=True)
    onnx.save_model(small_classifiers.packaged(seed=number), version / "model.onnx")
    pictures = golden.pictures(CONTRACT, 2)
    golden.save(
        Golden(input=pictures, output=Session(version / "model.onnx").scores(pictures)), path=version / golden.FILE
    )
    record = Manifest(
        model=folder.name,
        version=number,
        origin=Origin(kind="onnx", name="tiny.onnx"),
        sha256={name: manifest.sha256(version / name) for name in ("model.onnx", golden.FILE)},
        contract=CONTRACT,
        quantisation="none",
        opset=13,
        ir_version=8,
        measured=Measured(images=2, proof=0.0, proof_limit=1e-4, batching=0.0625, tolerance=0.125),
        tools={},
    )
    (version / manifest.FILE).write_text(record.to_json())


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one good model of two versions."""
    repository = tmp_path_factory.mktemp("original") / "models"
    write_version(repository / "good", 1)
    write_version(repository / "good", 2)
    (repository / "good" / "config.pbtxt").write_text(config_pbtxt.render(CONTRACT))
    (repository / "good" / "labels.txt").write_text("a\nb\nc\nd\ne\n")
    return repository


@pytest.fixture
def repository(original: Path, tmp_path: Path) -> Path:
    """A copy of it to break."""
    return shutil.copytree(original, tmp_path / "models")


Edit = Callable[[Path], object]


def replace(old: str, new: str) -> Edit:
    """Return an edit of config.pbtxt."""

    def edit(repository: Path) -> None:
        path = repository / "good" / "config.pbtxt"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return edit


def model(**changes: object) -> Edit:
    """Return an edit that puts another graph in the place of version 1, as something other than packaging would."""

    def edit(repository: Path) -> None:
        version = repository / "good" / "1"
        (version / manifest.FILE).unlink()
        onnx.save_model(small_classifiers.packaged(**changes), version / "model.onnx")

    return edit


def other_config(repository: Path) -> None:
    """Add a configuration that a server may be told to use instead."""
    (repository / "good" / "configs").mkdir()
    shutil.copy(repository / "good" / "config.pbtxt", repository / "good" / "configs" / "canary.pbtxt")


def rename_version(name: str) -> Edit:
    """Return an edit that calls version 1 otherwise."""
    return lambda repository: (repository / "good" / "1").rename(repository / "good" / name)


def break_golden(repository: Path) -> None:
    """Damage the golden data and their hash alike."""
    version = repository / "good" / "1"
    (version / golden.FILE).write_bytes(b"PK")
    data = json.loads((version / manifest.FILE).read_text())
    data["sha256"][golden.FILE] = manifest.sha256(version / golden.FILE)
    (version / manifest.FILE).write_text(json.dumps(data))


def pipe_for_golden(repository: Path) -> None:
    """Put a named pipe in the place of the golden data, which would stop whoever opens it."""
    path = repository / "good" / "1" / golden.FILE
    path.unlink()
    os.mkfifo(path)


def touch_model(repository: Path) -> None:
    """Change version 1's graph behind its manifest's back."""
    path = repository / "good" / "1" / "model.onnx"
    changed = onnx.load_model(path)
    changed.producer_name = "somebody else"
    onnx.save_model(changed, path)


CASES: dict[str, tuple[str, str, Edit, str]] = {
    # what is wrong: severity, rule, edit, what the message says
    "broken config": ("error", "config-syntax", replace("max_batch_size:", "max_batch:"), "line 8"),
    "another name": ("error", "config-name", replace('name: "good"', 'name: "bad"'), "'bad'.*'good'"),
    "no backend": ("error", "config-incomplete", replace('backend: "onnxruntime"', ""), "lacks backend"),
    "no batch size": (
        "error",
        "contract",
        replace("max_batch_size: 8", "# max_batch_size: 8"),
        r"\[16, 16, 3\].*\[-1, 16, 16, 3\]",
    ),
    "labels of another code page": (
        "warning",
        "labels-bytes",
        lambda r: (r / "good" / "labels.txt").write_bytes("ä\nb\nc\nd\ne\n".encode("latin-1")),
        "bytes that are no UTF-8",
    ),
    "labels of Windows": (
        "warning",
        "labels-bytes",
        lambda r: (r / "good" / "labels.txt").write_bytes(b"\xef\xbb\xbfa\r\nb\r\nc\r\nd\r\ne\r\n"),
        "a byte order mark before the first name and a carriage return behind names",
    ),
    "preferred above max": (
        "error",
        "preferred-batch-size",
        replace("max_queue_delay_microseconds: 0", "preferred_batch_size: [ 4, 16 ]"),
        "16 is above max_batch_size 8",
    ),
    "bounded queue": (
        "warning",
        "bounded-queue",
        replace("max_queue_delay_microseconds: 0", "default_queue_policy { max_queue_size: 128 }"),
        "sets max_queue_size: .*half a second",
    ),
    "priorities": (
        "warning",
        "bounded-queue",
        replace("max_queue_delay_microseconds: 0", "priority_levels: 2 default_priority_level: 1"),
        "sets priority_levels",
    ),
    "default policy": (
        "warning",
        "version-policy",
        replace("version_policy { all { } }", ""),
        r"not serve version 1, because the default policy",
    ),
    "policy for the latest": (
        "warning",
        "version-policy",
        replace("{ all { } }", "{ latest { num_versions: 1 } }"),
        "not serve version 1",
    ),
    "policy for others": (
        "error",
        "version-policy",
        replace("{ all { } }", "{ specific { versions: [ 2, 7 ] } }"),
        "version 7, which is not there",
    ),
    "only a GPU": ("warning", "kind-gpu", replace("count: 1", "count: 1 kind: KIND_GPU"), "does not load"),
    "two instances": ("warning", "instance-count", replace("count: 1", "count: 2"), "for each GPU"),
    "cache": ("warning", "response-cache", replace("enable: false", "enable: true"), "--cache-config"),
    "large warmup": ("error", "warmup-batch", replace("batch_size: 8\n    inputs", "batch_size: 16\n    inputs"), "16"),
    "misnamed warmup": ("error", "warmup-input", replace('key: "image"', 'key: "img"'), "'img'.*'image'"),
    "label missing": ("error", "labels-missing", lambda r: (r / "good" / "labels.txt").unlink(), "refuses"),
    "too few labels": (
        "error",
        "labels-count",
        lambda r: (r / "good" / "labels.txt").write_text("a\nb\nc\nd"),
        "4 lines for 5 classes",
    ),
    "zero before the number": ("warning", "version-folder", rename_version("01"), "ignores the folder 01"),
    "no number": ("warning", "version-folder", rename_version("v1"), "ignores the folder v1"),
    "no model": (
        "error",
        "model-missing",
        lambda r: (r / "good" / "1" / "model.onnx").unlink(),
        "model.onnx is missing",
    ),
    "no ONNX": (
        "error",
        "onnx-unreadable",
        lambda r: (r / "good" / "1" / "model.onnx").write_text("x"),
        "ONNX",
    ),
    "fixed batch": ("error", "batch-fixed", model(batch=1), "fixed batch of 1"),
    "other side": ("error", "contract", model(side=8), r"\[16, 16, 3\].*\[8, 8, 3\]"),
    "other classes": ("error", "contract", model(classes=7), r"\[5\].*\[7\]"),
    "other names": (
        "error",
        "contract",
        replace('name: "probabilities"', 'name: "scores"'),
        "'scores'.*'probabilities'",
    ),
    "new IR": ("error", "too-new", model(ir_version=NEWEST_IR + 1), f"IR version {NEWEST_IR + 1}"),
    "other configuration": ("warning", "other-config", other_config, "--model-config-name=canary"),
    "changed model": ("error", "manifest-hash", touch_model, "model.onnx is not the file"),
    "no golden data": ("error", "golden-missing", lambda r: (r / "good" / "1" / golden.FILE).unlink(), "golden.npz"),
    "broken golden data": ("error", "golden-unreadable", break_golden, "golden.npz"),
    "broken manifest": (
        "error",
        "manifest-unreadable",
        lambda r: (r / "good" / "1" / manifest.FILE).write_text("{"),
        "no manifest",
    ),
    "a pipe for golden data": (
        "error",
        "unreadable",
        pipe_for_golden,
        "named pipe",
    ),
    "copied version": ("error", "manifest-name", rename_version("3"), "packaged as good version 1"),
    "not ours": ("warning", "unpackaged", lambda r: (r / "good" / "1" / manifest.FILE).unlink(), "no manifest"),
    "staging": ("error", "stray-folder", lambda r: (r / ".staging").mkdir(), "every folder"),
    "empty folder": ("error", "stray-folder", lambda r: (r / "old").mkdir(), "every folder"),
    "no config": ("error", "config-missing", lambda r: (r / "good" / "config.pbtxt").unlink(), "max_batch_size 4"),
    "private file": (
        "warning",
        "unreadable-by-others",
        lambda r: (r / "good" / "1" / "model.onnx").chmod(0o600),
        r"1/model\.onnx",
    ),
    "other resize": (
        "warning",
        "framing",
        replace('"image.resize" value { string_value: "18"', '"image.resize" value { string_value: "32"'),
        "32, but the version was packaged for 18",
    ),
    "unreadable parameter": (
        "warning",
        "not-a-classifier",
        replace('"image.resize" value { string_value: "18"', '"image.resize" value { string_value: "wide"'),
        "wide",
    ),
}


def test_a_good_repository_has_no_findings(original: Path) -> None:
    """Nothing is said about what packaging writes."""
    assert lint(original) == []


@pytest.mark.parametrize("case", CASES)
def test_what_bites_is_found(case: str, repository: Path) -> None:
    """Each thing that Triton refuses or does otherwise is found, and nothing else is said to be an error."""
    severity, rule, edit, words = CASES[case]
    edit(repository)
    findings = lint(repository)
    assert severity in {finding.severity for finding in findings if finding.rule == rule}, findings
    message = next(finding.message for finding in findings if finding.rule == rule)
    assert re.search(words, message), message
    if severity == "warning":
        assert not [finding for finding in findings if finding.severity == "error"]


def test_a_new_operator_set_is_found(repository: Path) -> None:
    """An operator set that the production image does not know is an error."""
    version = repository / "good" / "1"
    changed = onnx.load_model(version / "model.onnx")
    changed.opset_import[0].version = NEWEST_OPSET + 1
    onnx.save_model(changed, version / "model.onnx")
    assert "too-new" in {finding.rule for finding in lint(repository)}


def test_no_version_is_a_warning(repository: Path) -> None:
    """A model without any version is what a fresh clone holds: it is said, and does not fail the linter."""
    for number in "12":
        shutil.rmtree(repository / "good" / number)
    assert [(finding.severity, finding.rule) for finding in lint(repository)] == [("warning", "no-versions")]


def test_warmup_left_out_is_said(repository: Path) -> None:
    """A model that is ready before it is warm is a warning."""
    path = repository / "good" / "config.pbtxt"
    text = path.read_text()
    path.write_text(text[: text.index("model_warmup [")] + text[text.index("response_cache") :])
    assert [(finding.severity, finding.rule) for finding in lint(repository)] == [("warning", "warmup-missing")]


def test_dynamic_quantisation_is_said_with_its_figure(repository: Path) -> None:
    """For a graph whose answers depend on the batch, the figure of packaging is repeated."""
    version = repository / "good" / "1"
    changed = onnx.load_model(version / "model.onnx")
    changed.graph.node.append(onnx.helper.make_node("DynamicQuantizeLinear", ["kept"], ["q", "s", "z"]))
    onnx.save_model(changed, version / "model.onnx")
    said = [finding.message for finding in lint(repository) if finding.rule == "dynamic-quantisation"]
    assert len(said) == 1
    assert "0.062" in said[0]
    replace("max_batch_size: 8", "max_batch_size: 1")(repository)
    assert "dynamic-quantisation" not in {finding.rule for finding in lint(repository)}


def test_batches_of_what_was_packaged_for_one_image_are_an_error(repository: Path) -> None:
    """A version whose answers depend on their batch-mates is served alone, or the linter says so."""
    path = repository / "good" / "1" / manifest.FILE
    path.write_text(path.read_text().replace('"tolerance": 0.125', '"tolerance": 0.05'))
    (said,) = [finding for finding in lint(repository) if finding.rule == "batch-mates"]
    assert (said.severity, said.version) == ("error", 1)
    config = repository / "good" / "config.pbtxt"
    alone = attrs.evolve(CONTRACT, max_batch=1)
    assert "max_batch_size to 1, and take dynamic_batching out" in said.message
    config.write_text(config_pbtxt.render(alone))
    assert [finding for finding in lint(repository) if finding.severity == "error"] == []


def test_a_name_that_does_not_travel_is_an_error(repository: Path) -> None:
    """A blank in a model's name, which the Python backend dies of, is found."""
    (repository / "good").rename(repository / "go od")
    assert "model-name" in {finding.rule for finding in lint(repository)}


def test_findings_name_their_model_and_version(repository: Path) -> None:
    """Each finding says which folder it is about."""
    (repository / "good" / "2" / golden.FILE).unlink()
    (finding,) = lint(repository)
    assert (finding.model, finding.version) == ("good", 2)
    assert str(finding).startswith("error: good version 2: ")


def test_models_of_other_backends_are_left_alone(repository: Path) -> None:
    """A Python or TensorRT model is checked for its configuration only."""
    folder = repository / "tokens"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.py").write_text("")
    (folder / "config.pbtxt").write_text(
        'backend: "python"\ninput { name: "TEXT" data_type: TYPE_STRING dims: [ 1 ] }\n'
        'output { name: "IDS" data_type: TYPE_INT64 dims: [ -1 ] }\n'
    )
    assert {(f.severity, f.rule) for f in lint(repository)} == {
        ("warning", "unpackaged"),
        ("warning", "not-a-classifier"),
    }


def test_a_repository_without_models_is_said(tmp_path: Path) -> None:
    """An empty repository is a warning, a missing one a failure."""
    assert [finding.rule for finding in lint(tmp_path)] == ["no-models"]
    with pytest.raises(TaskFailure, match="no folder"):
        lint(tmp_path / "missing")


@settings(examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["config.pbtxt", "labels.txt", "1/model.onnx", "1/golden.npz", "1/manifest.json"]),
    position=st.floats(0, 1),
    junk=st.binary(max_size=40),
    keep=st.booleans(),
)
def test_no_damage_stops_the_linter(original: Path, name: str, position: float, junk: bytes, keep: bool) -> None:
    """Whatever bytes stand in a file, the linter ends with findings."""
    path = original / "good" / name
    content = path.read_bytes()
    at = int(position * len(content))
    try:
        path.write_bytes(content[:at] + junk + (content[at + len(junk) :] if keep else b""))
        findings = lint(original)
    finally:
        path.write_bytes(content)
    assert all(isinstance(finding, Finding) and finding.message for finding in findings)
