"""Fold batch norms into the layers before them, by observing one run of the network.

The network's code is run, not traced symbolically: layers that are called twice or read elsewhere,
control flow and arithmetic with the batch size are observed as they happen, and left alone.
"""

from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


def fold_norms(module: "nn.Module", shape: tuple[int, int, int], batch: int) -> None:
    """Fold every batch norm that can be into the layer before it, in place, in eval mode.

    A norm stays where the layer is called more than once, where its output or its weight is used
    by anything else, and where the norm uses the statistics of the batch. `batch` is the number of
    images in the observed run.
    """
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_weights

    pairs: list[tuple[Any, Any]] = []
    if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules()):
        pairs = _observe(module, (batch, *shape)).pairs()
    for layer, norm in pairs:
        statistics = norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        transposed = isinstance(layer, nn.modules.conv._ConvTransposeNd)
        weights = fuse_conv_bn_weights(layer.weight, layer.bias, *statistics, transposed)
        layer.weight, layer.bias = (weight.requires_grad_(False) for weight in weights)
        norm._parameters.clear()
        norm._buffers.clear()
        norm.forward = same


def same(images: "Tensor") -> "Tensor":
    """Return the images, in place of a folded norm."""
    return images


class _Observation:
    """What one run reads and computes: tensors by their ids, layers and norms."""

    def __init__(self) -> None:
        self.uses: Counter[int] = Counter()  # operators that read a tensor
        self.alive: list[Any] = []  # so that no id is reused
        self.producer: dict[int, nn.Module] = {}  # the layer that computed a tensor
        self.inputs: dict[nn.Module, int] = {}  # the tensor that a layer or norm read
        self.calls: Counter[nn.Module] = Counter()
        self.owned: dict[nn.Module, list[int]] = {}  # parameters and buffers

    def count(self, values: Iterable[Any]) -> None:
        """Count the values that an operator reads, tensors or not."""
        for value in values:
            self.uses[id(value)] += 1
            self.alive.append(value)

    def before(self, part: "nn.Module", inputs: Any) -> None:
        """Record a layer's or a norm's input; a forward pre-hook."""
        self.calls[part] += 1
        self.inputs[part] = id(inputs[0]) if inputs else 0
        tensors = (*part._parameters.values(), *part._buffers.values())
        self.owned[part] = [id(tensor) for tensor in tensors if tensor is not None]

    def after(self, part: "nn.Module", inputs: Any, output: Any) -> None:
        """Record its output; a forward hook."""
        from torch import nn

        tokens = isinstance(part, nn.Linear) and output.ndim != 2  # their channels come later
        if not tokens:
            self.producer[id(output)] = part
        self.alive.append(output)

    def pairs(self) -> "list[tuple[nn.Module, nn.Module]]":
        """List the layers and norms that can become one."""
        pairs = []
        for norm, tensor in self.inputs.items():
            layer = self.producer.get(tensor)
            if layer is not None and _is_norm(norm) and _is_layer(layer):
                once = self.calls[layer] == self.calls[norm] == self.uses[tensor] == 1
                owned = (*self.owned[layer], *self.owned[norm])
                if once and max(self.uses[identity] for identity in owned) <= 1:
                    pairs.append((layer, norm))
        return pairs


def _observe(module: "nn.Module", shape: tuple[int, ...]) -> _Observation:
    """Run a network, on the meta device if its code allows, and record what reads what."""
    parts = [part for part in module.modules() if _is_norm(part) or _is_layer(part)]
    for device in ("meta", "cpu"):
        observation = _Observation()
        try:
            with ExitStack() as hooks:
                for part in parts:
                    hooks.enter_context(part.register_forward_pre_hook(observation.before))
                    hooks.enter_context(part.register_forward_hook(observation.after))
                _run(module, shape, device, observation)
        except MemoryError:
            raise
        except Exception:  # whatever a user's code raises; the export reports it
            observation = _Observation()
        if observation.calls:
            break
    return observation


def _run(
    module: "nn.Module", shape: tuple[int, ...], device: str, observation: _Observation
) -> None:
    import torch
    from torch.func import functional_call
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
        """Counts what every operator reads."""

        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = kwargs or {}
            observation.count(tree_leaves((args, kwargs)))
            return func(*args, **kwargs)

    own = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    tensors = {name: tensor.detach().to(device) for name, tensor in own.items()}
    with torch.no_grad(), Watch():  # type: ignore[no-untyped-call]
        output = functional_call(module, tensors, (torch.zeros(shape, device=device),))
    observation.count(tree_leaves(output))


def _is_layer(part: "nn.Module") -> bool:
    """Return whether a layer computes as torch's own does, so that a norm can be folded into it."""
    from torch import nn

    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.Linear)
    if type(part) not in kinds or part._forward_hooks or part._forward_pre_hooks:
        return False
    if isinstance(part, nn.modules.conv._ConvTransposeNd):
        return int(part.groups) == 1  # a group's weight counts its own outputs alone
    return True


def _is_norm(part: "nn.Module") -> bool:
    """Return whether a norm is torch's own, with running statistics."""
    from torch import nn

    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    if type(part) not in kinds or part._forward_hooks or part._forward_pre_hooks:
        return False
    tracked: bool = part._buffers["running_mean"] is not None
    return tracked and not bool(part.training)
