"""Export networks to ONNX, and compare the logits of an exported file with the network's."""

import copy
import keyword
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from paredown.dataset import Dataset
from paredown.errors import ConfigError, RunError, require
from paredown.runtime import Program
from paredown.runtime.failures import blame_network, is_unrelated, one_line, shorten_errors
from paredown.runtime.fold import fold_norms
from paredown.runtime.names import rename, weights_of
from paredown.runtime.program import BATCH, prepare, traced
from paredown.runtime.quiet import quiet

if TYPE_CHECKING:
    import onnx
    from torch import nn
    from torch.export import ExportedProgram

CHECKED_IMAGES = 64  # of the val split, whose logits are compared
TOLERANCE = 1e-3  # of the largest logit; torchvision's classifiers agree to 1e-6


def require_same_logits(program: Program, module: "nn.Module", dataset: Dataset) -> None:
    """Raise RunError unless a float32 program returns the module's logits on real images."""
    import torch

    images = dataset.normalize(dataset.val.images[:CHECKED_IMAGES])
    with torch.inference_mode():
        expected = module(torch.from_numpy(images)).numpy()
    with shorten_errors("the exported file fails on real images"):
        logits = program(images)
    shape = (len(images), len(dataset.classes))
    if not logits.shape == expected.shape == shape:
        raise RunError(
            f"the exported file must return logits {shape}, one per class, got {logits.shape}; the "
            f"network returns {expected.shape}"
        )
    error = float(np.abs(logits - expected).max())
    limit = TOLERANCE * max(1.0, float(np.abs(expected).max()))
    if not error <= limit:
        raise RunError(
            f"the exported file's logits differ from the module's by {error:.2g}, more than "
            f"{limit:.2g}; the network does something that its export does not"
        )


def export_onnx(module: "nn.Module", dataset: Dataset, target: Path) -> None:
    """Export to one .onnx file with a dynamic batch, input `images` and output `logits`.

    Weights keep their names in the module, as in `layer1.0.conv1.weight`.

    Raises:
        RunError: Naming the operator that ONNX lacks, and the layer that uses it.
    """
    import onnx
    import torch

    program = export(module, dataset, any_batch=True)
    with quiet(), blame_network("ONNX", module, dataset):
        exported_model = torch.onnx.export(
            program,
            dynamo=True,
            input_names=["images"],
            output_names=["logits"],
            verbose=False,
            optimize=False,
        )
        assert exported_model is not None
        weights = weights_of(exported_model.model_proto.graph)
        exported_model.optimize()
    proto = exported_model.model_proto
    _strip(proto)
    rename(proto.graph, weights)
    onnx.save(proto, target)


def export(module: "nn.Module", dataset: Dataset, any_batch: bool = False) -> "ExportedProgram":
    """Export a copy of a network, in eval mode and with batch norms folded.

    It takes one image, or any number of them. Raises RunError naming what cannot be exported.
    """
    with blame_network("torch.export", module, dataset):
        module = prepare(module)
        fold_norms(module, dataset.input_shape, BATCH if any_batch else 1)
        return traced(module, dataset.input_shape, any_batch)


def require_exportable(module: "nn.Module", shape: tuple[int, int, int]) -> None:
    """Raise ConfigError if a network cannot be exported for any number of images.

    The network has fresh weights, on the meta device if its code allows, and is not modified.
    """
    names = [name for name, _ in module.named_modules()]
    keywords = [name for name in names if any(map(keyword.iskeyword, name.split(".")))]
    rule, got = "have parts whose names are no Python keywords", ", ".join(keywords[:3])
    require(not keywords, "model", rule, got, "torch.export writes code with them")
    try:
        _trace_anywhere(module, shape)
    except Exception as error:  # whatever a user's code raises
        if is_unrelated(error):
            raise
        if "data-dependent" in str(error):
            places = re.findall(r'File "([^"]+)", line (\d+)', str(error))
            where = f" in {Path(places[-1][0]).name}, line {places[-1][1]}" if places else ""
            raise ConfigError(
                f"model must do the same for every image, got code{where} that branches on the "
                "values of its input; no exported file holds both branches"
            ) from error
        rule = "be one that torch.export takes for any number of images"
        raise ConfigError(f"model must {rule}, got {one_line(error)}") from error


def _trace_anywhere(module: "nn.Module", shape: tuple[int, int, int]) -> None:
    """Trace a network as it is, or on the CPU where its code creates tensors there."""
    try:
        traced(prepare(module), shape, any_batch=True)
    except Exception:  # `torch.zeros(len(images), 1, 8)` lies on the CPU, whatever the weights do
        if not any(tensor.is_meta for tensor in (*module.parameters(), *module.buffers())):
            raise
        moved = copy.deepcopy(module).to_empty(device="cpu")
        traced(prepare(moved), shape, any_batch=True)


def _strip(proto: "onnx.ModelProto") -> None:
    """Drop stack traces and other metadata, so that equal weights give equal bytes anywhere."""
    graph = proto.graph
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    graph.ClearField("metadata_props")
    proto.ClearField("metadata_props")
