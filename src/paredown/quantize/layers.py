"""Which layers of a network run, in what order, and which of them the logits come from."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from paredown.model import layers
from paredown.variant import Layers, Numerics

if TYPE_CHECKING:
    from torch import nn


def resolved(numerics: Numerics, module: "nn.Module", shape: tuple[int, int, int]) -> Numerics:
    """Put a network's names in the place of `first` and `last`, and check the patterns.

    Args:
        numerics: What is asked for.
        module: The network, in eval mode.
        shape: Channels, height and width of one image.

    Raises:
        ConfigError: If a pattern of `keep_float` matches no layer that runs.
    """
    recipes = (numerics, *numerics.fallbacks)
    if not any(recipe.keep_float for recipe in recipes):
        return numerics
    return numerics.resolve(running(module, shape))


def running(module: "nn.Module", shape: tuple[int, int, int]) -> Layers:
    """Follow the logits back to the images, and list the layers that hold weights on the way.

    Autograd's graph says what ran, whatever the order in which layers were defined. A network
    that cuts it, by `detach` or `no_grad`, is taken in the order of definition.

    Args:
        module: In eval mode; on any device, the meta device included.
        shape: Channels, height and width of one image.
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
    """Name the layer of every parameter of two axes or more that can become integer."""
    from torch import nn

    named, found = set(layers(module)), {}
    parts = dict(module.named_modules())
    for name, weight in module.named_parameters():
        owner, _, leaf = name.partition(".parametrizations.")[0].rpartition(".")
        if ".parametrizations." in name:
            owner = f"{owner}.{leaf}" if owner else leaf
        if weight.ndim > 1 and owner in named:
            found[name] = owner
        elif name.endswith("in_proj_weight") and isinstance(parts[owner], nn.MultiheadAttention):
            found[name] = name
    return found


class _Graph:
    """Autograd's graph, and what each of its nodes computes from.

    Args:
        images: The tensor that the network was given.
        owners: Layers, by the id of the weight that they hold.
    """

    def __init__(self, images: Any, owners: dict[int, str]) -> None:
        self.images, self.owners = images, owners
        self.seen: dict[Any, tuple[bool, tuple[str, ...]]] = {}
        self.layers: dict[Any, tuple[str, ...]] = {}

    def read(self, start: Any) -> None:
        """Visit all nodes, each after those that it computes from."""
        left = [start] if start is not None else []
        while left:
            node = left[-1]
            inputs = [one for one, _ in node.next_functions if one is not None]
            waiting = [one for one in inputs if one not in self.seen]
            if waiting:
                left.extend(waiting)
            else:
                left.pop()
                self.seen[node] = self._look(node, inputs)

    def _look(self, node: Any, inputs: Sequence[Any]) -> tuple[bool, tuple[str, ...]]:
        """Tell whether images reach a node; name the layers whose weights it computes from."""
        variable = getattr(node, "variable", None)
        if variable is not None:
            owner = self.owners.get(id(variable))
            return variable is self.images, () if owner is None else (owner,)
        reached = any(self.seen[one][0] for one in inputs)
        weights = [one for one in inputs if not self.seen[one][0]]
        names = tuple(dict.fromkeys(name for one in weights for name in self.seen[one][1]))
        if reached and names:
            self.layers[node] = names
        return reached, names

    def names(self) -> list[str]:
        """Name the layers that an image reaches, in the order in which they ran."""
        ran = sorted(self.layers, key=lambda node: int(node._sequence_nr()))
        return list(dict.fromkeys(name for node in ran for name in self.layers[node]))

    def last(self, start: Any) -> list[str]:
        """Name the layers that the logits come from, with no other layer between."""
        left, seen = [start], set()
        found: list[str] = []
        while left:
            node = left.pop()
            if node in seen:
                continue
            seen.add(node)
            if node in self.layers:
                found.extend(self.layers[node])
            else:
                left.extend(one for one, _ in node.next_functions if one is not None)
        return list(dict.fromkeys(found))
