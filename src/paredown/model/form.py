"""The form that a network is trained and kept in: float32, complete, in a layout it can take."""

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

# attributes of a network, so that copies, pruned ones and those that were saved have them too
_CONTIGUOUS, _WIDE, _CAST = "paredown_contiguous", "paredown_wide", "paredown_cast"


def layout(module: "nn.Module") -> "torch.memory_format":
    """Return the memory format of a network's images and weights: channels last where it can.

    `settle` decides it where a network is built, and `model.load` reads what it decided.
    """
    import torch

    contiguous = any(hasattr(part, _CONTIGUOUS) for part in module.modules())
    return torch.contiguous_format if contiguous else torch.channels_last


def arrange(module: "nn.Module") -> "nn.Module":
    """Put the weights of a network into its layout, in place, and let it answer in float32."""
    if hasattr(module, _WIDE) and not hasattr(type(module), _WIDE):
        _answer_in_float32(module)
    return module.to(memory_format=layout(module))


def settle(module: "nn.Module", input_shape: tuple[int, int, int]) -> None:
    """Find out from one image which layout a network takes, and what type of logits it gives.

    `.view` often cannot take channels last. What is found out stays with the network.

    Args:
        module: Left in eval mode, in its layout.
        input_shape: Channels, height and width of one image.
    """
    import torch

    module.eval()
    last, plain = torch.channels_last, torch.contiguous_format
    five = any(weight.ndim == 5 for weight in module.parameters())  # there is no such format for it
    answer = None if five else _try(module, input_shape, last)
    if answer is None:
        answer = _try(module, input_shape, plain)
        if five or answer is not None:
            setattr(module, _CONTIGUOUS, True)
    if torch.is_tensor(answer) and answer.is_floating_point() and answer.dtype != torch.float32:
        setattr(module, _WIDE, True)
    arrange(module)


def _try(
    module: "nn.Module", input_shape: tuple[int, int, int], layout: "torch.memory_format"
) -> Any:
    """Return what a network answers to an image in a layout; None if it fails."""
    import torch

    device = next((weight.device for weight in module.parameters()), torch.device("cpu"))
    image = torch.zeros(1, *input_shape, device=device).contiguous(memory_format=layout)
    try:
        with torch.no_grad():
            return module.to(memory_format=layout)(image)
    except (Exception, SystemExit):  # whatever a user's own code raises; the check tells it
        return None


def _answer_in_float32(module: "nn.Module") -> None:
    """Let a network of one's own cast its logits; a hook would be lost in tracing."""
    base: Any = type(module)

    @functools.wraps(base.forward)  # exporters read the names of its arguments
    def forward(self: Any, *images: Any, **more: Any) -> Any:
        answer = base.forward(self, *images, **more)
        return answer.float() if hasattr(answer, "float") else answer  # a tuple in training

    module.__class__ = type(base.__name__, (base,), {"forward": forward, _WIDE: True})


def answers_wide(module: "nn.Module") -> bool:
    """Tell whether the logits of a network's own code are cast to float32."""
    return hasattr(module, _WIDE)


def complete(module: "nn.Module", input_shape: tuple[int, int, int]) -> "nn.Module":
    """Give lazy layers their shapes and float64 or half weights float32, in place.

    Args:
        module: Freshly built.
        input_shape: Channels, height and width of one image.
    """
    import torch
    from torch.nn.parameter import is_lazy

    weights = [*module.parameters(), *module.buffers()]
    if any(map(is_lazy, weights)):
        training = module.training
        with torch.no_grad():
            module.eval()(torch.zeros(1, *input_shape))
        module.train(training)
    others = other_types(module)
    if others:
        setattr(module.float(), _CAST, others)
    detach_cached(module)
    return module


def cast_from(module: "nn.Module") -> str:
    """Name the types of weights that `complete` cast; empty if it cast none."""
    return str(getattr(module, _CAST, ""))


def other_types(module: "nn.Module") -> str:
    """Name the types of floating-point weights that are not float32; empty if all are."""
    import torch

    types = {weight.dtype for weight in module.parameters() if weight.is_floating_point()}
    return " and ".join(sorted(str(kind)[6:] for kind in types - {torch.float32}))


def not_finite(module: "nn.Module") -> str | None:
    """Name the first weight or statistic that cannot be computed with, such as `nan in norm.bias`.

    Buffers may hold infinity, as masks of attention do.
    """
    import torch

    for name, weight in module.named_parameters():
        if not torch.isfinite(weight.sum()):
            return f"{'nan' if torch.isnan(weight).any() else 'infinity'} in {name}"
    for name, buffer in module.named_buffers():
        if buffer.is_floating_point() and torch.isnan(buffer).any():
            return f"nan in {name}"
    return None


def detach_cached(module: "nn.Module") -> None:
    """Detach tensors that a network computed and kept, without which it cannot be copied.

    `nn.utils.weight_norm` keeps the weight that it computed so, and other code what it saw last.
    """
    for part in module.modules():
        for name, value in plain_tensors(part).items():
            if value.grad_fn is not None:
                vars(part)[name] = value.detach()


def plain_tensors(part: "nn.Module") -> "dict[str, Tensor]":
    """List the tensors that are attributes of a module, neither parameters nor buffers."""
    import torch

    return {name: value for name, value in vars(part).items() if torch.is_tensor(value)}
