"""Make a version's files from a model: the graph that is served, golden data, and the proof that both are the same."""

import platform
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import numpy
import onnx

from scripts.graph import session
from scripts.graph.choose import choose_output, freeze
from scripts.graph.flat import give_channel
from scripts.graph.fold import fold_normalisation
from scripts.graph.inspect import Classifier, image_size, inspect
from scripts.graph.naming import named
from scripts.graph.rewrite import declare_batch, free_batch, fuse, give_probabilities
from scripts.graph.scores import served_as
from scripts.graph.session import Session
from scripts.host.errors import TaskFailure
from scripts.packaging import gpu
from scripts.packaging.decide import Decision, decide, decide_size, told_scores
from scripts.packaging.gpu import Pair
from scripts.packaging.measure import Subject, measure
from scripts.packaging.wishes import GpuWish, Wishes
from scripts.repository import golden, manifest
from scripts.repository.golden import Golden
from scripts.repository.manifest import GpuGraph, Manifest, Measured, Origin, Tried
from scripts.repository.preprocessing import FLAGS, Decided, Preprocessing, shown
from scripts.repository.versions import MODEL
from scripts.sources.claims import Claim
from scripts.sources.source import Progress, Source
from triton_sdk import __version__
from triton_sdk.contract import ModelContract, TensorSpec


@attrs.frozen(kw_only=True)
class Built:
    """The files of a version before it has a number.

    Attributes:
        folder: Where they are.
        contract: What the version takes and gives; ``labelled`` is the model's to decide.
        origin: Where the model came from.
        original: The model before it was packaged.
        classifier: What the model was before.
        decision: What was decided about its preprocessing.
        measured: What was measured.
        gpu: Its graph for GPUs; None where it has none of its own.
    """

    folder: Path
    contract: ModelContract
    origin: Origin
    original: onnx.ModelProto
    classifier: Classifier
    decision: Decision
    measured: Measured
    gpu: GpuGraph | None

    def manifest(self, contract: ModelContract, *, version: int, labels: Decided[int], tried: Tried | None) -> Manifest:
        """Return the manifest of these files as *version* of a model.

        Args:
            contract: What the version takes and gives.
            version: Its number.
            labels: Where the names of its classes come from.
            tried: What its owner's pictures showed.
        """
        return Manifest(
            model=contract.model,
            version=version,
            origin=self.origin,
            # A second try to publish finds the manifest of the first.
            sha256={
                path.name: manifest.sha256(path) for path in sorted(self.folder.iterdir()) if path.name != manifest.FILE
            },
            contract=contract,
            quantisation=self.classifier.quantisation,
            opset=self.classifier.opset,
            ir_version=self.classifier.ir_version,
            preprocessing=attrs.evolve(self.decision.record, labels=labels),
            tried=tried,
            measured=self.measured,
            gpu=self.gpu,
            tools={
                "triton-sdk": __version__,
                "python": platform.python_version(),
                "onnx": onnx.__version__,
                "onnxruntime": session.VERSION,
                "numpy": numpy.__version__,
            },
        )


def build(
    source: Source,
    *,
    model: str,
    folder: Path,
    keep_input: bool,
    max_batch: int,
    wishes: Wishes,
    strict: bool,
    others: Sequence[Claim],
    on_gpu: GpuWish | None,
    progress: Progress,
    decided: Callable[[Preprocessing], None],
) -> Built:
    """Write the graphs and ``golden.npz`` into the new folder *folder*.

    Args:
        source: Where the model comes from.
        model: Its name on the server.
        folder: Where the files go.
        keep_input: Leave the graph's own input.
        max_batch: Most images that will share a batch; with 1 nothing is asked of batches.
        wishes: What the owner says.
        strict: Refuse what is only assumed.
        others: What the model's other versions say.
        on_gpu: What graph GPUs get; None for the same as CPUs.
        progress: Called with a line for each stage.
        decided: Called with the record before anything rests on it.

    Raises:
        TaskFailure: If the model cannot be read, is no image classifier, or does not pass the proof.
    """
    found = source.read(progress)
    original, claims = found.model, [*others, *found.claims]
    if wishes.freeze:
        original = freeze(original, wishes.freeze)
    if wishes.output:
        original = choose_output(original, wishes.output)
    if wishes.colour == "gray":
        original = give_channel(original, size=wishes.size)
    height, width = image_size(original)
    size = decide_size(claims, wishes, height=height, width=width)
    told = told_scores(claims, wishes)
    classifier = inspect(original, size=size.value, told=None if told is None else told.value)
    if classifier.batch is not None:
        if max_batch > 1:
            progress("The batch dimension is fixed: making it dynamic, and comparing 3 images together with 3 alone")
            original = free_batch(original, classifier)
        else:
            original = declare_batch(original)
        classifier = attrs.evolve(classifier, batch=None)
    progress(
        f"Found {classifier.input} -> {classifier.output}: {classifier.scores}, quantisation {classifier.quantisation}"
    )
    decision = decide(claims, wishes, classifier=classifier, size=size)
    record = decision.record
    decided(record)
    _say_assumed(record, strict=strict, progress=progress)
    contract = _contract(record, classifier, model=model, keep_input=keep_input, max_batch=max_batch)

    def for_server(graph: onnx.ModelProto) -> onnx.ModelProto:
        if keep_input:
            return named(give_probabilities(graph, classifier), model)
        return named(fuse(graph, classifier, pixels=record.pixels), model)

    progress(
        "Writing what turns scores into probabilities into the graph"
        if keep_input
        else "Writing preprocessing into the graph"
    )
    folded = fold_normalisation(original)
    served = for_server(folded)
    folder.mkdir()
    onnx.save_model(served, folder / MODEL)
    pictures = golden.pictures(contract)
    # Loaded from the file: what is measured is what will be served.
    answers = Session(folder / MODEL).alone(pictures)
    golden.save(Golden(input=pictures, output=answers), path=folder / golden.FILE)
    subject = Subject(
        original=original,
        served=served,
        classifier=classifier,
        contract=contract,
        pixels=record.pixels,
        max_batch=max_batch,
    )
    measured = measure(subject, progress=progress)
    if len(set(answers.argmax(axis=1).tolist())) == 1:
        progress(
            f"Note: all {len(answers)} generated images get class {answers[0].argmax()}; a trained model may well do so"
        )
    beside = None
    if on_gpu is not None:
        half = for_server(gpu.halved(folded, classifier)) if on_gpu.precision == "fp16" else None
        beside = Pair(
            contract=contract,
            limit=measured.proof_limit,
            tolerance=measured.tolerance,
            progress=progress,
        ).write(served, half, folder, wish=on_gpu)
    return Built(
        folder=folder,
        contract=contract,
        origin=found.origin,
        original=original,
        classifier=classifier,
        decision=decision,
        measured=measured,
        gpu=beside,
    )


def _say_assumed(record: Preprocessing, *, strict: bool, progress: Progress) -> None:
    """Name what nothing told, and the flags that tell it.

    Raises:
        TaskFailure: If *strict*, and something is assumed.
    """
    assumed = record.assumed()
    if not assumed:
        return
    values = ", ".join(f"{name} ({shown(getattr(record, name).value, name)})" for name in assumed)
    flags = "; ".join(FLAGS[name] for name in assumed)
    found = f"Neither a flag nor the file nor a file beside it tells the {values}"
    if strict:
        raise TaskFailure(f"{found}, and --strict refuses what is only assumed. Say what is right: {flags}.")
    progress(
        f"Warning: {found}: what stands in brackets is assumed. If it is not what the model was trained with, its "
        f"answers are wrong and nothing fails. What decides: {flags}. --images FOLDER tries it on your pictures"
    )


def _contract(
    record: Preprocessing, classifier: Classifier, *, model: str, keep_input: bool, max_batch: int
) -> ModelContract:
    """Return what the packaged version will take and give."""
    if keep_input and (classifier.input.dtype in ("FP16", "FP64") or record.colour.value != "rgb"):
        raise TaskFailure(
            f"The graph takes {classifier.input}, {record.colour.value}, which clients cannot send. "
            "If you leave --keep-input out, the model takes pixels."
        )
    pixels = TensorSpec(name="image", dtype="UINT8", shape=(classifier.height, classifier.width, 3))
    mean, std = record.scaling.of_unit_pixels(record.colour.value)
    return ModelContract(
        model=model,
        input=classifier.input if keep_input else pixels,
        output=TensorSpec(name="probabilities", dtype="FP32", shape=(classifier.classes,)),
        layout=classifier.layout if keep_input else "NHWC",
        max_batch=max_batch,
        resize=record.resize.value,
        interpolation=record.interpolation.value,
        fit=record.fit.value,
        mean=mean,
        std=std,
        scores=served_as(classifier.scores),
    )
