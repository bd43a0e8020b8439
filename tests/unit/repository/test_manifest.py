"""The record of what was packaged."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.host.errors import TaskFailure
from scripts.repository import manifest
from scripts.repository.manifest import GpuGraph, Kept, Manifest, Measured, Origin, Tried
from scripts.repository.preprocessing import Decided, Preprocessing
from triton_sdk.contract import ModelContract, TensorSpec

RECORD = Preprocessing(
    colour=Decided(value="bgr", source="file metadata", where="Image.BitmapPixelFormat Bgr8 in the ONNX file"),
    scale=Decided(value=1 / 255, source="flag", where="--scale"),
    mean=Decided(value=(0.485, 0.456, 0.406), source="flag", where="--mean"),
    std=Decided(value=(0.229, 0.224, 0.225), source="flag", where="--std"),
    size=Decided(value=(224, 192), source="graph", where="the input"),
    resize=Decided(value=232, source="assumed"),
    interpolation=Decided(value="bicubic", source="beside the file", where="resample 3 in preprocessor_config.json"),
    fit=Decided(value="squash", source="known model", where="resnet50-v1-12"),
    scores=Decided(value="logits", source="graph", where="its operators"),
    labels=Decided(value=1000, source="other versions", where="labels.txt"),
)
MANIFEST = Manifest(
    model="resnet50",
    version=3,
    origin=Origin(kind="zoo", name="resnet50-v1-12", sha256="ab" * 32, url="https://example.org/resnet50-v1-12.onnx"),
    sha256={"model.onnx": "cd" * 32, "golden.npz": "ef" * 32},
    contract=ModelContract(
        model="resnet50",
        input=TensorSpec(name="image", dtype="UINT8", shape=(224, 224, 3)),
        output=TensorSpec(name="probabilities", dtype="FP32", shape=(1000,)),
        layout="NHWC",
        max_batch=32,
        resize=232,
        scores="probabilities",
        labelled=True,
    ),
    quantisation="dynamic",
    opset=12,
    ir_version=7,
    measured=Measured(images=4, proof=1e-7, proof_limit=1e-4, batching=0.035, tolerance=0.07),
    tools={"onnxruntime": "1.32.0"},
    preprocessing=RECORD,
    tried=Tried(pictures=40, kept=(Kept(sha256="12" * 32, index=7, probability=0.75),), accuracy=0.975),
    gpu=GpuGraph(precision="fp16", buckets=(1, 8, 32), difference=0.002, tolerance=0.004),
)
VALID: dict[str, Any] = json.loads(MANIFEST.to_json())


def test_a_manifest_survives_being_written() -> None:
    """What is read back equals what was written, floats to the last bit included."""
    assert Manifest.from_json(MANIFEST.to_json(), where="here") == MANIFEST


def test_the_tolerance_is_the_measured_one() -> None:
    """A check of a server allows what packaging found necessary."""
    assert MANIFEST.tolerance == 0.07


def test_a_manifest_of_before_the_record_is_read() -> None:
    """What was packaged before the record was kept has none, and said by itself where its labels came from."""
    old = {name: value for name, value in VALID.items() if name not in ("preprocessing", "tried", "gpu")} | {
        "labels": "given"
    }
    assert Manifest.from_json(json.dumps(old), where="here").preprocessing is None


@pytest.mark.parametrize("key", sorted(VALID.keys() - {"preprocessing", "tried", "gpu"}))
def test_a_manifest_without_a_field_is_refused(key: str) -> None:
    """Every field is needed; one that is missing is named."""
    text = json.dumps({name: value for name, value in VALID.items() if name != key})
    with pytest.raises(TaskFailure, match=rf"here is no manifest.*{key}"):
        Manifest.from_json(text, where="here")


@given(st.sampled_from(sorted(VALID)), st.recursive(st.none() | st.text() | st.floats(), st.lists))
def test_a_damaged_field_never_escapes_as_another_error(key: str, value: object) -> None:
    """A field of another type gives a manifest or our error, nothing else."""
    try:
        Manifest.from_json(json.dumps({**VALID, key: value}), where="here")
    except TaskFailure as error:
        message = str(error)
    else:
        return
    assert message.startswith("here")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", "[" * 100_000], ids=lambda text: text[:5])
def test_other_text_is_refused(text: str) -> None:
    """Text that is no manifest at all is one clear error."""
    with pytest.raises(TaskFailure, match="here is no manifest"):
        Manifest.from_json(text, where="here")


def test_a_manifest_of_a_later_tool_says_so() -> None:
    """A schema from the future asks for a newer tool instead of being misread."""
    with pytest.raises(TaskFailure, match=r"schema 2; .*Update"):
        Manifest.from_json(json.dumps({**VALID, "schema": 2}), where="here")


def test_a_missing_file_is_a_clear_error(tmp_path: Path) -> None:
    """Reading what is not there names the file."""
    with pytest.raises(TaskFailure, match=r"manifest\.json cannot be read"):
        manifest.read(tmp_path / manifest.FILE)


def test_the_hash_is_sha256(tmp_path: Path) -> None:
    """The hash of a known text is the published one (FIPS 180-2, "abc")."""
    (tmp_path / "a").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert manifest.sha256(tmp_path / "a") == expected
