"""The form that a network is trained and saved in: float32, complete, in its layout."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

# attributes of a network, so that copied, pruned and saved ones have them too
_CONTIGUOUS, _WIDE, _CAST = "paredown_contiguous", "paredown_wide", "paredown_cast"


def layout(module: nn.Module) -> torch.memory_format:
    """Return the memory format of a network's images and weights: channels last where it can.

    `settle` decides it where a network is built, and `model.load` reads its decision.
    """
    contiguous = any(hasattr(part, _CONTIGUOUS) for part in module.modules())
    return torch.contiguous_format if contiguous else torch.channels_last


def arrange(module: nn.Module) -> nn.Module:
    """Convert a network's weights to its layout and its logits to float32, in place."""
    if hasattr(module, _WIDE) and not hasattr(type(module), _WIDE):
        _answer_in_float32(module)
    return module.to(memory_format=layout(module))


def settle(module: nn.Module, input_shape: tuple[int, int, int]) -> None:
    """Determine a network's layout and the type of its logits from one image, and record both.

    `.view` often cannot take channels last. The network is left in eval mode.
    """
    module.eval()
    has_volumes = any(weight.ndim == 5 for weight in module.parameters())  # no channels last for it
    logits = None if has_volumes else _try(module, input_shape, torch.channels_last)
    if logits is None:
        logits = _try(module, input_shape, torch.contiguous_format)
        if has_volumes or logits is not None:
            setattr(module, _CONTIGUOUS, True)
    if torch.is_tensor(logits) and logits.is_floating_point() and logits.dtype != torch.float32:
        setattr(module, _WIDE, True)
    arrange(module)


def _try(module: nn.Module, input_shape: tuple[int, int, int], layout: torch.memory_format) -> Any:
    """Return a network's output for an image in a layout; None if it fails."""
    device = next((weight.device for weight in module.parameters()), torch.device("cpu"))
    image = torch.zeros(1, *input_shape, device=device).contiguous(memory_format=layout)
    try:
        with torch.no_grad():
            return module.to(memory_format=layout)(image)
    except (Exception, SystemExit):  # of a user's own code; the trial reports it
        return None


def _answer_in_float32(module: nn.Module) -> None:
    """Cast the logits of a network of another type; a hook would be lost in tracing."""
    base: Any = type(module)

    @functools.wraps(base.forward)  # exporters read the names of its arguments
    def forward(self: Any, *images: Any, **options: Any) -> Any:
        logits = base.forward(self, *images, **options)
        return logits.float() if hasattr(logits, "float") else logits  # a tuple in training

    module.__class__ = type(base.__name__, (base,), {"forward": forward, _WIDE: True})


def answers_wide(module: nn.Module) -> bool:
    """Return whether the logits of a network's own code are cast to float32."""
    return hasattr(module, _WIDE)


def complete(module: nn.Module, input_shape: tuple[int, int, int]) -> nn.Module:
    """Initialize lazy layers and cast float64 or half weights to float32, in place."""
    if any(map(is_lazy, [*module.parameters(), *module.buffers()])):
        training = module.training
        with torch.no_grad():
            module.eval()(torch.zeros(1, *input_shape))
        module.train(training)
    types = {weight.dtype for weight in module.parameters() if weight.is_floating_point()}
    others = sorted(str(dtype).removeprefix("torch.") for dtype in types - {torch.float32})
    if others:
        setattr(module.float(), _CAST, " and ".join(others))
    detach_cached(module)
    return module


def cast_from(module: nn.Module) -> str:
    """Return the types of weights that `complete` cast; empty if it cast none."""
    return str(getattr(module, _CAST, ""))


def not_finite(module: nn.Module) -> str | None:
    """Return the first weight or statistic that is not finite, such as `nan in norm.bias`.

    Buffers may hold infinity, as masks of attention do.
    """
    for name, weight in module.named_parameters():
        if not torch.isfinite(weight.sum()):
            return f"{'nan' if torch.isnan(weight).any() else 'infinity'} in {name}"
    for name, buffer in module.named_buffers():
        if buffer.is_floating_point() and torch.isnan(buffer).any():
            return f"nan in {name}"
    return None


def fill_vectors(module: nn.Module) -> None:
    """Fill biases and norms with random numbers: exporters leave out a bias that is all zeros."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.ndim == 1 and tensor.is_floating_point():
            tensor.data.uniform_(0.5, 1.5)


def detach_cached(module: nn.Module) -> None:
    """Detach tensors that a network computed and stored, without which it cannot be copied.

    `nn.utils.weight_norm` stores its weight so, and other code its last activations.
    """
    for part in module.modules():
        for name, value in plain_tensors(part).items():
            if value.grad_fn is not None:
                vars(part)[name] = value.detach()


def plain_tensors(part: nn.Module) -> dict[str, Tensor]:
    """List the tensors that are attributes of a module, neither parameters nor buffers."""
    return {name: value for name, value in vars(part).items() if torch.is_tensor(value)}
