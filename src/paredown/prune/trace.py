"""Follow every channel from the layer that produces it to the layers that read it.

The network runs once on real images. Every tensor carries labels in its own shape: the channel that
each number comes from. An operation that moves numbers (view, slice, split, flip, roll, shuffle,
concatenation) is applied to the labels as well, so that indices are exact; an elementwise operation
merges the channels of its operands into one unit. Unknown operations are left to `equivalence.py`,
which compares the smaller network with the masked one and excludes groups that differ.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from paredown.prune.label_store import LabelStore
from paredown.prune.labels import tensors
from paredown.prune.layers import LAYERS, matmul
from paredown.prune.operations import rule_of

log = logging.getLogger(__name__)

OUTPUT = "an output of the network"


class Tracer(TorchFunctionMode):
    """Labels every tensor while a network runs; see the module's docstring.

    Args:
        module: In eval mode.
        couple: How a reshape that splits channels into factors can shrink: `leading`, the factors
            before the last stay, as heads of attention do; `trailing`, those after the first.
    """

    def __init__(self, module: nn.Module, couple: str = "leading") -> None:
        super().__init__()
        self.store = LabelStore(module, couple)
        self.ran: set[nn.Module] = set()
        self._dispatch = _Dispatch(self.store)

    def run(self, module: nn.Module, images: Tensor) -> None:
        """Run the network and fix the channels of its outputs; may be called again."""
        with ExitStack() as hooks, torch.no_grad():
            for part in module.modules():
                hooks.enter_context(part.register_forward_pre_hook(self._enter))
                hooks.enter_context(part.register_forward_hook(self._leave))
            with self._dispatch, self:
                outputs = module(images)
        for output in tensors(outputs):
            self.store.units.fix(self.store.of(output), OUTPUT)

    def _enter(self, module: nn.Module, _: Any) -> None:
        self.store.running.append(module)
        self.ran.add(module)

    def _leave(self, module: nn.Module, *_: Any) -> None:
        self.store.running.pop()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Label the outputs of layers; `_Dispatch` labels those of other operations."""
        kwargs = kwargs or {}
        rule = LAYERS.get(func)
        if rule is None:
            return func(*args, **kwargs)
        if rule is matmul and not self._is_parameter(args, kwargs):
            return func(*args, **kwargs)
        with self._dispatch.silenced():
            output = func(*args, **kwargs)
            with following(func):
                rule(self.store, output, *args, **kwargs)
        return output

    def _is_parameter(self, args: Any, kwargs: Any) -> bool:
        other = args[1] if len(args) > 1 else kwargs.get("other", kwargs.get("mat2"))
        weight = self.store.source(other)
        return weight is not None and weight.ndim == 2


@contextmanager
def following(operation: Any) -> Iterator[None]:
    """Continue without labels if a rule fails; `equivalence.py` excludes groups that suffer."""
    try:
        yield
    except (RuntimeError, IndexError, ValueError, TypeError, AttributeError) as error:
        log.debug("channels cannot be followed through %s: %s", operation, error)


class _Dispatch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Labels the outputs of operations that are no layer."""

    def __init__(self, store: LabelStore) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._store, self._silent = store, False

    @contextmanager
    def silenced(self) -> Iterator[None]:
        before, self._silent = self._silent, True
        try:
            yield
        finally:
            self._silent = before

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, then label its output."""
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if self._silent:
            return output
        rule = rule_of(func, output, args)
        self._store.derive(output, args)
        if rule is not None:
            with self.silenced(), following(func):
                rule(self._store, func, output, args, kwargs)
        return output
