"""Name a graph's weights after the layers that own them.

The exporter stores the weight of a Linear on tokens transposed, as `val_13`. Recipes go by layers'
names, so each constant that a layer multiplies by is named after the weight that it comes from.
"""

import itertools
import re
from collections.abc import Container, Mapping
from typing import TYPE_CHECKING

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
    """Return the weight that a node's second input is computed from, by the node's name.

    Only of nodes of `LAYERS`, and only where that input is computed from weights alone.
    """
    constant: dict[str, tuple[str, ...]] = {"": ()}  # the weights that a constant comes from
    for tensor in graph.initializer:
        constant[tensor.name] = (tensor.name,) if len(tensor.dims) > 1 else ()
    weights = {}
    for node in graph.node:  # in topological order
        if node.op_type in LAYERS and constant.get(node.input[1]):
            weights[node.name] = constant[node.input[1]][0]  # of several, the first
        if node.op_type == "Constant":
            constant.update(dict.fromkeys(node.output, ()))
        elif all(name in constant for name in node.input):
            sources = dict.fromkeys(source for name in node.input for source in constant[name])
            constant.update(dict.fromkeys(node.output, tuple(sources)))
    return weights


def rename(graph: "onnx.GraphProto", weights: Mapping[str, str]) -> None:
    """Name the constants that nodes multiply by after their weights, in place; see `weights_of`."""
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
