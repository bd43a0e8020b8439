"""Files whose nodes stand in another order than ONNX asks for."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from scripts.graph.load import load
from scripts.graph.order import sort_nodes
from scripts.graph.session import Session
from scripts.host.errors import TaskFailure
from tests.doubles.score_heads import node
from tests.doubles.tiny_models import classifier, constant, softmax

IMAGES = np.random.default_rng(0).normal(size=(3, 3, 8, 8)).astype(np.float32)


def turned(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model with its nodes in the order of their last to their first."""
    result = onnx.ModelProto.FromString(model.SerializeToString())
    nodes = list(result.graph.node)[::-1]
    del result.graph.node[:]
    result.graph.node.extend(nodes)
    return result


def test_a_file_in_another_order_is_read(tmp_path: Path) -> None:
    """onnxruntime's converter to half precision writes such files, and Triton loads them."""
    good = classifier(tail=[node("Neg", "raw", "n"), softmax("n")])
    path = tmp_path / "model.onnx"
    path.write_bytes(turned(good).SerializeToString())
    with pytest.raises(onnx.checker.ValidationError, match="sorted"):
        onnx.checker.check_model(turned(good))
    found = load(path)
    onnx.checker.check_model(found)
    np.testing.assert_array_equal(Session(found).scores(IMAGES), Session(good).scores(IMAGES))


def test_what_a_branch_reads_comes_before_it(tmp_path: Path) -> None:
    """A node of the outer graph that only a branch reads is put before the If; the branch itself is sorted as well."""
    inner = [node("Neg", "middle", "branch_out"), node("Neg", "raw", "middle")]
    branches = {
        "then_branch": helper.make_graph(inner, "then", [], [onnx.ValueInfoProto(name="branch_out")]),
        # Gives a value of the graph around it as it is.
        "else_branch": helper.make_graph([node("Identity", "raw", "o")], "else", [], [onnx.ValueInfoProto(name="o")]),
    }
    choice = node("If", "choice")
    choice.attribute.extend(helper.make_attribute(key, branch) for key, branch in branches.items())
    mixed = turned(classifier(tail=[choice]))
    mixed.graph.initializer.append(constant("choice", [1], np.bool_))
    path = tmp_path / "model.onnx"
    path.write_bytes(mixed.SerializeToString())
    np.testing.assert_allclose(Session(load(path)).scores(IMAGES), Session(classifier()).scores(IMAGES), rtol=1e-6)


def test_order_that_is_right_stays() -> None:
    """Sorting a sorted graph changes no byte."""
    good = classifier(tail=[softmax()])
    before = good.SerializeToString(deterministic=True)
    sort_nodes(good.graph)
    assert good.SerializeToString(deterministic=True) == before


def test_a_circle_is_no_valid_model(tmp_path: Path) -> None:
    """Nodes that wait for each other have no order."""
    circle = classifier(tail=[node("Add", "raw back", "there"), node("Neg", "there", "back"), softmax("there")])
    path = tmp_path / "model.onnx"
    path.write_bytes(circle.SerializeToString())
    with pytest.raises(TaskFailure, match="not a valid ONNX model"):
        load(path)
