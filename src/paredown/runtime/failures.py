"""One-line errors for what engines and exporters raise."""

import contextlib
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paredown.dataset import Dataset
from paredown.errors import ConfigError, RunError
from paredown.runtime.program import traced

if TYPE_CHECKING:
    from torch import nn

PACKAGE = Path(__file__).parents[1]


@contextlib.contextmanager
def blame_network(engine: str, module: "nn.Module", dataset: Dataset) -> Iterator[None]:
    """Turn an engine's error about a network into a RunError of one line; see `cannot_take`.

    Errors that say nothing about the network pass unchanged; see `is_unrelated`.
    """
    try:
        yield
    except Exception as error:  # engines have no common class, and run a user's code
        if is_unrelated(error):
            raise
        raise cannot_take(engine, module, dataset, error) from error


@contextlib.contextmanager
def shorten_errors(prefix: str) -> Iterator[None]:
    """Turn an engine's error into a RunError of one line after `prefix`; see `blame_network`."""
    try:
        yield
    except Exception as error:  # engines have no common class
        if is_unrelated(error):
            raise
        raise RunError(f"{prefix}: {one_line(error)}") from error


def is_unrelated(error: Exception) -> bool:
    """Return whether an error says nothing about a network.

    That is a full memory or disk, a message for the user, or a bug of Paredown's: raised in its own
    code, outside of model/. An engine's C++ code raises RuntimeError from the line that calls it.
    """
    if isinstance(error, ConfigError | RunError | MemoryError | OSError):
        return True
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or isinstance(error, RuntimeError):
        return False
    file = Path(frames[-1].filename)
    return file.is_relative_to(PACKAGE) and not file.is_relative_to(PACKAGE / "model")


def cannot_take(engine: str, module: "nn.Module", dataset: Dataset, error: Exception) -> RunError:
    """Return an engine's error about a network in one line, with the layers that it concerns."""
    lines = "".join(traceback.format_exception(error))
    try:
        graph = traced(module, dataset.input_shape)
    except Exception:  # without a graph, the engine's message has to do
        return RunError(f"{engine} cannot take the network: {one_line(error)}")
    operators = tuple(re.findall(r"\b(?:aten|prims)(?:::|\.)(\w+)", lines))
    places = []
    for node in graph.graph_module.graph.nodes:
        operator = str(node.target)  # such as aten.special_erf.default; prims.erf underneath
        if node.op == "call_function" and operator.rpartition(".")[0].endswith(operators):
            places.append(f"{place_of(node)} ({operator})")
    reason = "it lacks an operator of " + ", ".join(dict.fromkeys(places))
    return RunError(f"{engine} cannot take the network: {reason if places else one_line(error)}")


def place_of(node: Any) -> str:
    """Return the name of the layer that a node of a graph comes from."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    place = str(stack[-1][0]).partition("..")[0] if stack else ""  # `..` parts calls of one layer
    return place or str(node.name)


def one_line(error: Exception) -> str:
    """Return the start of an error's message in one line, without terminal colors."""
    return " ".join(re.sub(r"\x1b\[\d+m", "", str(error)).split())[:200]
