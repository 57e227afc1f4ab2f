"""Name a graph's weights after the layers that own them.

The exporter stores the weight of a Linear on tokens turned, as `val_13`. Recipes go by layers'
names, so each constant that a layer multiplies by gets the name of the weight that it comes from.
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
    """Return a name that is not taken, and of which `layer_of` says the same."""
    numbered = (f"{name}..{number}" for number in itertools.count(1))
    return next(one for one in itertools.chain([name], numbered) if one not in taken)


def holders(graph: "onnx.GraphProto") -> "list[tuple[onnx.NodeProto, str]]":
    """List the nodes that hold weights, each with its layer's name; no products of two activations.

    Returns:
        Node, and the name of the layer, as `layer1.0.conv1`.
    """
    named = weights_of(graph)
    return [(node, layer_of(named[node.name])) for node in graph.node if node.name in named]


def weights_of(graph: "onnx.GraphProto") -> dict[str, str]:
    """Name the weight that each node multiplies by, by the node's name."""
    stored = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    calls = [Call(one.name, one.op_type, one.input, one.output) for one in graph.node]
    return _weights_of(calls, stored)


def weights_before(graph: Any) -> dict[str, str]:
    """Name the same in a graph of onnx_ir, such as one that is not optimized yet."""
    stored = {
        name: len(value.const_value.shape)
        for name, value in graph.initializers.items()
        if value.const_value is not None
    }
    calls = []
    for node in graph:
        inputs = ["" if value is None else value.name for value in node.inputs]
        outputs = [value.name for value in node.outputs]
        calls.append(Call(node.name, node.op_type, inputs, outputs))
    return _weights_of(calls, stored)


class Call(NamedTuple):
    """A node of a graph, with the names of what it takes and gives."""

    name: str
    kind: str
    inputs: Sequence[str]
    outputs: Sequence[str]


def _weights_of(calls: Sequence[Call], stored: Mapping[str, int]) -> dict[str, str]:
    """Name the weight that each node's second input is computed from, and nothing else is.

    Args:
        calls: In an order in which they can be computed.
        stored: Axes of every stored tensor, by its name.
    """
    wide = {name: (name,) if axes > 1 else () for name, axes in stored.items()}
    constant: dict[str, tuple[str, ...]] = {"": (), **wide}
    named = {}
    for call in calls:
        if call.kind in LAYERS and constant.get(call.inputs[1]):
            named[call.name] = constant[call.inputs[1]][0]  # of several, the first
        if all(name in constant for name in call.inputs) and call.kind != "Constant":
            came = dict.fromkeys(name for one in call.inputs for name in constant[one])
            constant.update({name: tuple(came) for name in call.outputs})
        elif call.kind == "Constant":
            constant.update(dict.fromkeys(call.outputs, ()))
    return named


def rename(graph: "onnx.GraphProto", named: Mapping[str, str]) -> None:
    """Give the constants that nodes multiply by the names of their weights, in place.

    Args:
        graph: Optimized since.
        named: Weights by the nodes' names, as they were before.
    """
    stored = {tensor.name: tensor for tensor in graph.initializer}
    new: dict[str, str] = {}
    for node in graph.node:
        weight, constant = named.get(node.name), node.input[1] if len(node.input) > 1 else ""
        apart = weight is not None and layer_of(constant) != layer_of(weight)
        if weight is not None and apart and constant in stored:
            name = free(weight, stored)
            stored[name] = stored.pop(constant)
            stored[name].name = new[constant] = name
    for node in graph.node if new else ():
        for place, name in enumerate(node.input):
            if name in new:
                node.input[place] = new[name]
    for info in graph.value_info:
        info.name = new.get(info.name, info.name)
