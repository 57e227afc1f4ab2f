"""The form that a network is trained and kept in: float32, complete, in a layout it can take."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

# attributes of a network, so that copies, pruned ones and those that were saved have them too
_CONTIGUOUS, _CAST = "paredown_contiguous", "paredown_cast"


def layout(module: "nn.Module") -> "torch.memory_format":
    """Return the memory format of a network's images and weights: channels last where it can.

    `choose_layout` decides it where a network is built, and `model.load` reads what it decided.
    """
    import torch

    contiguous = any(hasattr(part, _CONTIGUOUS) for part in module.modules())
    return torch.contiguous_format if contiguous else torch.channels_last


def set_contiguous(module: "nn.Module") -> None:
    """Let a network take contiguous images, and keep contiguous weights, from now on."""
    setattr(module, _CONTIGUOUS, True)


def arrange(module: "nn.Module") -> "nn.Module":
    """Put the weights of a network into its layout, in place."""
    return module.to(memory_format=layout(module))


def choose_layout(module: "nn.Module", input_shape: tuple[int, int, int]) -> None:
    """Find out whether a network takes channels last, with one image; `.view` often does not.

    Args:
        module: Left in eval mode, in its layout.
        input_shape: Channels, height and width of one image.
    """
    import torch

    module.eval()
    last, plain = torch.channels_last, torch.contiguous_format
    if any(weight.ndim == 5 for weight in module.parameters()) or (  # which has no such format
        not _takes(module, input_shape, last) and _takes(module, input_shape, plain)
    ):
        set_contiguous(module)
    arrange(module)


def _takes(
    module: "nn.Module", input_shape: tuple[int, int, int], layout: "torch.memory_format"
) -> bool:
    import torch

    device = next((weight.device for weight in module.parameters()), torch.device("cpu"))
    image = torch.zeros(1, *input_shape, device=device).contiguous(memory_format=layout)
    try:
        with torch.no_grad():
            module.to(memory_format=layout)(image)
    except (Exception, SystemExit):  # whatever a user's own code raises; the check tells it
        return False
    return True


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
