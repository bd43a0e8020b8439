"""The last nodes of classifiers as exporters and quantisers write them, and what their scores are."""

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import onnx
from onnx import helper, numpy_helper

from scripts.graph.scores import Kind
from tests.doubles.tiny_models import CLASSES, classifier

_MICROSOFT = "com.microsoft"


@attrs.frozen(kw_only=True)
class Head:
    """What stands behind the logits ``raw`` of a tiny classifier, and makes ``scores``.

    Attributes:
        nodes: The nodes.
        kind: What the scores are; None where nobody can tell.
        weights: The initializers, by name.
        opset: Version of the standard operator set.
    """

    nodes: Sequence[onnx.NodeProto]
    kind: Kind | None
    weights: dict[str, Any] = attrs.field(factory=dict)
    opset: int = 17

    def model(self) -> onnx.ModelProto:
        """Return the classifier."""
        model = classifier(tail=self.nodes, opset=self.opset, out_dims=("n", "m"))
        model.graph.initializer.extend(
            numpy_helper.from_array(np.asarray(value), name) for name, value in self.weights.items()
        )
        domains = {node.domain for node in self.nodes if node.domain}
        model.opset_import.extend(helper.make_opsetid(domain, 1) for domain in sorted(domains))
        return model


def node(operator: str, inputs: str, output: str = "scores", **attributes: Any) -> onnx.NodeProto:
    """Return a node; *inputs* and *output* are names with blanks between."""
    return helper.make_node(operator, inputs.split(), output.split(), **attributes)


def quantised(source: str, target: str = "scores") -> list[onnx.NodeProto]:
    """Return a pair of Q and DQ by the scale ``s`` and the zero point ``z``."""
    return [node("QuantizeLinear", f"{source} s z", "q"), node("DequantizeLinear", "q s z", target)]


_F = np.float32
_BYTES = {"s": _F(1 / 256), "z": np.uint8(0)}
_SPLIT = node("Split", "raw parts", "a b c", axis=1)
_PARTS = {"parts": np.array([2, 2, 1])}

HEADS: dict[str, Head] = {
    # Probabilities.
    "softmax": Head(nodes=[node("Softmax", "raw", axis=1)], kind="probabilities"),
    "softmax of opset 11 on the first axis": Head(nodes=[node("Softmax", "raw")], kind="probabilities", opset=11),
    "softmax with a temperature": Head(
        nodes=[node("Div", "raw t", "cooled"), node("Softmax", "cooled", axis=-1)],
        kind="probabilities",
        weights={"t": _F(3)},
    ),
    "softmax, Q and DQ": Head(
        nodes=[node("Softmax", "raw", "p", axis=1), *quantised("p")], kind="probabilities", weights=_BYTES
    ),
    "softmax, Clip, Q and DQ": Head(
        nodes=[node("Softmax", "raw", "p", axis=1), node("Clip", "p low high", "k"), *quantised("k")],
        kind="probabilities",
        weights=_BYTES | {"low": _F(1e-7), "high": _F(1)},
    ),
    "softmax rounded to two digits": Head(
        nodes=[
            node("Softmax", "raw", "p", axis=1),
            node("Mul", "p hundred", "percent"),
            node("Round", "percent", "whole"),
            node("Div", "whole hundred"),
        ],
        kind="probabilities",
        weights={"hundred": _F(100)},
    ),
    "softmax in half precision": Head(
        nodes=[
            node("Softmax", "raw", "p", axis=1),
            node("Cast", "p", "half", to=onnx.TensorProto.FLOAT16),
            node("Cast", "half", to=onnx.TensorProto.FLOAT),
        ],
        kind="probabilities",
    ),
    "QLinearSoftmax": Head(
        nodes=[
            node("QuantizeLinear", "raw ls lz", "ql"),
            node("QLinearSoftmax", "ql ls lz s z", "qp", domain=_MICROSOFT, axis=1, opset=13),
            node("DequantizeLinear", "qp s z"),
        ],
        kind="probabilities",
        weights=_BYTES | {"ls": _F(0.1), "lz": np.uint8(128)},
    ),
    "softmax by hand": Head(
        nodes=[
            node("ReduceMax", "raw", "top", axes=[1]),
            node("Sub", "raw top", "less"),
            node("Exp", "less", "e"),
            node("ReduceSum", "e axes", "sum"),
            node("Div", "e sum"),
        ],
        kind="probabilities",
        weights={"axes": np.array([1])},
    ),
    "softmax by hand, quantised": Head(
        nodes=[node("Exp", "raw", "e"), node("ReduceSum", "e axes", "sum"), node("Div", "e sum", "p"), *quantised("p")],
        kind="probabilities",
        weights=_BYTES | {"axes": np.array([1])},
    ),
    "powers of a log-softmax": Head(
        nodes=[node("LogSoftmax", "raw", "l", axis=1), node("Exp", "l")], kind="probabilities"
    ),
    "mean of two softmaxes": Head(
        nodes=[
            node("Softmax", "raw", "p", axis=1),
            node("Neg", "raw", "other"),
            node("Softmax", "other", "q", axis=1),
            node("Add", "p q", "both"),
            node("Mul", "both half"),
        ],
        kind="probabilities",
        weights={"half": _F(0.5)},
    ),
    "sigmoids divided by their sum": Head(
        nodes=[node("Sigmoid", "raw", "g"), node("ReduceSum", "g axes", "sum"), node("Div", "g sum")],
        kind="probabilities",
        weights={"axes": np.array([1])},
    ),
    "p and 1 - p": Head(
        nodes=[_SPLIT, node("Sigmoid", "c", "p"), node("Sub", "one p", "no"), node("Concat", "no p", axis=1)],
        kind="probabilities",
        weights=_PARTS | {"one": _F(1)},
    ),
    "softmax, flattened and transposed twice": Head(
        nodes=[
            node("Softmax", "raw", "p", axis=1),
            node("Transpose", "p", "turned", perm=[1, 0]),
            node("Transpose", "turned", "back", perm=[1, 0]),
            node("Unsqueeze", "back axes", "deep"),
            node("Flatten", "deep", axis=1),
        ],
        kind="probabilities",
        weights={"axes": np.array([2, 3])},
    ),
    "softmax of a convolution": Head(
        nodes=[node("Unsqueeze", "raw axes", "deep"), node("Softmax", "deep", axis=1)],
        kind="probabilities",
        weights={"axes": np.array([2, 3])},
    ),
    "softmax in signed bytes": Head(
        nodes=[node("Softmax", "raw", "p", axis=1), *quantised("p")],
        kind="probabilities",
        weights={"s": _F(1 / 256), "z": np.int8(-128)},
    ),
    "squares of a softmax, normalised": Head(
        nodes=[
            node("Softmax", "raw", "p", axis=1),
            node("Mul", "p p", "square"),
            node("ReduceSum", "square axes", "sum"),
            node("Div", "square sum"),
        ],
        kind="probabilities",
        weights={"axes": np.array([1])},
    ),
    # Logarithms of probabilities.
    "log-softmax": Head(nodes=[node("LogSoftmax", "raw", axis=1)], kind="log-probabilities"),
    "log of a softmax": Head(
        nodes=[node("Softmax", "raw", "p", axis=1), node("Clip", "p low", "k"), node("Log", "k")],
        kind="log-probabilities",
        weights={"low": _F(1e-7)},
    ),
    "log-softmax, Q and DQ": Head(
        nodes=[node("LogSoftmax", "raw", "l", axis=1), *quantised("l")],
        kind="log-probabilities",
        weights={"s": _F(0.1), "z": np.uint8(255)},
    ),
    "less the logarithm of the sum of powers": Head(
        nodes=[node("ReduceLogSumExp", "raw", "lse", axes=[1]), node("Sub", "raw lse")], kind="log-probabilities"
    ),
    # Several may be true.
    "sigmoid": Head(nodes=[node("Sigmoid", "raw")], kind="multi-label"),
    "sigmoid, Q and DQ": Head(nodes=[node("Sigmoid", "raw", "g"), *quantised("g")], kind="multi-label", weights=_BYTES),
    "QLinearSigmoid": Head(
        nodes=[
            node("QuantizeLinear", "raw ls lz", "ql"),
            node("QLinearSigmoid", "ql ls lz s z", "qp", domain=_MICROSOFT),
            node("DequantizeLinear", "qp s z"),
        ],
        kind="multi-label",
        weights=_BYTES | {"ls": _F(0.1), "lz": np.uint8(128)},
    ),
    "heads of sigmoids": Head(
        nodes=[
            _SPLIT,
            *(node("Sigmoid", part, f"g{part}") for part in "abc"),
            node("Concat", "ga gb gc", axis=1),
        ],
        kind="multi-label",
        weights=_PARTS,
    ),
    "HardSigmoid": Head(nodes=[node("HardSigmoid", "raw", alpha=0.2, beta=0.5)], kind="multi-label"),
    "hard sigmoid as Clip": Head(
        nodes=[node("Mul", "raw a", "m"), node("Add", "m b", "l"), node("Clip", "l zero one")],
        kind="multi-label",
        weights={"a": _F(0.2), "b": _F(0.5), "zero": _F(0), "one": _F(1)},
    ),
    "hard sigmoid as ReLU6": Head(
        nodes=[node("Add", "raw three", "l"), node("Clip", "l zero six", "k"), node("Div", "k six")],
        kind="multi-label",
        weights={"three": _F(3), "zero": _F(0), "six": _F(6)},
    ),
    "hard sigmoid as Max and Min": Head(
        nodes=[node("Add", "raw half", "l"), node("Max", "l zero", "m"), node("Min", "m one")],
        kind="multi-label",
        weights={"half": _F(0.5), "zero": _F(0), "one": _F(1)},
    ),
    "sigmoid by Tanh": Head(
        nodes=[
            node("Mul", "raw half", "h"),
            node("Tanh", "h", "t"),
            node("Mul", "t half", "u"),
            node("Add", "u half"),
        ],
        kind="multi-label",
        weights={"half": _F(0.5)},
    ),
    "sigmoid by Exp and Reciprocal": Head(
        nodes=[node("Neg", "raw", "m"), node("Exp", "m", "e"), node("Add", "e one", "w"), node("Reciprocal", "w")],
        kind="multi-label",
        weights={"one": _F(1)},
    ),
    "sigmoid by Exp over 1 + Exp": Head(
        nodes=[node("Exp", "raw", "e"), node("Add", "one e", "w"), node("Div", "e w")],
        kind="multi-label",
        weights={"one": _F(1)},
    ),
    "mean of two sigmoids": Head(
        nodes=[
            node("Sigmoid", "raw", "g"),
            node("Add", "raw one", "more"),
            node("Sigmoid", "more", "h"),
            node("Mean", "g h"),
        ],
        kind="multi-label",
        weights={"one": _F(1)},
    ),
    "1 less a sigmoid": Head(
        nodes=[node("Sigmoid", "raw", "g"), node("Sub", "one g")], kind="multi-label", weights={"one": _F(1)}
    ),
    "error function": Head(
        nodes=[node("Erf", "raw", "e"), node("Mul", "e half", "m"), node("Add", "m half")],
        kind="multi-label",
        weights={"half": _F(0.5)},
    ),
    # Logits.
    "nothing": Head(nodes=[node("Identity", "raw")], kind="logits"),
    "a bias": Head(
        nodes=[node("Add", "raw bias")], kind="logits", weights={"bias": np.arange(CLASSES, dtype=np.float32)}
    ),
    "ReLU": Head(nodes=[node("Relu", "raw")], kind="logits"),
    "a temperature": Head(nodes=[node("Div", "raw t")], kind="logits", weights={"t": _F(2)}),
    "Q and DQ of logits": Head(nodes=quantised("raw"), kind="logits", weights={"s": _F(0.1), "z": np.uint8(128)}),
    "logits within limits": Head(
        nodes=[node("Clip", "raw low high")], kind="logits", weights={"low": _F(-20), "high": _F(20)}
    ),
    "a gate with a sigmoid inside": Head(nodes=[node("Sigmoid", "raw", "g"), node("Mul", "raw g")], kind="logits"),
    "distances below 0": Head(
        nodes=[node("Sub", "raw c", "d"), node("Mul", "d d", "s"), node("Neg", "s")],
        kind="logits",
        weights={"c": np.arange(CLASSES, dtype=np.float32)},
    ),
    "a gate of ReLU6": Head(nodes=[node("Clip", "raw zero six")], kind="logits", weights={"zero": _F(0), "six": _F(6)}),
    # Nobody can tell.
    "a softmax without its first class": Head(
        nodes=[node("Softmax", "raw", "p", axis=1), node("Slice", "p one five one")],
        kind=None,
        weights={"one": np.array([1]), "five": np.array([5])},
    ),
    "directions": Head(nodes=[node("LpNormalization", "raw", axis=1, p=2)], kind=None),
    "a sigmoid beside a softmax": Head(
        nodes=[_SPLIT, node("Sigmoid", "a", "g"), node("Softmax", "b", "p", axis=1), node("Concat", "g p", axis=1)],
        kind=None,
        weights=_PARTS,
    ),
    "softmax over the batch": Head(nodes=[node("Softmax", "raw", axis=0)], kind=None),
    "heads of softmaxes": Head(
        nodes=[
            _SPLIT,
            *(node("Softmax", part, f"p{part}", axis=1) for part in "ab"),
            node("Concat", "pa pb", axis=1),
        ],
        kind=None,
        weights=_PARTS,
    ),
    "a softmax beside logits": Head(
        nodes=[_SPLIT, node("Softmax", "a", "p", axis=1), node("Concat", "p b", axis=1)], kind=None, weights=_PARTS
    ),
    "per cent": Head(
        nodes=[node("Softmax", "raw", "p", axis=1), node("Mul", "p hundred")], kind=None, weights={"hundred": _F(100)}
    ),
    "Tanh": Head(nodes=[node("Tanh", "raw")], kind=None),
    "the best class only": Head(nodes=[node("Hardmax", "raw", axis=1)], kind=None),
    "the best three scores": Head(
        nodes=[node("Softmax", "raw", "p", axis=1), node("TopK", "p three", "scores places", axis=1)],
        kind=None,
        weights={"three": np.array([3])},
    ),
    "decisions": Head(
        nodes=[node("Greater", "raw zero", "yes"), node("Cast", "yes", to=onnx.TensorProto.FLOAT)],
        kind=None,
        weights={"zero": _F(0)},
    ),
}
