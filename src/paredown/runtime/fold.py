"""Fold batch norms into the layers before them, by what is seen while a network runs.

A user's code is run, never traced by symbols: a layer that is called twice or read elsewhere,
control flow and arithmetic with the batch's size are seen as they are, and left alone.
"""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


def fold_norms(module: "nn.Module", shape: tuple[int, int, int], batch: int) -> None:
    """Fold every batch norm that can be into the layer before it, in place.

    A norm stays where the layer is called more than once, where its output or its weight is used
    by anything else, and where the norm looks at the batch.

    Args:
        module: In eval mode.
        shape: Channels, height and width of one image.
        batch: Images that it is run on.
    """
    from torch import nn

    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    if norms:
        for layer, norm in _seen(module, (batch, *shape)).pairs():
            _scale(layer, norm)
            norm._parameters.clear()
            norm._buffers.clear()
            norm.forward = same


def same(images: "Tensor") -> "Tensor":
    """Stand in the place of a norm that was folded."""
    return images


class _Seen:
    """What a run showed of layers and norms."""

    def __init__(self) -> None:
        self.uses: Counter[int] = Counter()  # by the id of a tensor: operators that read it
        self.alive: list[Any] = []  # so that no id is given anew
        self.made: dict[int, nn.Module] = {}  # the layer that made a tensor, by the tensor's id
        self.read: dict[nn.Module, int] = {}  # the tensor that a norm read, by its id
        self.calls: Counter[nn.Module] = Counter()
        self.owned: dict[nn.Module, list[int]] = {}

    def note(self, values: Iterable[Any]) -> None:
        """Count what an operator reads; what is no tensor does no harm."""
        for value in values:
            self.uses[id(value)] += 1
            self.alive.append(value)

    def enter(self, part: "nn.Module", inputs: Any) -> None:
        """Stand before a layer's or a norm's forward pass."""
        self.calls[part] += 1
        self.read[part] = id(inputs[0]) if inputs else 0
        own = (*part._parameters.values(), *part._buffers.values())
        self.owned[part] = [id(tensor) for tensor in own if tensor is not None]

    def leave(self, part: "nn.Module", inputs: Any, output: Any) -> None:
        """Stand behind it."""
        from torch import nn

        tokens = isinstance(part, nn.Linear) and output.ndim != 2  # their channels come later
        if not tokens:
            self.made[id(output)] = part
        self.alive.append(output)

    def pairs(self) -> "list[tuple[nn.Module, nn.Module]]":
        """List the layers and norms that can become one."""
        found = []
        for norm, source in self.read.items():
            layer = self.made.get(source)
            if layer is not None and _is_norm(norm) and _is_layer(layer):
                once = self.calls[layer] == self.calls[norm] == self.uses[source] == 1
                own = (*self.owned[layer], *self.owned[norm])
                if once and max(self.uses[tensor] for tensor in own) <= 1:
                    found.append((layer, norm))
        return found


def _seen(module: "nn.Module", shape: tuple[int, ...]) -> _Seen:
    """Run a network without numbers, where its code can, and note what reads what."""
    parts = [part for part in module.modules() if _is_norm(part) or _is_layer(part)]
    for device in ("meta", "cpu"):
        seen = _Seen()
        hooks = [part.register_forward_pre_hook(seen.enter) for part in parts]
        hooks += [part.register_forward_hook(seen.leave) for part in parts]
        try:
            _run(module, shape, device, seen)
        except Exception:  # whatever a user's code raises; the export tells it
            seen = _Seen()
        finally:
            for hook in hooks:
                hook.remove()
        if seen.calls:
            break
    return seen


def _run(module: "nn.Module", shape: tuple[int, ...], device: str, seen: _Seen) -> None:
    import torch
    from torch.func import functional_call
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
        """Notes what every operator reads."""

        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = kwargs or {}
            seen.note(tree_leaves((args, kwargs)))
            return func(*args, **kwargs)

    own = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    tensors = {name: tensor.detach().to(device) for name, tensor in own.items()}
    with torch.no_grad(), Watch():  # type: ignore[no-untyped-call]
        output = functional_call(module, tensors, (torch.zeros(shape, device=device),))
    seen.note(tree_leaves(output))


def _is_layer(part: "nn.Module") -> bool:
    """Tell whether a layer computes as torch's own does, and a norm can go into it."""
    from torch import nn

    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.Linear)
    if type(part) not in kinds or part._forward_hooks or part._forward_pre_hooks:
        return False
    if isinstance(part, nn.modules.conv._ConvTransposeNd):
        return int(part.groups) == 1  # a group's weight counts its own outputs alone
    return True


def _is_norm(part: "nn.Module") -> bool:
    """Tell whether a norm is torch's own, and goes by the statistics of training."""
    from torch import nn

    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    if type(part) not in kinds or part._forward_hooks or part._forward_pre_hooks:
        return False
    tracked: bool = part._buffers["running_mean"] is not None
    return tracked and not bool(part.training)


def _scale(layer: Any, norm: Any) -> None:
    """Scale a layer's weight, and scale and shift its bias, as the norm does to its output.

    weight * gamma / sqrt(variance + epsilon); bias likewise, less the mean, plus beta.
    """
    import torch
    from torch import nn

    turned = isinstance(layer, nn.modules.conv._ConvTransposeNd)
    mean, gamma, beta, bias = norm.running_mean, norm.weight, norm.bias, layer.bias
    gamma = torch.ones_like(mean) if gamma is None else gamma.detach()
    beta = torch.zeros_like(mean) if beta is None else beta.detach()
    before = torch.zeros_like(mean) if bias is None else bias.detach()
    factor = torch.rsqrt(norm.running_var + norm.eps)
    shape = [1] * layer.weight.ndim
    shape[1 if turned else 0] = -1
    weight = layer.weight.detach() * (gamma * factor).reshape(shape)
    layer.weight = nn.Parameter(weight, requires_grad=False)
    shifted = (before - mean) * factor * gamma + beta
    layer.bias = nn.Parameter(shifted, requires_grad=False)
