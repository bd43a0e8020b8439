"""The table of known models."""

import hashlib
import re
from pathlib import Path

import pytest

from scripts.host.errors import TaskFailure
from scripts.sources.zoo import ZOO, ZooModel, fetch, lookup


@pytest.mark.parametrize(("name", "stem"), [("resnet50", "resnet50-v1-12"), ("mobilenetv2", "mobilenetv2-12")])
def test_architecture_means_its_usual_file(name: str, stem: str) -> None:
    """A bare architecture name is the float model of the newest opset."""
    assert lookup(name) is lookup(stem)
    assert (lookup(name).name, lookup(name).stem) == (name, stem)


def test_each_row_is_complete_and_unlike_the_others() -> None:
    """Every model has its own hash, length and address, and the preprocessing of ImageNet."""
    models = {id(model): model for model in ZOO.values()}.values()
    assert len(models) == 6
    assert len({model.sha256 for model in models}) == len({model.size_bytes for model in models}) == len(models)
    for model in models:
        assert re.fullmatch("[0-9a-f]{64}", model.sha256)
        assert model.url.startswith("https://")
        assert model.url.endswith(f"/{model.stem}.onnx")
        assert model.stem.startswith(f"{model.name}-")
        assert (model.resize, model.mean[0], model.std[0]) == (256, 0.485, 0.229)


def test_default_resnet_is_pinned_to_a_revision() -> None:
    """The address of the model that most people get names a commit, which cannot move."""
    assert re.search("/resolve/[0-9a-f]{40}/", lookup("resnet50").url)


def test_unknown_name_lists_the_known_ones() -> None:
    """A name that is not in the table gets all that are, and the way to bring a file."""
    with pytest.raises(TaskFailure) as caught:
        lookup("resnet51")
    for words in ("'resnet51'", "--onnx PATH", *ZOO):
        assert words in str(caught.value)


def test_file_in_the_cache_is_fetched_without_a_network(tmp_path: Path) -> None:
    """A file put into the cache by hand under the name that the messages give is taken."""
    data = b"weights"
    model = ZooModel(
        name="resnet50",
        stem="resnet50-x",
        url="http://models.invalid/resnet50-x.onnx",
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
    )
    (tmp_path / "resnet50-x.onnx").write_bytes(data)
    assert fetch(model, cache=tmp_path, progress=lambda *_: None) == tmp_path / "resnet50-x.onnx"
