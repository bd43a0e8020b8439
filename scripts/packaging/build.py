"""Make a version's files from a model: the graph that is served, golden data, and the proof that both are the same."""

import math
import platform
from importlib import metadata
from pathlib import Path

import attrs
import onnx

from scripts.graph import compare
from scripts.graph.inspect import Classifier, inspect
from scripts.graph.pixels import Pixels
from scripts.graph.rewrite import free_batch, fuse, give_probabilities
from scripts.graph.scores import served_as
from scripts.graph.session import Session
from scripts.host.errors import TaskFailure
from scripts.repository import config_pbtxt, golden, manifest
from scripts.repository.golden import Golden
from scripts.repository.manifest import Manifest, Measured, Origin
from scripts.sources.source import Progress, Source
from triton_sdk import __version__
from triton_sdk.contract import RESIZE_PER_CROP, RGB, ModelContract, TensorSpec

MODEL = "model.onnx"
# What rounding may do to a float model's probabilities; ResNet50 showed 1e-6.
FLOAT_LIMIT = 1e-4
# On a CPU half precision is computed in full here and there, where the graph's casts can be dropped: that alone moved a
# probability of a tiny model by 2e-4.
HALF_LIMIT = 5e-3
# A quantised graph turns the last bit of an input into a whole level now and then.
QUANTISED_LIMIT = 0.02
# Integer kernels differ between kinds of CPU and between CPU and GPU, and nobody measured all of them: this only
# catches nonsense, and what is held firmly is the best class.
QUANTISED_TOLERANCE = 0.05
# Four images show only part of what other batch-mates may do.
_BATCHING_MARGIN = 2.0


@attrs.frozen(kw_only=True)
class Preprocessing:
    """What the user says of a model's preprocessing; None where the source is to be believed.

    Attributes:
        resize: Length of the shorter side before the centre crop, in pixels.
        mean: Mean of each channel, for pixels in [0, 1].
        std: Standard deviation of each channel, likewise.
    """

    resize: int | None = None
    mean: RGB | None = None
    std: RGB | None = None


@attrs.frozen(kw_only=True)
class Built:
    """The files of a version before it has a number.

    Attributes:
        folder: Where they are.
        contract: What the version takes and gives; ``max_batch`` and ``labelled`` are the model's to decide.
        origin: Where the model came from.
        classifier: What the model was before.
        measured: What was measured.
    """

    folder: Path
    contract: ModelContract
    origin: Origin
    classifier: Classifier
    measured: Measured

    def manifest(self, contract: ModelContract, *, version: int, labels: str | None) -> Manifest:
        """Return the manifest of these files as *version* of a model."""
        return Manifest(
            model=contract.model,
            version=version,
            origin=self.origin,
            sha256={name: manifest.sha256(self.folder / name) for name in (MODEL, golden.FILE)},
            contract=contract,
            quantisation=self.classifier.quantisation,
            opset=self.classifier.opset,
            ir_version=self.classifier.ir_version,
            labels=labels,
            measured=self.measured,
            tools={
                "triton-sdk": __version__,
                "python": platform.python_version(),
                **{name: metadata.version(name) for name in ("onnx", "onnxruntime", "numpy")},
            },
        )


def build(
    source: Source, *, model: str, folder: Path, keep_input: bool, preprocessing: Preprocessing, progress: Progress
) -> Built:
    """Write ``model.onnx`` and ``golden.npz`` into the new folder *folder*.

    Raises:
        TaskFailure: If the model cannot be read, is no image classifier, or does not pass the proof.
    """
    original, origin = source.read(progress)
    classifier = inspect(original)
    if classifier.batch is not None:
        progress("The batch dimension is fixed: making it dynamic, and comparing 3 images together with 3 alone")
        original = free_batch(original, classifier)
        classifier = attrs.evolve(classifier, batch=None)
    progress(
        f"Found {classifier.input} -> {classifier.output}: {classifier.scores}, quantisation {classifier.quantisation}"
    )
    contract = _contract(source, classifier, model=model, keep_input=keep_input, preprocessing=preprocessing)
    if keep_input:
        served = give_probabilities(original, classifier)
    else:
        progress("Writing preprocessing and softmax into the graph")
        served = fuse(original, classifier, pixels=Pixels(mean=contract.mean, std=contract.std))
    folder.mkdir()
    onnx.save_model(served, folder / MODEL)
    pictures = golden.pictures(contract)
    # Loaded from the file: what is measured is what will be served.
    answers = Session(folder / MODEL).alone(pictures)
    golden.save(Golden(input=pictures, output=answers), path=folder / golden.FILE)
    measured = _measure(original, served, classifier, contract, progress=progress)
    if len(set(answers.argmax(axis=1).tolist())) == 1:
        progress(
            f"Note: all {len(answers)} generated images get class {answers[0].argmax()}; a trained model may well do so"
        )
    return Built(folder=folder, contract=contract, origin=origin, classifier=classifier, measured=measured)


def _contract(
    source: Source, classifier: Classifier, *, model: str, keep_input: bool, preprocessing: Preprocessing
) -> ModelContract:
    """Return what the packaged version will take and give."""
    if classifier.input.dtype == "UINT8" and (preprocessing.mean or preprocessing.std):
        raise TaskFailure("The graph takes UINT8 pixels and normalises them itself: leave --mean and --std out.")
    if keep_input and classifier.input.dtype in ("FP16", "FP64"):
        raise TaskFailure(
            f"The graph takes {classifier.input}, which clients cannot send. Leave --keep-input out, so that it takes "
            "pixels."
        )
    mean, std = preprocessing.mean or source.mean, preprocessing.std or source.std
    _check_scaling(mean, std)
    shortest = max(classifier.height, classifier.width)
    resize = preprocessing.resize or source.resize or round(shortest * RESIZE_PER_CROP)
    if resize < shortest:
        raise TaskFailure(
            f"--resize {resize} is smaller than the image of {classifier.height} x {classifier.width} pixels that the "
            f"model sees. Give at least {shortest}."
        )
    pixels = TensorSpec(name="image", dtype="UINT8", shape=(classifier.height, classifier.width, 3))
    return ModelContract(
        model=model,
        input=classifier.input if keep_input else pixels,
        output=TensorSpec(name="probabilities", dtype="FP32", shape=(classifier.classes,)),
        layout=classifier.layout if keep_input else "NHWC",
        max_batch=config_pbtxt.DEFAULT_MAX_BATCH,
        resize=resize,
        mean=mean,
        std=std,
        scores=served_as(classifier.scores),
    )


def _check_scaling(mean: RGB, std: RGB) -> None:
    """Refuse numbers that cannot be meant; the proof would pass with them, and every answer be wrong."""
    if not all(0 < part < math.inf for part in std):
        raise TaskFailure(f"--std has to be a number above 0 for each channel, not {std}.")
    if not all(-1 <= part <= 1 for part in mean):
        raise TaskFailure(
            f"--mean is for pixels in [0, 1], not {mean}. For numbers on the scale of 0 to 255 divide both --mean and "
            "--std by 255."
        )


def _measure(
    original: onnx.ModelProto,
    served: onnx.ModelProto,
    classifier: Classifier,
    contract: ModelContract,
    *,
    progress: Progress,
) -> Measured:
    """Prove that the served graph is the original one, and measure what sharing a batch does."""
    limit = _limit(classifier)
    pictures = golden.pictures(contract)
    if contract.input == classifier.input:
        expected = compare.expected_answers(original, classifier, pictures)
        proof = golden.compare(expected, Session(served).alone(pictures)).difference
    else:
        proof = compare.fused_difference(
            original,
            served,
            classifier,
            images=golden.images(height=contract.height, width=contract.width),
            pixels=Pixels(mean=contract.mean, std=contract.std),
        )
    found = f"the packaged graph differs from the original by at most {proof:.1e} in a probability"
    if not proof <= limit:
        raise TaskFailure(
            f"Proof failed: on {len(pictures)} generated images {found}, where {limit:.0e} is allowed. Nothing was "
            "published. Package it with --keep-input, and report this model."
        )
    progress(f"Proof: on {len(pictures)} generated images {found} (allowed: {limit:.0e})")
    batching = compare.batch_difference(served, pictures)
    tolerance = limit
    if classifier.quantisation != "none":
        tolerance = max(QUANTISED_TOLERANCE, _BATCHING_MARGIN * batching)
    # The linter, which sees the version next, says what that means for a dynamically quantised graph.
    progress(f"Sharing a batch moves a probability by at most {batching:.1e}; the golden check allows {tolerance:.1e}")
    return Measured(images=len(pictures), proof=proof, proof_limit=limit, batching=batching, tolerance=tolerance)


def _limit(classifier: Classifier) -> float:
    """Return how far the packaged graph may lie from the original, in a probability."""
    if classifier.quantisation != "none":
        return QUANTISED_LIMIT
    return HALF_LIMIT if "FP16" in (classifier.input.dtype, classifier.output.dtype) else FLOAT_LIMIT
