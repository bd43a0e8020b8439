"""Write a version's graph for GPUs beside the one for CPUs, prove that both are the same, and say what each costs."""

import time
from pathlib import Path

import attrs
import onnx

from scripts.graph.buckets import bucketed
from scripts.graph.compare import bucket_difference
from scripts.graph.half import to_half
from scripts.graph.inspect import Classifier
from scripts.graph.load import load
from scripts.graph.naming import shortened
from scripts.graph.prepare import UnbucketableError
from scripts.graph.session import Session
from scripts.graph.walk import images_of
from scripts.graph.weights import save_together
from scripts.graph.wiring import astray, numbered, wiring
from scripts.host.errors import TaskFailure
from scripts.packaging.wishes import USUAL, GpuWish
from scripts.repository import golden
from scripts.repository.gpu_pbtxt import FILE, GRAPH
from scripts.repository.manifest import GpuGraph
from scripts.repository.versions import MODEL, version_folders
from scripts.sources.source import Progress
from triton_sdk.contract import ModelContract

# Weights of both graphs, and those of a graph in half precision, which shares few of them.
WEIGHTS = "model.weights"
HALF_WEIGHTS = "model.gpu.weights"
# Branches and plain graph use other kernels for the same numbers: a seeded MobileNetV2, which nothing trained to
# be steady, moved by 1.3e-4.
BRANCH_LIMIT = 1e-3
# Seeded networks moved by up to 0.2. What lies beyond is no rounding.
HALF_PRECISION_LIMIT = 0.3
# Kernels of CPU and GPU differ by about as much as those of two graphs or two precisions on a CPU do.
_MARGIN = 2.0


def decided(target: Path, wish: GpuWish | None, *, progress: Progress) -> GpuWish | None:
    """Return what graph for GPUs a new version of the model in *target* gets; None for none.

    All versions of a model are served by one configuration, so that all have such a graph or none has.

    Args:
        target: The model's folder, which may not be there yet.
        wish: What the graph should be; `USUAL` where its owner does not say, None to leave it out.
        progress: Called with a line where it is left out.

    Raises:
        TaskFailure: If what was asked for does not fit the model's other versions.
    """
    if (target / FILE).is_file():
        if wish is None:
            raise gpu_graph_missing(target)
        return wish
    if wish is None or not version_folders(target):
        return wish
    if wish is not USUAL:
        raise no_gpu_config(target)
    progress(
        f"Note: the other versions of {target.name} have no graph for GPUs, and this one gets none. Under a new model "
        "name it would"
    )
    return None


def no_gpu_config(target: Path) -> TaskFailure:
    """Return the refusal of a graph for GPUs that no configuration would serve."""
    return TaskFailure(
        f"{target.name} has versions without a graph for GPUs and no {FILE}, and one configuration serves "
        "all versions. Package this version under another model name, or with --gpu-precision none."
    )


def gpu_graph_missing(target: Path) -> TaskFailure:
    """Return the refusal of a version that the model's configuration for GPUs could not serve."""
    return TaskFailure(
        f"{target.name} has {FILE}, which serves {GRAPH} of every version. Leave "
        "--gpu-precision none out, or package under another model name."
    )


def halved(original: onnx.ModelProto, classifier: Classifier) -> onnx.ModelProto:
    """Return *original* in half precision.

    Raises:
        TaskFailure: If it is quantised, or nothing in it can be computed so.
    """
    if classifier.quantisation != "none":
        raise TaskFailure(
            "The graph is quantised, and half precision is for float graphs. Leave --gpu-precision fp16 out."
        )
    return to_half(original)


@attrs.frozen(kw_only=True)
class Pair:
    """A version's two graphs.

    Attributes:
        contract: What the version takes and gives.
        limit: How far graphs of one precision may lie apart, in a probability.
        tolerance: What a server may differ from the golden answers with the graph for CPUs.
        progress: Called with a line for each stage.
    """

    contract: ModelContract
    limit: float
    tolerance: float
    progress: Progress

    def write(self, served: onnx.ModelProto, half: onnx.ModelProto | None, folder: Path, *, wish: GpuWish) -> GpuGraph:
        """Write both graphs with their weights into *folder*, prove that they are the same, and return what was found.

        A graph that cannot have branches, or whose branches give other answers, is left plain, and that is said.

        Args:
            served: The graph for CPUs.
            half: The same in half precision; None where GPUs get the same as CPUs.
            folder: Where the files go.
            wish: What the graph for GPUs should be.

        Raises:
            TaskFailure: If half precision moves a probability too far.
        """
        plain = shortened(served)
        source = self._closed(plain if half is None else shortened(half))
        sizes, quick = self._with_branches(source, wish.sizes(self.contract.max_batch))
        _save(plain, quick, folder, apart=half is not None)
        difference = 0.0
        if sizes:
            limit = max(self.limit, BRANCH_LIMIT)
            difference = self._apart(
                Session(source) if half is not None else Session(folder / MODEL), folder, sizes=sizes, limit=limit
            )
            if not difference <= limit:
                sizes, difference = (), 0.0
                _save(plain, source, folder, apart=half is not None)
        if not sizes:
            self.progress(f"The graph for GPUs stays plain, and {FILE} has batching off, which is faster then")
        if half is not None:
            difference += self._moved(folder)
        self._say_costs(folder)
        return GpuGraph(
            precision=wish.precision,
            buckets=sizes,
            difference=difference,
            tolerance=max(self.tolerance, _MARGIN * difference),
        )

    def _closed(self, graph: onnx.ModelProto) -> onnx.ModelProto:
        """Return *graph* with the height and the width that the contract names, which an input kept may leave open."""
        closed = onnx.ModelProto()
        closed.CopyFrom(graph)
        dims = images_of(closed.graph)[0].type.tensor_type.shape.dim
        for dim, length in zip(dims[1:], self.contract.input.shape, strict=True):
            dim.dim_value = length
        return closed

    def _with_branches(
        self, source: onnx.ModelProto, sizes: tuple[int, ...]
    ) -> tuple[tuple[int, ...], onnx.ModelProto]:
        """Return *sizes* and *source* with branches for them, or no sizes and *source* where it cannot have any."""
        try:
            return sizes, bucketed(source, sizes)
        except UnbucketableError as error:
            self.progress(f"Note: {error}")
            return (), source

    def _apart(self, plain: Session, folder: Path, *, sizes: tuple[int, ...], limit: float) -> float:
        """Return how far the branches of the written graph lie from *plain*, over every number of images."""
        images = golden.pictures(self.contract, self.contract.max_batch)
        self.progress(f"Comparing the branches with the plain graph, for every batch of 1 to {len(images)} images")
        difference, count = bucket_difference(plain, Session(folder / GRAPH), images, sizes=sizes, limit=limit)
        found = f"a batch of {count} differs most, by {difference:.1e} in a probability (allowed: {limit:.0e})"
        if difference <= limit and (count := astray(Session(wiring(load(folder / GRAPH))), numbered(images))):
            difference, found = float("inf"), f"a batch of {count} is led astray on its way into a branch or out of it"
        self.progress(f"{'Proof' if difference <= limit else 'Note: the branches give other answers'}: {found}")
        return difference

    def _moved(self, folder: Path) -> float:
        """Return how far half precision moves a probability.

        Raises:
            TaskFailure: If it is further than rounding can.
        """
        images = golden.pictures(self.contract)
        expected, got = Session(folder / MODEL).scores(images), Session(folder / GRAPH).scores(images)
        compared = golden.compare(expected, got)
        moved = compared.difference
        found = f"Half precision moves a probability by at most {moved:.1e} on {len(images)} generated images"
        if not moved <= HALF_PRECISION_LIMIT:
            raise TaskFailure(
                f"{found}, but only {HALF_PRECISION_LIMIT} is allowed: some of its numbers do not fit. Leave "
                "--gpu-precision fp16 out."
            )
        self.progress(f"{found}{'' if compared.same_top1 else ', and changes the best class of one'}")
        return moved

    def _say_costs(self, folder: Path) -> None:
        """Say how long each graph takes to load, and how large the files are together."""
        took = []
        for name in (MODEL, GRAPH):
            started = time.monotonic()
            Session(folder / name)
            took.append(f"{name} in {time.monotonic() - started:.1f} s")
        size = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
        self.progress(f"Both graphs and their weights take {size:.1f} MiB; onnxruntime loads {', '.join(took)}")


def _save(plain: onnx.ModelProto, quick: onnx.ModelProto, folder: Path, *, apart: bool) -> None:
    if apart:
        save_together({MODEL: plain}, folder, weights=WEIGHTS)
        save_together({GRAPH: quick}, folder, weights=HALF_WEIGHTS)
    else:
        save_together({MODEL: plain, GRAPH: quick}, folder, weights=WEIGHTS)
