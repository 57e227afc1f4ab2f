"""PyTorch 2 export and its quantization by torchao, for engines that take exported programs."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from paredown.dataset import Dataset
from paredown.runtime import Abilities, Conversion, calibration_batches, require_float_layers
from paredown.runtime.export import export
from paredown.runtime.failures import blame_network, place_of
from paredown.runtime.names import layer_of
from paredown.runtime.program import traced
from paredown.runtime.quiet import quiet
from paredown.variant import Numerics, Variant

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.fx import GraphModule, Node

LAYER = re.compile(r"\baten\.(conv\w*|linear)\.")  # an operator that holds weights
ABILITIES = Abilities(schemes=("static",), ranges=("minmax", "mse"), quantizer="torchao")
"""torchao takes the whole range, or the one with the least squared error by a histogram (its
HistogramObserver)."""
Quantizer = Callable[[Numerics, Sequence[str]], Any]
"""Returns an engine's quantizer for numerics, which leaves the layers of these names alone."""


def export_variant(variant: Variant, dataset: Dataset, quantizer: Quantizer) -> "ExportedProgram":
    """Export a variant for one image: in float32, or with quantize and dequantize operators.

    Raises:
        RunError: If the numerics request integers and no layer became integer.
    """
    import torch
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    module, numerics = variant.module, variant.numerics
    if numerics is None:
        return export(module, dataset)
    graph = export(module, dataset, any_batch=True).module()
    _name_calls(graph)
    names = [name for node in graph.graph.nodes if _holds_weights(node) and (name := _layer(node))]
    require_float_layers(numerics, names)
    with quiet(), torch.no_grad():
        with blame_network("torchao", module, dataset):
            prepared = prepare_pt2e(
                graph, quantizer(numerics, list(filter(numerics.keeps_float, names)))
            )
        for images in calibration_batches(dataset, numerics.calibration_images):
            prepared(torch.from_numpy(images))
        with blame_network("torchao", module, dataset):
            program = traced(convert_pt2e(prepared), dataset.input_shape)
    count_converted(program.graph_module).require_integers(numerics)
    return program


def _name_calls(graph: "GraphModule") -> None:
    """Assign every operator a layer of its own, in place: that of its weight, if it has one.

    torchao finds what to fuse, and what to leave alone, by the layer recorded at a node; it fails
    on a ReLU that a ResNet's block calls twice, and where a layer's weight is used by the code of
    another.
    """
    for node in graph.graph.nodes:
        stack = node.meta.get("nn_module_stack")
        if node.op == "call_function" and stack:
            key, (place, kind) = list(stack.items())[-1]
            name = _layer(node) or f"{place}..{node.name}"
            node.meta["nn_module_stack"] = {**stack, key: (name, kind)}


def recipe(numerics: Numerics, standard: Any) -> Any:
    """Adapt torchao's QuantizationConfig, as an engine's quantizer recommends it, to numerics."""
    import torch
    from torchao.quantization.pt2e import HistogramObserver, MinMaxObserver

    observer = {"minmax": MinMaxObserver, "mse": HistogramObserver}[numerics.range]
    activation = replace(
        standard.input_activation,
        observer_or_fake_quant_ctr=observer.with_args(eps=2**-12),
        qscheme=torch.per_tensor_symmetric if numerics.symmetric else torch.per_tensor_affine,
    )
    return replace(standard, input_activation=activation, output_activation=activation)


def is_shared(node: "Node") -> bool:
    """Return whether a node computes with a weight that another one uses, too."""
    weight: Any = node.args[1] if _holds_weights(node) else None
    return weight is not None and weight.op == "get_attr" and len(weight.users) > 1


def is_of(node: "Node", layers: Sequence[str]) -> bool:
    """Return whether a node computes one of these layers, or holds its weight."""
    return _layer(node) in layers


def count_converted(graph: "GraphModule") -> Conversion:
    """Count the layers whose weights are stored as integers, and all with weights."""
    layers = [node for node in graph.graph.nodes if _holds_weights(node)]
    return Conversion(sum(_is_integer(node) for node in layers), len(layers))


def left_out(graph: "GraphModule") -> tuple[list[str], int]:
    """Return the operators, with their layers, that an engine's delegates did not take.

    And how many of them compute in float32 with weights that are stored as integers.
    """
    plain = ("executorch_call_delegate", "getitem")
    left = [
        node
        for node in graph.graph.nodes
        if node.op == "call_function" and not any(name in str(node.target) for name in plain)
    ]
    operators = dict.fromkeys(f"{place_of(node)} ({node.target})" for node in left)
    return list(operators), sum(_holds_weights(node) and _is_integer(node) for node in left)


def _is_integer(node: "Node") -> bool:
    return any("dequantize" in str(getattr(of, "target", "")) for of in node.args[1:2])


def _layer(node: "Node") -> str | None:
    if node.op == "get_attr":
        return layer_of(str(node.target)).removesuffix(".bias")
    weight: Any = node.args[1] if _holds_weights(node) else None
    return _layer(weight) if weight is not None and weight.op == "get_attr" else None


def _holds_weights(node: "Node") -> bool:
    called = node.op == "call_function" and len(node.args) > 1
    return called and LAYER.search(str(node.target)) is not None
