"""What is known while channels are followed: labels of tensors, and uses of layers."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from paredown.prune.labels import compact, narrowed, tensors, varies
from paredown.prune.units import Units

CONVOLUTION = nn.modules.conv._ConvNd
NORM = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
TABLE = 1 << 22  # numbers of a parameter that are labelled one by one, at most


@dataclass(frozen=True, eq=False)
class Use:
    """A layer's numbers that belong to channels.

    Args:
        layer: Has a weight; or a parameter or buffer by itself.
        side: out, in or norm: which channels of the layer they are. Of a parameter by itself the
            axis, as a digit.
        rows: (R,), channels of the layer.
        labels: (R,), what each row hangs together with.
        makes: Whether the layer makes these channels anew, rather than reads them.
    """

    layer: nn.Module | Tensor
    side: str
    rows: Tensor
    labels: Tensor
    makes: bool = False


class LabelStore:
    """Labels of tensors, and the uses of layers.

    Args:
        module: Whose parameters may take part by themselves.
        couple: See `trace.Tracer`.
    """

    def __init__(self, module: nn.Module, couple: str) -> None:
        self.units, self.uses = Units(), list[Use]()
        self.couple = couple
        self.owners = _owners(module)
        self.running: list[nn.Module] = []
        self._labels: Any = WeakTensorKeyDictionary()
        self._roots: Any = WeakTensorKeyDictionary()  # a tensor computed from one parameter alone
        self._outputs: dict[int, Tensor] = {}  # of a weight that is used twice
        self._tables: dict[int, tuple[Tensor, Tensor]] = {}

    def of(self, tensor: Tensor) -> Tensor:
        """Return the labels of a tensor, in its shape."""
        labels: Tensor | None = self._labels.get(tensor)
        return self._table(tensor) if labels is None else labels

    def _table(self, tensor: Tensor) -> Tensor:
        """Label a parameter or buffer that takes part by itself, number by number."""
        known = tensor.is_floating_point() and not self._is_weight(tensor)
        if not known or not 1 < tensor.numel() <= TABLE:
            return torch.zeros((), dtype=torch.int64).expand(tensor.shape)
        if id(tensor) not in self._tables:
            labels = self.units.new(tensor.numel()).view(tensor.shape)
            self._tables[id(tensor)] = tensor, labels
        return self._tables[id(tensor)][1]

    def _is_weight(self, tensor: Tensor) -> bool:
        """Return a layer's own weight, and what is no parameter, from a parameter by itself."""
        owners = self.owners.get(id(tensor), ())
        kinds = (CONVOLUTION, nn.Linear)
        return all(isinstance(owner, kinds) and leaf == "weight" for owner, leaf in owners)

    def put(self, tensor: Tensor, labels: Tensor) -> None:
        """Label a tensor, where the labels have its shape."""
        if labels.shape == tensor.shape:
            self._labels[tensor] = compact(labels)

    def along(self, tensor: Tensor, axis: int) -> Tensor:
        """Return one label for each index of an axis; what varies within one is merged."""
        labels = narrowed(self.of(tensor), keep=axis).movedim(axis, 0)
        labels = labels.reshape(len(labels), -1)
        first = labels.max(dim=1).values  # NOTHING is the least
        if labels.shape[1] > 1:
            self.units.merge(first[:, None].expand_as(labels).flatten(), labels.flatten())
        return first

    def source(self, weight: Any) -> Tensor | None:
        """Find the parameter that a layer's weight is, or that it alone is computed from."""
        if not isinstance(weight, Tensor):
            return None
        if id(weight) in self.owners:
            return weight
        source: Tensor | None = self._roots.get(weight)
        return source if source is not None and source.shape == weight.shape else None

    def layer(self, weight: Any) -> tuple[nn.Module | Tensor | None, str]:
        """Find what owns a weight: a layer of a known kind, or the parameter by itself."""
        source = self.source(weight)
        if source is None:
            return None, "whose weight is no parameter, or computed from several"
        owners = self.owners[id(source)]
        running = self.running[-1] if self.running else None
        owner, leaf = next((pair for pair in owners if pair[0] is running), owners[0])
        known = leaf == "weight" and isinstance(owner, (CONVOLUTION, nn.Linear, *NORM, nn.PReLU))
        if len(owners) > 1 and not known:
            return None, "whose weight is shared"
        return (owner if known else source), ""

    def made(self, weight: Tensor, width: int) -> Tensor:
        """Return the labels of what a weight makes, (width,): the same whenever it is used."""
        if id(weight) not in self._outputs:
            self._outputs[id(weight)] = self.units.new(width)
        return self._outputs[id(weight)]

    def use(
        self, layer: nn.Module | Tensor, side: str, labels: Tensor, makes: bool = False
    ) -> None:
        """Note which channels a side of a layer holds; of one weight they are always the same."""
        weight = _weight(layer)
        for use in self.uses:
            if use.side == side and use.layer is layer:
                self.units.merge(use.labels, labels)
                return
            if use.side == side and weight is not None and _weight(use.layer) is weight:
                self.units.merge(use.labels, labels)
        self.uses.append(Use(layer, side, torch.arange(len(labels)), labels, makes))

    def derive(self, output: Any, args: Any) -> None:
        """Remember what is computed from one parameter alone, such as a standardized weight."""
        sources = {}
        for tensor in tensors(args):
            source = tensor if id(tensor) in self.owners else self._roots.get(tensor)
            if source is None:
                if tensor.numel() > 1:
                    return
                continue
            sources[id(source)] = source
        if len(sources) == 1:
            (source,) = sources.values()
            for tensor in tensors(output):
                if tensor is not source:
                    self._roots[tensor] = source

    def end(self) -> None:
        """Let parameters by themselves go with the one axis that their channels lie along."""
        for tensor, labels in self._tables.values():
            units = self.units.roots(labels)
            axes = [axis for axis in range(units.ndim) if varies(units, axis)]
            if len(axes) == 1:
                (axis,) = axes
                line = narrowed(units.movedim(axis, 0).reshape(units.shape[axis], -1))[:, 0]
                self.uses.append(Use(tensor, str(axis), torch.arange(len(line)), line))
            else:
                self.units.fix(units, "a table of parameters mixes them")


def _weight(layer: nn.Module | Tensor) -> Any:
    return layer if isinstance(layer, Tensor) else layer.weight


def _owners(module: nn.Module) -> dict[int, list[tuple[nn.Module, str]]]:
    """List the places of every parameter and of every buffer that is saved, by its identity."""
    owners: dict[int, list[tuple[nn.Module, str]]] = {}
    for part in module.modules():
        buffers = {
            name: buffer
            for name, buffer in part._buffers.items()
            if name not in part._non_persistent_buffers_set
        }
        for name, tensor in {**part._parameters, **buffers}.items():
            if tensor is not None:
                owners.setdefault(id(tensor), []).append((part, name))
    return owners
