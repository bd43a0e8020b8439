"""What tune-gpu reads from a configuration for GPUs, and writes into it."""

from pathlib import Path

import onnx
import pytest

from scripts.graph.half import to_half
from scripts.host.errors import TaskFailure
from scripts.repository import config_pbtxt
from scripts.repository.config_pbtxt import accelerators
from scripts.repository.gpu_pbtxt import with_instances
from scripts.repository.versions import PackagedVersion
from scripts.tuning.choose import Candidate, Choice, Measured
from scripts.tuning.written import CONFIG, used, write
from tests.doubles import small_classifiers

TEXT = """\
# A comment of its own.
default_model_filename: "model.gpu.onnx"

instance_group [ { count: 2 } ]  # by default, for one model that has the GPU to itself

parameters { key: "cudnn_conv_algo_search" value { string_value: "1" } }
"""
USED = Candidate(precision="fp32", layout="NCHW", instances=2)


def choice(best: Candidate) -> Choice:
    """Return the choice of *best* instead of what is in use."""
    known = Measured(candidate=USED, images_s={1: [440.0], 64: [3211.0]})
    faster = Measured(candidate=best, images_s={1: [497.0], 64: [5732.4]})
    return Choice(best=faster, used=known, gain=0.5, noise=0.05)


@pytest.fixture
def version(tmp_path: Path) -> PackagedVersion:
    """Return a version with a configuration for GPUs, in FP32."""
    path = tmp_path / "pets" / "1"
    path.mkdir(parents=True)
    onnx.save_model(small_classifiers.packaged(), path / "model.gpu.onnx")
    (path.parent / "configs").mkdir()
    (path.parent / CONFIG).write_text(TEXT)
    return PackagedVersion(model="pets", version=1, path=path, manifest=None)


def test_what_is_in_use_is_read(version: PackagedVersion) -> None:
    """Instances and layout from the configuration, the precision from the graph that it names."""
    assert used(version) == USED
    onnx.save_model(to_half(small_classifiers.packaged()), version.path / "model.gpu.onnx")
    assert used(version).precision == "fp16"
    (version.path.parent / CONFIG).unlink()
    with pytest.raises(TaskFailure, match=r"pets has no configs/gpu\.pbtxt.*invoke package-model --model pets"):
        used(version)


def test_the_winner_is_written_with_its_figures_and_the_rest_is_kept(version: PackagedVersion) -> None:
    """Another run takes the place of what an earlier one wrote, and comments stay."""
    path = version.path.parent / CONFIG
    for instances, layout in ((3, "NHWC"), (1, "NCHW"), (2, "NHWC")):
        best = Candidate(precision="fp32", layout="NHWC" if layout == "NHWC" else "NCHW", instances=instances)
        made = choice(best)
        write(path, made, [made.used, made.best], gpu="NVIDIA H100")
        assert used(version) == best
    text = path.read_text()
    # Or another model in the repository would change what was measured.
    assert with_instances(text, alone=False) == text
    assert text.count("written by invoke tune-gpu") == 1
    assert "# A comment of its own." in text
    assert "# Images a second on NVIDIA H100" in text
    assert "#   FP32, NHWC, 2 instances: 497 by 1, 5,732 by 64" in text
    (cuda,) = accelerators(config_pbtxt.parse(path))
    assert cuda == ("cuda", {"prefer_nhwc": "1"})


def test_a_form_that_is_not_known_is_left_alone(version: PackagedVersion) -> None:
    """Two groups of instances are somebody's own idea: the message says what to write."""
    path = version.path.parent / CONFIG
    text = TEXT.replace("{ count: 2 }", "{ count: 2 gpus: [ 0 ] }, { count: 1 gpus: [ 1 ] }")
    path.write_text(text)
    with pytest.raises(TaskFailure, match="Write it yourself: 3 in instance_group, prefer_nhwc 0"):
        write(path, choice(Candidate(precision="fp32", layout="NCHW", instances=3)), [], gpu="a GPU")
    assert path.read_text() == text
