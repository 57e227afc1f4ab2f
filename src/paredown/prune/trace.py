"""Follow every channel from the layer that makes it to the layers that read it.

The network runs once on real images. Every tensor carries labels in its own shape: which channel a
number comes from. Whatever moves numbers (views, slices, splits, flips, rolls, shuffles,
concatenations) moves the labels by the very same operation, so that indices are followed rather
than guessed; whatever combines numbers elementwise makes their channels one unit. What an
operation that is not known here does to channels is not guessed: `equivalence.py` compares the
smaller network with the masked one, and leaves alone what differs.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from paredown.prune.labels import compact, narrowed, tensors, varies
from paredown.prune.layers import CONVOLUTION, LAYERS, NORM, matmul
from paredown.prune.operations import rule_of
from paredown.prune.units import Units

log = logging.getLogger(__name__)

OUTPUT = "an output of the network"
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


class Tracer(TorchFunctionMode):
    """Labels every tensor while a network runs; see the module's docstring.

    Args:
        module: In eval mode.
        couple: How a reshape that splits channels into factors can shrink: `leading`, the factors
            before the last stay, as heads of attention do; `trailing`, those after the first.
    """

    def __init__(self, module: nn.Module, couple: str = "leading") -> None:
        super().__init__()
        self.units, self.uses = Units(), list[Use]()
        self.couple = couple
        self._labels: Any = WeakTensorKeyDictionary()
        self._roots: Any = WeakTensorKeyDictionary()  # a tensor computed from one parameter alone
        self.owners = _owners(module)
        self._outputs: dict[int, Tensor] = {}  # of a weight that is used twice
        self._tables: dict[int, tuple[Tensor, Tensor]] = {}
        self.running: list[nn.Module] = []
        self.ran: set[nn.Module] = set()
        self._dispatch = _Dispatch(self)

    def run(self, module: nn.Module, images: Tensor) -> None:
        """Run the network, once or more often; what its outputs come from stays."""
        hooks = [part.register_forward_pre_hook(self._enter) for part in module.modules()]
        hooks += [part.register_forward_hook(self._leave) for part in module.modules()]
        try:
            with torch.no_grad(), self._dispatch, self:
                outputs = module(images)
        finally:
            for hook in hooks:
                hook.remove()
        for output in tensors(outputs):
            self.units.fix(self.of(output), OUTPUT)

    def _enter(self, module: nn.Module, _: Any) -> None:
        self.running.append(module)
        self.ran.add(module)

    def _leave(self, module: nn.Module, *_: Any) -> None:
        self.running.pop()

    # labels

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
        """Tell a layer's own weight, and what is no parameter, from a parameter by itself."""
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

    # layers

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Label what layers give; everything else is labelled one level below."""
        kwargs = kwargs or {}
        rule = LAYERS.get(func)
        if rule is None:
            return func(*args, **kwargs)
        if rule is matmul and not self._is_parameter(args, kwargs):
            return func(*args, **kwargs)
        with self._dispatch.silenced():
            output = func(*args, **kwargs)
            with following(func):
                rule(self, output, *args, **kwargs)
        return output

    def _is_parameter(self, args: Any, kwargs: Any) -> bool:
        other = args[1] if len(args) > 1 else kwargs.get("other", kwargs.get("mat2"))
        weight = self.source(other)
        return weight is not None and weight.ndim == 2

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


@contextmanager
def following(operation: Any) -> Iterator[None]:
    """Go on without labels where a rule cannot follow an operation: `equivalence.py` tells."""
    try:
        yield
    except (RuntimeError, IndexError, ValueError, TypeError, AttributeError) as error:
        log.debug("channels cannot be followed through %s: %s", operation, error)


class _Dispatch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Labels what is no layer."""

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._tracer, self._silent = tracer, False

    @contextmanager
    def silenced(self) -> Iterator[None]:
        before, self._silent = self._silent, True
        try:
            yield
        finally:
            self._silent = before

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, then label what it gave."""
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if self._silent:
            return output
        rule = rule_of(func, output, args)
        self._tracer.derive(output, args)
        if rule is not None:
            with self.silenced(), following(func):
                rule(self._tracer, func, output, args, kwargs)
        return output


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
