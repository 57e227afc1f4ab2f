"""The layers that a network runs, in order, and those that compute its logits."""

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from paredown.model import layers
from paredown.variant import Layers, Numerics

if TYPE_CHECKING:
    from torch import nn


def resolved(numerics: Numerics, module: "nn.Module", shape: tuple[int, int, int]) -> Numerics:
    """Resolve `keep_float` against the layers that a network in eval mode runs."""
    recipes = (numerics, *numerics.fallbacks)
    if not any(recipe.keep_float for recipe in recipes):
        return numerics
    return numerics.resolve(running(module, shape))


def running(module: "nn.Module", shape: tuple[int, int, int]) -> Layers:
    """Return the weighted layers between images and logits, from autograd's graph.

    If a network cuts the graph, by `detach` or `no_grad`, layers come in order of definition.
    """
    import torch
    from torch.func import functional_call

    weights = {
        name: weight.detach().requires_grad_(weight.is_floating_point())
        for name, weight in module.named_parameters()
    }
    device = next((weight.device for weight in weights.values()), torch.device("cpu"))
    images = torch.zeros(1, *shape, device=device, requires_grad=True)
    with torch.enable_grad():
        logits = functional_call(module, weights, (images,))
    owners = _owners(module)
    graph = _Graph(images, {id(weights[name]): layer for name, layer in owners.items()})
    graph.read(logits.grad_fn)
    names = tuple(graph.names())
    if not names:
        names = tuple(dict.fromkeys(owners.values()))
        return Layers(names, names[:1], names[-1:])
    return Layers(names, names[:1], tuple(graph.last(logits.grad_fn)))


def _owners(module: "nn.Module") -> dict[str, str]:
    """Return the layer of every parameter of two axes or more that can become integer."""
    from torch import nn

    weighted, owners = set(layers(module)), {}
    modules = dict(module.named_modules())
    for name, weight in module.named_parameters():
        owner, _, leaf = name.partition(".parametrizations.")[0].rpartition(".")
        if ".parametrizations." in name:
            owner = f"{owner}.{leaf}" if owner else leaf
        if weight.ndim > 1 and owner in weighted:
            owners[name] = owner
        elif name.endswith("in_proj_weight") and isinstance(modules[owner], nn.MultiheadAttention):
            owners[name] = name
    return owners


class _Graph:
    """Autograd's graph, with the layers that each node depends on."""

    def __init__(self, images: Any, owners: dict[int, str]) -> None:
        self.images, self.owners = images, owners
        self.visited: dict[Any, tuple[bool, tuple[str, ...]]] = {}
        self.layers: dict[Any, tuple[str, ...]] = {}

    def read(self, start: Any) -> None:
        """Visit all nodes, each after its inputs."""
        stack = [start] if start is not None else []
        while stack:
            node = stack[-1]
            inputs = _inputs(node)
            waiting = [other for other in inputs if other not in self.visited]
            if waiting:
                stack.extend(waiting)
            else:
                stack.pop()
                self.visited[node] = self._visit(node, inputs)

    def _visit(self, node: Any, inputs: Sequence[Any]) -> tuple[bool, tuple[str, ...]]:
        """Return whether images reach a node, and the layers whose weights it depends on."""
        variable = getattr(node, "variable", None)
        if variable is not None:
            owner = self.owners.get(id(variable))
            return variable is self.images, () if owner is None else (owner,)
        reached = any(self.visited[other][0] for other in inputs)
        weights = [self.visited[other][1] for other in inputs if not self.visited[other][0]]
        names = tuple(dict.fromkeys(chain.from_iterable(weights)))
        if reached and names:
            self.layers[node] = names
        return reached, names

    def names(self) -> list[str]:
        """Return the layers that an image reaches, in order of execution."""
        nodes = sorted(self.layers, key=lambda node: int(node._sequence_nr()))
        return list(dict.fromkeys(name for node in nodes for name in self.layers[node]))

    def last(self, start: Any) -> list[str]:
        """Return the layers that the logits come from, with no other layer between."""
        stack, visited = [start], set()
        names: list[str] = []
        while stack:
            node = stack.pop()
            if node in visited:
                continue
            visited.add(node)
            if node in self.layers:
                names.extend(self.layers[node])
            else:
                stack.extend(_inputs(node))
        return list(dict.fromkeys(names))


def _inputs(node: Any) -> list[Any]:
    return [other for other, _ in node.next_functions if other is not None]
