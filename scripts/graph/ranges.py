"""Follow a value back through a graph, and say what its numbers can be by the operators alone."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import numpy as np
import onnx
from onnx import helper, inliner

from scripts.graph.bounds import FREE, Range, found_in, inverse, times, union
from scripts.graph.values import Values

# Deeper than any chain of operators that passes scores on; what is deeper is not looked at.
_DEEPEST = 200

# Operators whose output holds some of the numbers of their first input, or lies between them.
_SAME = frozenset(
    {
        *("Identity", "Cast", "CastLike", "Dropout", "QuantizeLinear", "ReorderInput", "ReorderOutput"),
        *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Expand", "Tile", "DepthToSpace", "SpaceToDepth"),
        *("Slice", "Split", "Gather", "GatherND", "GatherElements"),
        *("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool", "ReduceMean", "ReduceMax", "ReduceMin"),
        *("QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearReduceMean"),
    }
)
_ROUNDING = {"Round": 1.0, "Floor": 2.0, "Ceil": 2.0}
_DECISIONS = frozenset(
    {"Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "And", "Or", "Not", "Sign"}
    | {"Hardmax", "OneHot", "ArgMax", "ArgMin"}
)
_TREES = frozenset({"TreeEnsembleClassifier", "LinearClassifier", "SVMClassifier"})


def range_of(model: onnx.ModelProto, name: str) -> Range:
    """Say what the value *name* of the main graph can be."""
    if model.functions:
        model = inliner.inline_local_functions(model)
    return _Walk(Values.of(model.graph)).value(name)


@attrs.define
class _Walk:
    values: Values
    known: dict[str, Range] = attrs.field(factory=dict)
    depth: int = 0

    def value(self, name: str) -> Range:
        if name not in self.known:
            node = self.values.makers.get(name)
            fixed = self.values.constant(name)
            if fixed is not None:
                self.known[name] = Range(low=float(fixed.min()), high=float(fixed.max()))
            elif node is None or self.depth > _DEEPEST:
                self.known[name] = FREE
            else:
                self.depth += 1
                self.known[name] = _forget(node, self._made(node, name))
                self.depth -= 1
        return self.known[name]

    def _made(self, node: onnx.NodeProto, name: str) -> Range:
        """Return the range of the output *name* of *node*."""
        operator, first = node.op_type, node.input[0] if node.input else ""
        fused = _attribute(node, "activation", b"").decode() if operator.startswith("Fused") else ""
        if fused:
            return _bounding(fused) or FREE
        if (bounded := _bounding(operator)) is not None:
            return bounded
        if operator in _SAME:
            return self.value(first)
        if operator in _ROUNDING:
            return attrs.evolve(self.value(first), step=_ROUNDING[operator])
        if operator in _DECISIONS:
            return Range(low=0, high=1, found=frozenset({operator}))
        if operator in _TREES:
            kinds = {b"SOFTMAX": "Softmax", b"LOGISTIC": "Sigmoid", b"PROBIT": "Sigmoid"}
            kind = kinds.get(_attribute(node, "post_transform", b"NONE"))
            return Range(low=0, high=1, found=frozenset({kind})) if kind and name == node.output[1] else FREE
        if operator == "If":
            place = list(node.output).index(name)
            return union([self.value(attribute.g.output[place].name) for attribute in node.attribute])
        rule = _RULES.get(operator)
        return FREE if rule is None else rule(self, node)


_Rule = Callable[[_Walk, onnx.NodeProto], Range]


def _bounding(operator: str) -> Range | None:
    """Return the range of an operator that bounds its output by itself, those of other vendors by their names."""
    if "LogSoftmax" in operator:
        return Range(high=0, found=frozenset({"LogSoftmax"}))
    if operator.endswith(("Softmax", "Sparsemax")):
        return Range(low=0, high=1, found=frozenset({"Softmax"}))
    if operator.endswith("Sigmoid") and "Log" not in operator:
        return Range(low=0, high=1, found=frozenset({"Sigmoid"}))
    if operator in ("Tanh", "Erf", "Softsign", "Sin", "Cos"):
        return Range(low=-1, high=1, found=frozenset({operator}))
    return None


def _forget(node: onnx.NodeProto, made: Range) -> Range:
    """Forget what was found where nothing bounds the numbers any more: a gate inside the network is no last word.

    A join keeps it: some of its numbers are still bounded.
    """
    endless = made.low == -math.inf and made.high == math.inf
    return FREE if endless and node.op_type not in _JOINS else made


def _dequantised(walk: _Walk, node: onnx.NodeProto) -> Range:
    """Take the step from the scale; the type's own range says something only where it was made for [0, 1]."""
    inner, scale = walk.value(node.input[0]), walk.values.constant(node.input[1])
    zero = walk.values.held(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1, np.uint8)
    if scale is None or zero is None or zero.dtype.kind not in "iu":
        return inner
    step = float(np.abs(scale).max())
    if (held := walk.values.constant(node.input[0])) is not None:
        most = float(np.abs(held).max() + np.abs(zero.astype(np.float64)).max()) * step
        return Range(low=-most, high=most)
    if zero.size == 1:
        low, high = (
            (limit - int(zero.item())) * step for limit in (np.iinfo(zero.dtype).min, np.iinfo(zero.dtype).max)
        )
        if Range(low=low, high=high).unit and high > 0.5:
            inner = attrs.evolve(inner, low=max(inner.low, low), high=min(inner.high, high))
    return attrs.evolve(inner, step=max(step, inner.step))


def _clipped(walk: _Walk, node: onnx.NodeProto) -> Range:
    inner = walk.value(node.input[0])
    limits = []
    for place, (key, default) in enumerate((("min", -math.inf), ("max", math.inf)), 1):
        held = walk.values.constant(node.input[place]) if len(node.input) > place and node.input[place] else None
        limits.append(float(held.item()) if held is not None else float(_attribute(node, key, default)))
    low, high = (min(max(end, limits[0]), limits[1]) for end in (inner.low, inner.high))
    bounding = inner.low == -math.inf or inner.high == math.inf
    found = inner.found | {"Clip"} if bounding and math.isfinite(low) and math.isfinite(high) else inner.found
    return attrs.evolve(inner, low=low, high=high, found=found)


def _extreme(pick: Callable[..., float]) -> _Rule:
    def rule(walk: _Walk, node: onnx.NodeProto) -> Range:
        parts = [walk.value(name) for name in node.input]
        low, high = pick(part.low for part in parts), pick(part.high for part in parts)
        ends = {end for part in parts for end in (part.low, part.high)}
        # Max(Min(x, 1), 0) is how some exporters write Clip.
        clips = math.isfinite(low) and math.isfinite(high) and not all(math.isfinite(end) for end in ends)
        return attrs.evolve(union(parts), low=low, high=high, found=found_in(parts) | ({"Clip"} if clips else set()))

    return rule


def _united(every: slice) -> _Rule:
    return lambda walk, node: union([walk.value(name) for name in node.input[every] if name])


def _moved(walk: _Walk, node: onnx.NodeProto) -> Range:
    left, right = (walk.value(name) for name in node.input)
    low, high = (
        (left.low + right.low, left.high + right.high)
        if node.op_type == "Add"
        else (left.low - right.high, left.high - right.low)
    )
    return Range(low=low, high=high, step=left.step + right.step, found=found_in((left, right)))


def _scaled(walk: _Walk, node: onnx.NodeProto) -> Range:
    left, right = (walk.value(name) for name in node.input)
    if node.op_type == "Div":
        if share := _share(walk, node):
            return Range(low=0, high=1, step=left.step, found=frozenset({share}))
        right = inverse(right)
    ends = [times(a, b) for a in (left.low, left.high) for b in (right.low, right.high)]
    size = max(abs(right.low), abs(right.high))
    step = left.step * size if math.isfinite(size) else left.step
    return Range(low=min(ends), high=max(ends), step=step, found=found_in((left, right)))


def _share(walk: _Walk, node: onnx.NodeProto) -> str:
    """Say whether *node* divides something by a sum that holds it: a softmax or a sigmoid written by hand."""
    part, whole = node.input
    maker = walk.values.makers.get(whole)
    while maker is not None and maker.op_type in {*_SAME, "Clip", "Max"}:
        maker = walk.values.makers.get(maker.input[0])
    if maker is None or walk.value(part).low < 0:
        return ""
    if maker.op_type in ("ReduceSum", "ReduceL1") and maker.input[0] == part:
        return "Softmax"
    if maker.op_type == "Add" and part in maker.input:
        return "Sigmoid" if all(walk.value(name).low >= 0 for name in maker.input) else ""
    return ""


def _mapped(function: Callable[[float], float], *, falling: bool = False) -> _Rule:
    def rule(walk: _Walk, node: onnx.NodeProto) -> Range:
        inner = walk.value(node.input[0])
        ends = (inner.high, inner.low) if falling else (inner.low, inner.high)
        return attrs.evolve(inner, low=function(ends[0]), high=function(ends[1]))

    return rule


def _normalised(walk: _Walk, node: onnx.NodeProto) -> Range:
    """Return the range of numbers divided by their norm: shares, where it is the sum of what is never negative."""
    order = _attribute(node, "p", 2) if node.op_type == "LpNormalization" else _attribute(node, "norm", b"MAX")
    if order in (1, b"L1") and walk.value(node.input[0]).low >= 0:
        return Range(low=0, high=1, found=frozenset({"Softmax"}))
    return Range(low=-1, high=1, found=frozenset({node.op_type}))


def _exp(value: float) -> float:
    return math.inf if value > 700 else math.exp(value)


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


_RULES: Mapping[str, _Rule] = {
    "DequantizeLinear": _dequantised,
    "Clip": _clipped,
    "Max": _extreme(max),
    "Min": _extreme(min),
    "Concat": _united(slice(None)),
    "Mean": _united(slice(None)),
    "QLinearConcat": _united(slice(2, None, 3)),
    "Where": _united(slice(1, None)),
    "Add": _moved,
    "Sub": _moved,
    "Mul": _scaled,
    "Div": _scaled,
    "Neg": _mapped(lambda value: -value, falling=True),
    "Exp": _mapped(_exp),
    "Log": _mapped(_log),
    "Relu": _mapped(lambda value: max(value, 0.0)),
    "Reciprocal": lambda walk, node: inverse(walk.value(node.input[0])),
    "Softplus": lambda _walk, _node: Range(low=0),
    "Abs": lambda walk, node: Range(low=0, found=walk.value(node.input[0]).found),
    "ReduceSum": lambda walk, node: Range(low=0) if walk.value(node.input[0]).low >= 0 else FREE,
    "ReduceL1": lambda _walk, _node: Range(low=0),
    "LpNormalization": _normalised,
    "Normalizer": _normalised,
    "TopK": lambda walk, node: attrs.evolve(walk.value(node.input[0]), found=frozenset({"TopK"})),
}
_JOINS = frozenset({"Concat", "QLinearConcat", "Where", "If"})


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)
