"""PyTorch 2 export and its quantization by torchao, for engines that take exported programs."""

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from paredown.dataset import Dataset
from paredown.errors import RunError
from paredown.runtime import Abilities, Conversion, calibration_batches
from paredown.runtime.export import cannot_take, place_of, prepare, quiet
from paredown.variant import Numerics

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram
    from torch.fx import GraphModule, Node

LAYERS = ("conv", "linear")  # in the names of the operators that hold weights
ABILITIES = Abilities(schemes=("static",), ranges=("minmax", "mse"), quantizer="torchao")
"""torchao takes the whole range, or the one that a histogram shows to cost the least squared
error (its HistogramObserver)."""


def export(module: "nn.Module", dataset: Dataset, any_batch: bool = False) -> "ExportedProgram":
    """Export a network for one image, or for any number of them.

    Raises:
        RunError: Naming what cannot be exported.
    """
    import torch

    images = torch.zeros(2 if any_batch else 1, *dataset.input_shape)
    shapes = ({0: torch.export.Dim("batch", min=1)},) if any_batch else None
    with quiet():
        try:
            return torch.export.export(module, (images,), dynamic_shapes=shapes)
        except Exception as error:
            raise cannot_take("torch.export", module, dataset, error) from error


def quantize(
    module: "nn.Module", dataset: Dataset, numerics: Numerics, quantizer: Any
) -> "ExportedProgram":
    """Put integers into a network: weights rounded, activations by the ranges that images make.

    Args:
        module: Stays as it is.
        dataset: Its train split calibrates.
        numerics: The recipe.
        quantizer: Of the engine, for its operators, set to `recipe` and to leave `is_kept` alone.

    Returns:
        The network, its operators between quantize and dequantize, for one image.

    Raises:
        RunError: If no layer became integer.
    """
    import torch
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    graph = export(_apart(prepare(module)), dataset, any_batch=True).module()
    with quiet(), torch.no_grad():
        try:
            watched = prepare_pt2e(graph, quantizer)
        except Exception as error:
            raise cannot_take("torchao", module, dataset, error) from error
        for images in calibration_batches(dataset, numerics.calibration_images):
            watched(torch.from_numpy(images))
        made = export(convert_pt2e(watched), dataset)
    found = count_converted(made.graph_module)
    if found.integer == 0:
        told = f"converted none of {found.layers} layers; the file is float32"
        raise RunError(f"{numerics.name} {told}")
    return made


def _apart(module: "nn.Module") -> "nn.Module":
    """Give every call of a layer without weights a layer of its own, in place.

    torchao finds what to fuse by the layer that a node comes from, and fails on a ReLU that a
    ResNet's block calls twice.
    """
    graph = getattr(module, "graph", None)  # of a network that could be traced
    seen = set()
    for node in () if graph is None else graph.nodes:
        node.meta.pop("nn_module_stack", None)  # where the calls were; export says it anew
        if node.op == "call_module":
            part = module.get_submodule(node.target)
            if node.target in seen and not list(part.parameters()):
                name = f"{node.target}_{node.name}"
                module.add_submodule(name, copy.deepcopy(part))  # type: ignore[operator]
                node.target = name
            seen.add(node.target)
    if graph is not None:
        module.recompile()  # type: ignore[operator]
    return module


def recipe(numerics: Numerics, standard: Any) -> Any:
    """Change an engine's standard configuration to a recipe.

    Args:
        numerics: The recipe.
        standard: torchao's QuantizationConfig, as the engine's quantizer recommends it.
    """
    import torch
    from torchao.quantization.pt2e import HistogramObserver, MinMaxObserver

    observer = {"minmax": MinMaxObserver, "mse": HistogramObserver}[numerics.range]
    activation = replace(
        standard.input_activation,
        observer_or_fake_quant_ctr=observer.with_args(eps=2**-12),
        qscheme=torch.per_tensor_symmetric if numerics.symmetric else torch.per_tensor_affine,
    )
    return replace(standard, input_activation=activation, output_activation=activation)


def is_kept(node: "Node", numerics: Numerics) -> bool:
    """Tell whether a node computes a layer that stays in float32, or holds its weight."""
    layer = _layer(node)
    return layer is not None and numerics.keeps_float(layer)


def count_converted(graph: "GraphModule") -> Conversion:
    """Count the layers whose weights are stored as integers, and all that hold weights."""
    layers = [node for node in graph.graph.nodes if _holds_weights(node)]
    return Conversion(sum(_is_integer(node) for node in layers), len(layers))


def left_out(graph: "GraphModule") -> tuple[list[str], int]:
    """Tell what no delegate of an engine took of a graph.

    Returns:
        Operators with the layers that they belong to, for people, and how many of them compute
        in float32 with weights that are stored as integers.
    """
    plain = ("executorch_call_delegate", "getitem")
    left = [
        node
        for node in graph.graph.nodes
        if node.op == "call_function" and not any(name in str(node.target) for name in plain)
    ]
    told = dict.fromkeys(f"{place_of(node)} ({node.target})" for node in left)
    return list(told), sum(_holds_weights(node) and _is_integer(node) for node in left)


def _is_integer(node: "Node") -> bool:
    return any("dequantize" in str(getattr(of, "target", "")) for of in node.args[1:2])


def _layer(node: "Node") -> str | None:
    if node.op == "get_attr":
        return str(node.target).removesuffix(".weight").removesuffix(".bias")
    weight: Any = node.args[1] if _holds_weights(node) else None
    return _layer(weight) if weight is not None and weight.op == "get_attr" else None


def _holds_weights(node: "Node") -> bool:
    called = node.op == "call_function" and len(node.args) > 1
    return called and any(kind in str(node.target) for kind in LAYERS)
