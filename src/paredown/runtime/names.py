"""Name a graph's weights after the layers that own them.

The exporter stores the weight of a Linear on tokens transposed, as `val_13`. Recipes go by layers'
names, so each constant that a layer multiplies by is named after the weight that it comes from.
"""

import itertools
import re
from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import onnx

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""ONNX's operators that may hold weights, as their second input."""


def layer_of(weight: str) -> str:
    """Return the dotted name of the layer that a stored weight belongs to.

    A parameter by another name than weight, such as `attention.in_proj_weight`, stands for itself.
    """
    return re.sub(r"\.\.\d+$", "", weight).removesuffix(".weight")


def free(name: str, taken: Container[str]) -> str:
    """Return a name that is not taken, for which `layer_of` returns the same."""
    numbered = (f"{name}..{number}" for number in itertools.count(1))
    return next(option for option in itertools.chain([name], numbered) if option not in taken)


def holders(graph: "onnx.GraphProto") -> "list[tuple[onnx.NodeProto, str]]":
    """List the nodes with weights, each with its layer's name, such as `layer1.0.conv1`.

    Products of two activations are none.
    """
    weights = weights_of(graph)
    return [(node, layer_of(weights[node.name])) for node in graph.node if node.name in weights]


def weights_of(graph: "onnx.GraphProto") -> dict[str, str]:
    """Return the weight that each node multiplies by, by the node's name."""
    axes = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    calls = [Call(node.name, node.op_type, node.input, node.output) for node in graph.node]
    return _weights_of(calls, axes)


def weights_before(graph: Any) -> dict[str, str]:
    """Return the same for a graph of onnx_ir, such as one that is not optimized yet."""
    axes = {
        name: len(value.const_value.shape)
        for name, value in graph.initializers.items()
        if value.const_value is not None
    }
    calls = []
    for node in graph:
        inputs = ["" if value is None else value.name for value in node.inputs]
        outputs = [value.name for value in node.outputs]
        calls.append(Call(node.name, node.op_type, inputs, outputs))
    return _weights_of(calls, axes)


class Call(NamedTuple):
    """A node of a graph, with the names of its inputs and outputs."""

    name: str
    kind: str
    inputs: Sequence[str]
    outputs: Sequence[str]


def _weights_of(calls: Sequence[Call], axes: Mapping[str, int]) -> dict[str, str]:
    """Return the weight that each node's second input is computed from, if from weights alone.

    Args:
        calls: In topological order.
        axes: Of every stored tensor, by its name.
    """
    stored = {name: (name,) if count > 1 else () for name, count in axes.items()}
    constant: dict[str, tuple[str, ...]] = {"": (), **stored}
    weights = {}
    for call in calls:
        if call.kind in LAYERS and constant.get(call.inputs[1]):
            weights[call.name] = constant[call.inputs[1]][0]  # of several, the first
        if all(name in constant for name in call.inputs) and call.kind != "Constant":
            sources = dict.fromkeys(source for name in call.inputs for source in constant[name])
            constant.update({name: tuple(sources) for name in call.outputs})
        elif call.kind == "Constant":
            constant.update(dict.fromkeys(call.outputs, ()))
    return weights


def rename(graph: "onnx.GraphProto", weights: Mapping[str, str]) -> None:
    """Name the constants that nodes multiply by after their weights, in place.

    Args:
        graph: Optimized since `weights` were read.
        weights: By the nodes' names.
    """
    stored = {tensor.name: tensor for tensor in graph.initializer}
    renamed: dict[str, str] = {}
    for node in graph.node:
        weight, constant = weights.get(node.name), node.input[1] if len(node.input) > 1 else ""
        differs = weight is not None and layer_of(constant) != layer_of(weight)
        if weight is not None and differs and constant in stored:
            name = free(weight, stored)
            stored[name] = stored.pop(constant)
            stored[name].name = renamed[constant] = name
    for node in graph.node if renamed else ():
        for index, name in enumerate(node.input):
            if name in renamed:
                node.input[index] = renamed[name]
    for info in graph.value_info:
        info.name = renamed.get(info.name, info.name)
