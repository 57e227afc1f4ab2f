"""Nodes of an ONNX graph: which hold weights, which stay in float32, which became integer."""

from typing import TYPE_CHECKING

import numpy as np

from paredown.runtime import Conversion
from paredown.runtime.names import LAYERS, holders
from paredown.variant import Numerics

if TYPE_CHECKING:
    import onnx
    from onnxruntime.quantization.calibrate import TensorsData

INTEGER_NODES = ("ConvInteger", "MatMulInteger", "DynamicQuantizeMatMul")


def float_nodes(graph: "onnx.GraphProto", numerics: Numerics) -> list[str]:
    """List the nodes whose layers stay in float32."""
    return [node.name for node, layer in holders(graph) if numerics.keeps_float(layer)]


def excluded_nodes(graph: "onnx.GraphProto", numerics: Numerics, spans: "TensorsData") -> list[str]:
    """List the nodes that static quantization leaves in float32."""
    return [*_float_with_neighbours(graph, numerics), *_grouped(graph), *_unbounded(graph, spans)]


def _grouped(graph: "onnx.GraphProto") -> list[str]:
    """List grouped transposed convolutions: ONNX Runtime takes one group's scales for all."""
    return [
        node.name
        for node in graph.node
        if node.op_type == "ConvTranspose"
        and any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)
    ]


def _unbounded(graph: "onnx.GraphProto", spans: "TensorsData") -> list[str]:
    """List the nodes that read or write infinities, such as a mask: no integer step spans them."""
    from onnx import numpy_helper

    names = {
        name
        for name in spans.keys()  # noqa: SIM118, no mapping
        if not np.isfinite([np.asarray(end).min() for end in spans[name].range_value]).all()
    }
    names |= {
        tensor.name
        for tensor in graph.initializer
        if (values := numpy_helper.to_array(tensor)).dtype.kind == "f"
        and not np.isfinite(values).all()
    }
    return [node.name for node in graph.node if names & {*node.input, *node.output}]


def _float_with_neighbours(graph: "onnx.GraphProto", numerics: Numerics) -> list[str]:
    """List the nodes of layers that stay in float32, and those beside one of them.

    An addition or a pooling between layers is quantized only if all the layers next to it are;
    else a network with one integer layer would still round at every addition.
    """
    floats = set(float_nodes(graph, numerics))
    layers = {node.name for node, _ in holders(graph)}
    producers = {name: node for node in graph.node for name in node.output}
    consumers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)

    def beside(node: "onnx.NodeProto", up: bool, visited: set[str]) -> bool:
        """Return whether the nearest layers in one direction include a float32 one."""
        if up:
            near = [producers[name] for name in node.input if name in producers]
        else:
            near = [other for name in node.output for other in consumers.get(name, ())]
        for other in near:
            if other.name not in visited:
                visited.add(other.name)
                if other.name in floats:
                    return True
                if other.name not in layers and beside(other, up, visited):
                    return True
        return False

    between = [
        node.name
        for node in graph.node
        if node.name not in layers and any(beside(node, up, set()) for up in (True, False))
    ]
    return [*floats, *between] if floats else []


def count_converted(proto: "onnx.ModelProto") -> Conversion:
    """Count the layers whose weights are stored as integers, and all with weights."""
    graph = proto.graph
    stored = {tensor.name for tensor in graph.initializer}
    dequantized = {
        output
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in stored
        for output in node.output
    }
    integer = sum(node.op_type in INTEGER_NODES and node.input[1] in stored for node in graph.node)
    simulated = sum(node.op_type in LAYERS and node.input[1] in dequantized for node in graph.node)
    return Conversion(simulated + integer, integer + len(holders(graph)))
