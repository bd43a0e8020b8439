"""Find what makes the values of a graph, and which of them hold the same whatever the image is."""

from collections.abc import Mapping
from typing import Any, Self

import attrs
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from scripts.graph.walk import graphs

_KEEPING = frozenset({"Identity", "Cast", "Reshape", "Unsqueeze", "Squeeze", "Expand"})


@attrs.frozen
class Values:
    """The values of a graph and of all graphs inside it, whose names are unique, so that one table holds them.

    Attributes:
        makers: The node that makes each.
        weights: The initializers.
    """

    makers: Mapping[str, onnx.NodeProto]
    weights: Mapping[str, onnx.TensorProto]

    @classmethod
    def of(cls, graph: onnx.GraphProto) -> Self:
        """Look through *graph*."""
        every = list(graphs(graph))
        return cls(
            makers={output: node for inner in every for node in inner.node for output in node.output if output},
            weights={tensor.name: tensor for inner in every for tensor in inner.initializer},
        )

    def held(self, name: str) -> NDArray[Any] | None:
        """Return what the value holds whatever the image is; None where that is not known."""
        if name in self.weights:
            return numpy_helper.to_array(self.weights[name])
        node = self.makers.get(name)
        if node is None:
            return None
        if node.op_type == "Constant":
            (attribute,) = node.attribute
            fixed = helper.get_attribute_value(attribute)
            return numpy_helper.to_array(fixed) if isinstance(fixed, onnx.TensorProto) else np.asarray(fixed)
        if node.op_type in _KEEPING:
            return self.held(node.input[0])
        if node.op_type == "DequantizeLinear":
            parts = [self.constant(part) for part in node.input]
            if all(part is not None and part.size == 1 for part in parts):
                number, scale, *zero = (float(part.item()) for part in parts if part is not None)
                return np.asarray((number - (zero[0] if zero else 0.0)) * scale)
        return None

    def constant(self, name: str) -> NDArray[np.float64] | None:
        """Return `held` as numbers; None where they are none."""
        array = self.held(name)
        return array.astype(np.float64) if array is not None and array.dtype.kind in "fiub" and array.size else None
