"""PyTorch 2 export and its quantization by torchao, for engines that take exported programs."""

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from paredown.dataset import Dataset
from paredown.errors import RunError
from paredown.runtime import Abilities, Conversion, calibration_batches
from paredown.runtime.export import prepare, quiet
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
            told = str(error).strip().partition("\n")[0]
            raise RunError(f"torch.export cannot take {type(module).__name__}: {told}") from error


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

    with quiet(), torch.no_grad():
        watched = prepare_pt2e(export(prepare(module), dataset, any_batch=True).module(), quantizer)
        for images in calibration_batches(dataset, numerics.calibration_images):
            watched(torch.from_numpy(images))
        made = export(convert_pt2e(watched), dataset)
    found = count_converted(made.graph_module)
    if found.integer == 0:
        told = f"converted none of {found.layers} layers; the file is float32"
        raise RunError(f"{numerics.name} {told}")
    return made


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


def count_converted(graph: "GraphModule", left: Collection[str] = ()) -> Conversion:
    """Count the layers whose weights are stored as integers, and all that hold weights.

    Args:
        graph: As exported.
        left: Nodes that the engine computes in float32 all the same.
    """
    layers = [node for node in graph.graph.nodes if _holds_weights(node)]
    integer = [node for node in layers if "dequantize" in str(node.args[1].target)]
    return Conversion(sum(node.name not in left for node in integer), len(layers))


def operators(graph: "GraphModule") -> dict[str, str]:
    """List the operators of a graph that no delegate of an engine took, each by its node."""
    plain = ("executorch_call_delegate", "getitem")
    return {
        node.name: str(node.target)
        for node in graph.graph.nodes
        if node.op == "call_function" and not any(name in str(node.target) for name in plain)
    }


def _layer(node: "Node") -> str | None:
    if node.op == "get_attr":
        return str(node.target).removesuffix(".weight").removesuffix(".bias")
    weight: Any = node.args[1] if _holds_weights(node) else None
    return _layer(weight) if weight is not None and weight.op == "get_attr" else None


def _holds_weights(node: "Node") -> bool:
    called = node.op == "call_function" and len(node.args) > 1
    return called and any(kind in str(node.target) for kind in LAYERS)
