"""Labels of tensors and uses of layers, collected while channels are followed."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from paredown.prune.labels import compact, narrowed, tensors, varies
from paredown.prune.units import Units

CONVOLUTION = nn.modules.conv._ConvNd
NORM = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
TABLE = 1 << 22  # at most so many numbers of a bare parameter are labelled one by one


@dataclass(frozen=True, eq=False)
class Use:
    """The labels of the channels on one side of a layer; fields as in `groups.GroupMember`."""

    layer: nn.Module | Tensor
    side: str
    labels: Tensor
    produces: bool = False


class LabelStore:
    """Labels of tensors, and the uses of layers."""

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
        """Label a bare parameter or buffer, number by number."""
        bare = tensor.is_floating_point() and not self._is_weight(tensor)
        if not bare or not 1 < tensor.numel() <= TABLE:
            return torch.zeros((), dtype=torch.int64).expand(tensor.shape)
        if id(tensor) not in self._tables:
            labels = self.units.new(tensor.numel()).view(tensor.shape)
            self._tables[id(tensor)] = tensor, labels
        return self._tables[id(tensor)][1]

    def _is_weight(self, tensor: Tensor) -> bool:
        """Check whether a tensor is a layer's own weight, or no parameter at all."""
        owners = self.owners.get(id(tensor), ())
        kinds = (CONVOLUTION, nn.Linear)
        return all(isinstance(owner, kinds) and leaf == "weight" for owner, leaf in owners)

    def put(self, tensor: Tensor, labels: Tensor) -> None:
        """Label a tensor, if the labels have its shape."""
        if labels.shape == tensor.shape:
            self._labels[tensor] = compact(labels)

    def along(self, tensor: Tensor, axis: int) -> Tensor:
        """Return one label per index of an axis, merging those that vary within one."""
        labels = narrowed(self.of(tensor), keep=axis).movedim(axis, 0)
        labels = labels.reshape(len(labels), -1)
        first = labels.max(dim=1).values  # NOTHING is the least
        if labels.shape[1] > 1:
            self.units.merge(first[:, None], labels)
        return first

    def source(self, weight: Any) -> Tensor | None:
        """Return the parameter that a weight is, or that it alone is computed from."""
        if not isinstance(weight, Tensor):
            return None
        if id(weight) in self.owners:
            return weight
        source: Tensor | None = self._roots.get(weight)
        return source if source is not None and source.shape == weight.shape else None

    def layer(self, weight: Any) -> tuple[nn.Module | Tensor | None, str]:
        """Return the layer of a weight, or the bare parameter; or None and why there is neither."""
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

    def outputs_of(self, weight: Tensor, width: int) -> Tensor:
        """Return the labels of a weight's outputs, (width,), equal at every use."""
        if id(weight) not in self._outputs:
            self._outputs[id(weight)] = self.units.new(width)
        return self._outputs[id(weight)]

    def use(
        self, layer: nn.Module | Tensor, side: str, labels: Tensor, produces: bool = False
    ) -> None:
        """Record the channels of a layer's side, merging them with those of earlier uses."""
        weight = _weight(layer)
        for use in self.uses:
            if use.side == side and use.layer is layer:
                self.units.merge(use.labels, labels)
                return
            if use.side == side and weight is not None and _weight(use.layer) is weight:
                self.units.merge(use.labels, labels)
        self.uses.append(Use(layer, side, labels, produces))

    def derive(self, output: Any, args: Any) -> None:
        """Record tensors computed from one parameter alone, such as a standardized weight."""
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

    def finish(self) -> None:
        """Record the uses of bare parameters whose channels lie along one axis."""
        for tensor, labels in self._tables.values():
            units = self.units.roots(labels)
            axes = [axis for axis in range(units.ndim) if varies(units, axis)]
            if len(axes) == 1:
                (axis,) = axes
                line = narrowed(units.movedim(axis, 0).reshape(units.shape[axis], -1))[:, 0]
                self.uses.append(Use(tensor, str(axis), line))
            else:
                self.units.fix(units, "a table of parameters mixes them")


def _weight(layer: nn.Module | Tensor) -> Any:
    return layer if isinstance(layer, Tensor) else layer.weight


def _owners(module: nn.Module) -> dict[int, list[tuple[nn.Module, str]]]:
    """Return the places of every parameter and every persistent buffer, by its id."""
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
