"""Export a network to ONNX, and compare what an engine made of it with the network itself."""

import contextlib
import copy
import keyword
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from paredown.dataset import Dataset
from paredown.errors import ConfigError, RunError, require
from paredown.runtime import Program
from paredown.runtime.names import rename, weights_before
from paredown.runtime.program import exported, prepare, traced
from paredown.runtime.quiet import quiet

if TYPE_CHECKING:
    import onnx
    from torch import nn
    from torch.export import ExportedProgram

CHECKED_IMAGES = 64  # real ones, whose logits are compared with the module's
TOLERANCE = 1e-3  # of the largest logit; torchvision's classifiers agree to 1e-6


def require_same_logits(program: Program, module: "nn.Module", dataset: Dataset) -> None:
    """Compare a float32 program's logits with the module's on real images.

    Raises:
        RunError: If they differ by more than rounding does, or are not one a class.
    """
    import torch

    images = dataset.normalize(dataset.val.images[:CHECKED_IMAGES])
    with torch.inference_mode():
        expected = module(torch.from_numpy(images)).numpy()
    with telling("the exported file fails on real images"):
        found = program(images)
    wanted = (len(images), len(dataset.classes))
    if not found.shape == expected.shape == wanted:
        raise RunError(
            f"the exported file must give logits {wanted}, one a class, got {found.shape}; the "
            f"network gives {expected.shape}"
        )
    error = float(np.abs(found - expected).max())
    limit = TOLERANCE * max(1.0, float(np.abs(expected).max()))
    if not error <= limit:
        raise RunError(
            f"the exported file's logits differ from the module's by {error:.2g}, more than "
            f"{limit:.2g}; the network does something that its export does not"
        )


def export_onnx(module: "nn.Module", dataset: Dataset, target: Path) -> None:
    """Export to one .onnx file with a dynamic batch, input `images` and output `logits`.

    The names and traces that the exporter leaves in it are dropped; weights keep the names that
    they have in the module, as in `layer1.0.conv1.weight`.

    Raises:
        RunError: Naming the operator that ONNX lacks, and the layer that uses it.
    """
    import onnx
    import torch

    program = export(module, dataset, any_batch=True)
    with quiet(), blaming("ONNX", module, dataset):
        made = torch.onnx.export(
            program,
            dynamo=True,
            input_names=["images"],
            output_names=["logits"],
            verbose=False,
            optimize=False,
        )
        assert made is not None
        named = weights_before(made.model.graph)
        made.optimize()
    proto = made.model_proto
    _strip(proto)
    rename(proto.graph, named)
    onnx.save(proto, target)


def export(module: "nn.Module", dataset: Dataset, any_batch: bool = False) -> "ExportedProgram":
    """Export a network for one image or for any number, its batch norms folded; see `exported`.

    Raises:
        RunError: Naming what cannot be exported.
    """
    with blaming("torch.export", module, dataset):
        return exported(module, dataset.input_shape, any_batch)


def require_exportable(module: "nn.Module", shape: tuple[int, int, int]) -> None:
    """Check before any work that a network can be exported for any number of images.

    Args:
        module: With fresh weights, on the meta device if its code allows that; stays as it is.
        shape: Channels, height and width of one image.

    Raises:
        ConfigError: With what torch.export says, in one line.
    """
    names = [name for name, _ in module.named_modules()]
    words = [name for name in names if any(map(keyword.iskeyword, name.split(".")))]
    rule = "have parts whose names are no words of Python's"
    require(not words, "model", rule, ", ".join(words[:3]), "torch.export writes code with them")
    try:
        _trace_anywhere(module, shape)
    except Exception as error:  # whatever a user's code raises
        if _is_ours(error):
            raise
        if "data-dependent" in str(error):
            places = re.findall(r'File "([^"]+)", line (\d+)', str(error))
            where = f" in {Path(places[-1][0]).name}, line {places[-1][1]}" if places else ""
            rule = "do the same for every image"
            got = f"code{where} that decides by the values of its input"
            raise ConfigError(f"model must {rule}, got {got}; no file holds both ways") from error
        rule = "be one that torch.export takes for any number of images"
        raise ConfigError(f"model must {rule}, got {_first(error)}") from error


def _trace_anywhere(module: "nn.Module", shape: tuple[int, int, int]) -> None:
    """Trace a network as it is, or on the CPU where its code makes tensors there.

    Values do not matter: a network from the meta device has none, and gets none.
    """
    try:
        traced(prepare(module), shape, any_batch=True)
    except Exception:  # `torch.zeros(len(images), 1, 8)` lies on the CPU, whatever the weights do
        if not any(tensor.is_meta for tensor in (*module.parameters(), *module.buffers())):
            raise
        moved = copy.deepcopy(module).to_empty(device="cpu")
        traced(prepare(moved), shape, any_batch=True)


@contextlib.contextmanager
def blaming(engine: str, module: "nn.Module", dataset: Dataset) -> Iterator[None]:
    """Turn what an engine raises of a network into one line; see `cannot_take`.

    What a full memory or disk raises, and what is told in one line already, goes on as it is.

    Raises:
        RunError: Naming the engine.
    """
    try:
        yield
    except Exception as error:  # engines have no common class, and run a user's code
        if _is_ours(error):
            raise
        raise cannot_take(engine, module, dataset, error) from error


@contextlib.contextmanager
def telling(what: str) -> Iterator[None]:
    """Turn what an engine raises into one line that begins with `what`; see `blaming`.

    Raises:
        RunError: With what the engine says.
    """
    try:
        yield
    except Exception as error:  # engines have no common class
        if _is_ours(error):
            raise
        raise RunError(f"{what}: {_first(error)}") from error


def _is_ours(error: Exception) -> bool:
    """Tell whether an error says nothing of a network: memory, disk, one line already, or a bug."""
    if isinstance(error, ConfigError | RunError | MemoryError | OSError):
        return True
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).is_relative_to(Path(__file__).parent)


def cannot_take(engine: str, module: "nn.Module", dataset: Dataset, error: Exception) -> RunError:
    """Tell in one line what an engine says of a network, and which layers that concerns."""
    told = "".join(traceback.format_exception(error))
    try:
        graph = traced(module, dataset.input_shape)
    except Exception:  # then the engine says no more than that
        return RunError(f"{engine} cannot take the network: {_first(error)}")
    blamed = tuple(re.findall(r"\b(?:aten|prims)(?:::|\.)(\w+)", told))
    found = []
    for node in graph.graph_module.graph.nodes:
        operator = str(node.target)  # such as aten.special_erf.default; prims.erf underneath
        if node.op == "call_function" and operator.rpartition(".")[0].endswith(blamed):
            found.append(f"{place_of(node)} ({operator})")
    reason = "it lacks an operator of " + ", ".join(dict.fromkeys(found))
    return RunError(f"{engine} cannot take the network: {reason if found else _first(error)}")


def place_of(node: Any) -> str:
    """Name the part of a network that a node of its graph comes from."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    place = str(stack[-1][0]).partition("..")[0] if stack else ""  # `..` parts calls of one layer
    return place or str(node.name)


def _first(error: Exception) -> str:
    """Shorten a message to a line, without the colors that are in some."""
    return " ".join(re.sub(r"\x1b\[\d+m", "", str(error)).split())[:200]


def _strip(proto: "onnx.ModelProto") -> None:
    """Drop stack traces and other notes, so that equal weights give equal bytes anywhere."""
    graph = proto.graph
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    graph.ClearField("metadata_props")
    proto.ClearField("metadata_props")
