"""tune-gpu's measuring loop on a real Triton, on the CPU instead of a GPU."""

from pathlib import Path

import onnx
import pytest

from scripts.repository.config_pbtxt import changed
from scripts.repository.versions import packaged
from scripts.tuning.choose import Candidate, choose
from scripts.tuning.trial import Length, measure_all
from tests.doubles import small_classifiers, tiny
from triton_sdk.local import Runtime

pytestmark = pytest.mark.timeout(180)
USED = Candidate(precision="fp32", layout="NCHW", instances=1)


def test_every_way_is_served_and_measured(runtime: Runtime, tmp_path: Path) -> None:
    """FP32 and FP16 in both layouts load with buckets and answer, and more instances of the fastest follow."""
    assert runtime.complete
    model = small_classifiers.packaged()
    tiny.write_model(tmp_path, "pets", model=model, max_batch=4)
    path = tmp_path / "pets" / "config.pbtxt"
    resize = {"image.resize": {"string_value": "18"}}
    path.write_text(changed(path.read_text(encoding="utf-8"), {"parameters": resize}), encoding="utf-8")
    onnx.save_model(model, tmp_path / "pets" / "1" / "model.onnx")
    told: list[str] = []
    (version,) = packaged(tmp_path)
    length = Length(callers=(1, 4), rounds=2, seconds=0.1)
    measured = measure_all(version, used=USED, kind="KIND_CPU", length=length, progress=told.append)
    ways = {(one.candidate.precision, one.candidate.layout) for one in measured}
    assert ways == {("fp32", "NCHW"), ("fp32", "NHWC"), ("fp16", "NCHW"), ("fp16", "NHWC")}
    assert max(one.candidate.instances for one in measured) >= 2
    assert all(len(rates) == 2 and min(rates) > 0 for one in measured for rates in one.images_s.values())
    assert len(told) == len(measured)
    assert choose(measured, used=USED).used.candidate == USED
