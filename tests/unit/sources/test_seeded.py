import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from scripts.graph.compare import fused_difference
from scripts.graph.inspect import inspect
from scripts.graph.pixels import Pixels
from scripts.graph.rewrite import fuse
from scripts.graph.session import Session
from scripts.host.errors import TaskFailure
from scripts.repository import golden
from scripts.sources.seeded import build, parameters
from triton_sdk.contract import IMAGENET_MEAN, IMAGENET_STD

PIXELS = Pixels(mean=IMAGENET_MEAN, std=IMAGENET_STD)

# Other images than those that the last layer was scaled on.
FRESH = golden.images(12, height=224, width=224, seed=99)
GOLDEN = golden.images(4, height=224, width=224)


def silent(_: str) -> None:
    """Show no progress."""


def probabilities(model: onnx.ModelProto, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Ask a seeded model, fused."""
    return Session(fuse(model, inspect(model), pixels=PIXELS)).alone(images)


@pytest.fixture(scope="module")
def mobilenetv2() -> onnx.ModelProto:
    """Build a MobileNetV2 once for all tests."""
    return build("mobilenetv2", seed=1, progress=silent)


@pytest.fixture(scope="module")
def resnet50() -> onnx.ModelProto:
    """Build a ResNet50 once for all tests."""
    return build("resnet50", seed=1, progress=silent)


@pytest.mark.parametrize(
    ("name", "count", "convolutions", "image"),
    [("resnet50", 25_557_032, 53, "data"), ("mobilenetv2", 3_504_872, 52, "input")],
)
def test_the_architectures_are_the_true_ones(
    request: pytest.FixtureRequest, name: str, count: int, convolutions: int, image: str
) -> None:
    """As many parameters and layers as published, the zoo's input, logits of 1000 classes, any batch."""
    model = request.getfixturevalue(name)
    assert parameters(model) == count
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("Conv") == operators.count("BatchNormalization") == convolutions
    found = inspect(model)
    assert str(found.input) == f"{image} FP32 (n, 3, 224, 224)"
    assert (found.classes, found.scores, found.batch, found.quantisation) == (1000, "logits", None, "none")


@pytest.mark.parametrize("name", ["resnet50", "mobilenetv2"])
def test_different_images_get_different_sure_answers(request: pytest.FixtureRequest, name: str) -> None:
    """Images that the last layer never saw get classes of their own, most of them sure and none of them nonsense."""
    given = probabilities(request.getfixturevalue(name), np.concatenate([GOLDEN, FRESH]))
    best = given.max(axis=1)
    assert len(set(given.argmax(axis=1).tolist())) >= 14
    assert np.median(best) > 0.6
    assert best.min() > 0.1
    # A model that is sure beyond doubt would hide a wrong preprocessing.
    assert (best < 0.999).sum() >= 6


@pytest.mark.parametrize("name", ["resnet50", "mobilenetv2"])
def test_fusing_a_seeded_model_changes_nothing(request: pytest.FixtureRequest, name: str) -> None:
    """The float models stay far inside the 1e-4 that packaging allows."""
    model = request.getfixturevalue(name)
    found = inspect(model)
    result = fuse(model, found, pixels=PIXELS)
    assert fused_difference(model, result, found, images=GOLDEN, pixels=PIXELS) <= 1e-6


def test_activations_keep_their_size(mobilenetv2: onnx.ModelProto) -> None:
    """No layer explodes or dies on images that the statistics were not taken from."""
    probe = onnx.ModelProto()
    probe.CopyFrom(mobilenetv2)
    norms = [node.output[0] for node in probe.graph.node if node.op_type == "BatchNormalization"]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in norms)
    batch = np.random.default_rng(1).normal(size=(2, 3, 224, 224)).astype(np.float32)
    for values in Session(probe).outputs({"input": batch}, names=norms):
        assert 0.01 < values.std() < 30


def test_a_seed_decides_everything(mobilenetv2: onnx.ModelProto) -> None:
    """The same seed gives the same bytes, and another one other answers."""
    again = build("mobilenetv2", seed=1, progress=silent)
    assert again.SerializeToString(deterministic=True) == mobilenetv2.SerializeToString(deterministic=True)
    other = build("mobilenetv2", seed=2, progress=silent)
    same = probabilities(mobilenetv2, GOLDEN).argmax(axis=1) == probabilities(other, GOLDEN).argmax(axis=1)
    assert not same.any()


def test_progress_ends_with_what_was_built() -> None:
    """A line for each stage, and the last one says how large the model is."""
    lines: list[str] = []
    build("mobilenetv2", seed=3, progress=lines.append)
    assert len(lines) == 4
    assert "3,504,872 parameters" in lines[-1]


def test_an_unknown_network_is_refused_with_the_known_ones() -> None:
    """The message lists what can be built."""
    with pytest.raises(TaskFailure, match=r"'vgg16'.*resnet50, mobilenetv2"):
        build("vgg16", seed=0, progress=silent)
