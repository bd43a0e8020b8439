"""What bites in one version of a model: its graph against the configuration, and its files against its manifest."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import onnx
from onnx import TensorProto

from scripts.graph.compare import random_nodes
from scripts.graph.walk import all_nodes, images_of, opset_of
from scripts.host.errors import TaskFailure
from scripts.repository import golden, manifest
from scripts.repository.lint.backend import is_onnx
from scripts.repository.lint.finding import Finding, error, guarded, warning
from scripts.repository.lint.graphs import Graphs, file_of
from scripts.repository.lint.scheduling import max_batch, scheduler_tensors
from scripts.repository.manifest import Manifest
from triton_sdk.contract import ModelContract
from triton_sdk.errors import ContractError

# Triton 26.08, the oldest image that production may use, carries ONNX Runtime 1.28.0 (the server project's
# docs/introduction/compatibility.md), and that one loads models up to these two: tried with its wheel, one by one.
IMAGE = "Triton 26.08 (ONNX Runtime 1.28)"
NEWEST_IR = 13
NEWEST_OPSET = 26

_DTYPES = {
    TensorProto.FLOAT: "FP32",
    TensorProto.FLOAT16: "FP16",
    TensorProto.DOUBLE: "FP64",
    TensorProto.BFLOAT16: "BF16",
    TensorProto.BOOL: "BOOL",
    TensorProto.STRING: "STRING",
    **{getattr(TensorProto, name): name for name in ("UINT8", "UINT16", "UINT32", "UINT64")},
    **{getattr(TensorProto, name): name for name in ("INT8", "INT16", "INT32", "INT64")},
}


def check_version(folder: Path, *, config: Mapping[str, Any] | None, graphs: Graphs) -> Iterator[Finding]:
    """Yield what is wrong in the version folder *folder*; *config* is None where it could not be read."""
    known, findings = _read_manifest(folder)
    yield from findings
    yield from guarded(_check_graph(folder, config, known, graphs))


def read_graph(folder: Path, config: Mapping[str, Any], graphs: Graphs) -> tuple[onnx.ModelProto | None, list[Finding]]:
    """Return the graph in *folder* that *config* serves, None where it cannot be read, and what is wrong with it."""
    file = file_of(folder, config)
    if not file.exists():
        missing = f"{file.name} is missing: Triton cannot load the version. Package it again."
        return None, [error("model-missing", missing)]
    try:
        model = graphs.of(file)
    except TaskFailure as problem:
        return None, [error("onnx-unreadable", f"Triton cannot load the version: {problem}")]
    return model, [*_check_age(model), *_check_tensors(model, config)]


def _check_graph(
    folder: Path, config: Mapping[str, Any] | None, known: Manifest | None, graphs: Graphs
) -> Iterator[Finding]:
    if config is None:
        # The configuration is a finding of its own; whether there is a whole graph can be said all the same.
        if (file := file_of(folder, {})).exists():
            try:
                yield from _check_age(graphs.of(file))
            except TaskFailure as problem:
                yield error("onnx-unreadable", f"Triton cannot load the version: {problem}")
        return
    if not is_onnx(config):
        return
    if known is not None:
        yield from _check_framing(known, config)
    model, findings = read_graph(folder, config, graphs)
    yield from findings
    if model is not None:
        yield from _check_batch_mates(model, config, known)
        yield from _check_chance(model)


def _read_manifest(folder: Path) -> tuple[Manifest | None, list[Finding]]:
    """Return the version's manifest, if there is a good one, and what is wrong with it and the files it names."""
    path = folder / manifest.FILE
    if not os.path.lexists(path):
        what = (
            "It was not packaged by this project: there is no manifest, and nobody can tell whether the files are whole"
        )
        return None, [warning("unpackaged", f"{what}. Without golden data the smoke test cannot check its numbers.")]
    try:
        known = manifest.read(path)
    except TaskFailure as problem:
        return None, [error("manifest-unreadable", str(problem))]
    findings = []
    if (known.model, str(known.version)) != (folder.parent.name, folder.name):
        message = (
            f"It was packaged as {known.model} version {known.version} and copied here. Package it under this name."
        )
        findings.append(error("manifest-name", message))
    for name, digest in {golden.FILE: "", **known.sha256}.items():
        findings.extend(guarded(_check_file(folder / name, digest)))
    if not findings:
        try:
            golden.load(folder / golden.FILE)
        except TaskFailure as problem:
            findings.append(error("golden-unreadable", str(problem)))
    return known, findings


def _check_file(path: Path, digest: str) -> Iterator[Finding]:
    if path.name == golden.FILE and not path.exists():
        yield error(
            "golden-missing", f"{golden.FILE} is missing: the numbers cannot be checked. Package the version again."
        )
    elif path.exists() and manifest.sha256(path) != digest:
        yield error(
            "manifest-hash",
            f"{path.name} is not the file that was packaged (its SHA-256 differs): Triton serves what it finds. "
            "Versions never change: package it again under a new number, or restore the file.",
        )


def _check_framing(known: Manifest, config: Mapping[str, Any]) -> Iterator[Finding]:
    """Compare what the client will do to images with what the version was packaged for."""
    try:
        told = ModelContract.from_config(config).framing_for(known.version)
    except ContractError:
        return  # said about the configuration already
    made_for = known.contract.framing_for(None)
    for field, value in attrs.asdict(made_for).items():
        if getattr(told, field) == value:
            continue
        yield warning(
            "framing",
            f"The configuration makes clients use image.{field} {getattr(told, field)}, but the version was packaged "
            f"for {value}: its answers are worse than they could be, and nothing fails. Set the parameter "
            f'"image.{field}.{known.version}" to "{value}", unless you measured otherwise.',
        )


def _check_age(model: onnx.ModelProto) -> Iterator[Finding]:
    ages = (("IR version", model.ir_version, NEWEST_IR), ("operator set", opset_of(model), NEWEST_OPSET))
    for what, found, newest in ages:
        if found > newest:
            yield error(
                "too-new",
                f"The graph has {what} {found}; {IMAGE} loads up to {newest} and refuses it. Export it for an older "
                "one.",
            )


def _check_tensors(model: onnx.ModelProto, config: Mapping[str, Any]) -> Iterator[Finding]:
    batched = max_batch(config) > 0
    needed = {value.name for value in images_of(model.graph)}
    for side, values in (("input", model.graph.input), ("output", model.graph.output)):
        tensors = {str(tensor.get("name", "")): tensor for tensor in config.get(side, [])}
        own = scheduler_tensors(config, "input" if side == "input" else "output")
        known = {value.name: value for value in values}
        # An output may be left out of the configuration, and so may an input that a weight stands in for.
        unmet = tensors.keys() - known.keys() | (needed - tensors.keys() - own if side == "input" else set())
        if unmet:
            yield error(
                "contract",
                f"The {side}s of the configuration are {_listed(tensors)}, those of the graph {_listed(known)}: Triton "
                "refuses the version. Every version of a model has the same names.",
            )
        for name in tensors.keys() & known.keys():
            yield from _check_tensor(side, tensors[name], known[name], batched=batched)


def _check_tensor(
    side: str, tensor: Mapping[str, Any], value: onnx.ValueInfoProto, *, batched: bool
) -> Iterator[Finding]:
    wanted = str(tensor.get("data_type", "TYPE_INVALID")).removeprefix("TYPE_")
    dtype = _DTYPES.get(value.type.tensor_type.elem_type, "of another type")
    # A reshape in the configuration means that its dims are those of requests, and the graph's are the reshape's.
    of_graph = tensor["reshape"].get("shape", []) if "reshape" in tensor else tensor.get("dims", [])
    dims = [int(dim) for dim in of_graph]
    shape = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in value.type.tensor_type.shape.dim]
    if batched and shape and shape[0] >= 0:
        yield error(
            "batch-fixed",
            f"The graph's {side} {value.name!r} has a fixed batch of {shape[0]} and max_batch_size is above 0: Triton "
            "refuses the version. Package it, which frees the batch if that is safe, or export it with a dynamic "
            "batch axis.",
        )
    inner = shape[1:] if batched else shape
    fits = len(inner) == len(dims) and all(found in (-1, want) for found, want in zip(inner, dims, strict=True))
    # A graph may leave its output's rank open.
    if dtype != wanted or not (fits or (side == "output" and not shape)):
        yield error(
            "contract",
            f"The configuration's {side} {value.name!r} is {wanted} {dims}, the graph's is {dtype} {inner} "
            f"{'behind the batch axis' if batched else ''}: Triton refuses the version. Make the configuration say "
            "what every version has, or package under another model name.",
        )


def _check_batch_mates(model: onnx.ModelProto, config: Mapping[str, Any], known: Manifest | None) -> Iterator[Finding]:
    if max_batch(config) < 2:
        return
    if known is not None and known.measured.batching > known.tolerance:
        yield error(
            "batch-mates",
            f"An image's answer depends on what shares its batch: a probability moved by up to "
            f"{known.measured.batching:.2g} when the version was packaged, for one image at a time. Set max_batch_size "
            "to 1, and take dynamic_batching out.",
        )
        return
    operators = (node.op_type for node in all_nodes(model.graph.node))
    if any(operator.startswith("DynamicQuantize") for operator in operators):
        figure = f": a probability moved by up to {known.measured.batching:.2g} when packaged" if known else ""
        yield warning(
            "dynamic-quantisation",
            f"The graph is dynamically quantised: an image's scores depend on what shares its batch{figure}. Quantise "
            "it statically, or set max_batch_size to 1 and live with one image at a time.",
        )


def _check_chance(model: onnx.ModelProto) -> Iterator[Finding]:
    if drawing := random_nodes(model):
        yield warning(
            "not-deterministic",
            f"The graph is not deterministic: {', '.join(drawing[:3])} draws random numbers: the same picture, "
            "asked twice, may get two answers. Export the model for inference, in PyTorch after model.eval().",
        )


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(map(repr, sorted(names))) or "none"
