"""Networks as torch.export programs, the input of every engine but eager torch."""

import copy
from typing import TYPE_CHECKING, Any

from paredown.runtime.quiet import quiet

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

BATCH = 2  # images in the example of a dynamic batch: torch.export takes 1 for a constant


def traced(
    module: "nn.Module", shape: tuple[int, int, int], any_batch: bool = False
) -> "ExportedProgram":
    """Export a network without changes: non-strict, or else strict.

    Strict takes longer, and takes `len(images)`, which non-strict fixes at the example's batch.
    """
    import torch

    device = next((weight.device for weight in module.parameters()), torch.device("cpu"))
    images = torch.zeros(BATCH if any_batch else 1, *shape, device=device)
    shapes = ({0: torch.export.Dim("batch", min=1)},) if any_batch else None
    with quiet():
        try:
            return torch.export.export(module, (images,), dynamic_shapes=shapes)
        except MemoryError:
            raise
        except Exception as error:  # whatever a user's code raises
            try:
                return torch.export.export(module, (images,), dynamic_shapes=shapes, strict=True)
            except Exception:  # the first error is in the user's terms
                raise error from None


def prepare(module: "nn.Module") -> "nn.Module":
    """Copy a network with parametrizations baked in, no operator in place, and contiguous weights.

    Channels-last strides would end up in the graph as an `as_strided` of six nodes.
    """
    import torch

    module = baked(module).eval()
    for part in module.modules():
        if getattr(part, "inplace", False):
            part.inplace = False  # type: ignore[assignment]
    return module.to(memory_format=torch.contiguous_format)


def baked(module: "nn.Module") -> "nn.Module":
    """Copy a network with the weights that weight norms and the like compute as parameters."""
    module = copied(module)
    _bake(module)
    return module


def copied(module: "nn.Module") -> "nn.Module":
    """Copy a network, also one that stores computed tensors, as the old weight norm does."""
    import torch

    computed = {
        id(value): value.detach().clone()
        for part in module.modules()
        for value in vars(part).values()
        if isinstance(value, torch.Tensor) and not value.is_leaf
    }
    return copy.deepcopy(module, computed)


def _bake(module: "nn.Module") -> None:
    """Replace weight norms, spectral norms and the like by the weights that they compute, in place.

    torch's own `remove_parametrizations` would take the weight from the network that was copied,
    too: both share a class.
    """
    from torch import nn
    from torch.nn.utils import parametrize, remove_spectral_norm, remove_weight_norm
    from torch.nn.utils.spectral_norm import SpectralNorm
    from torch.nn.utils.weight_norm import WeightNorm

    old: dict[type, Any] = {WeightNorm: remove_weight_norm, SpectralNorm: remove_spectral_norm}
    for part in list(module.modules()):
        if parametrize.is_parametrized(part):
            lists: Any = part.parametrizations
            weights = {name: getattr(part, name).detach().clone() for name in lists}
            del part.parametrizations
            part.__class__ = parametrize.type_before_parametrizations(part)
            for name, weight in weights.items():
                part.register_parameter(name, nn.Parameter(weight, requires_grad=False))
        for hook in list(part._forward_pre_hooks.values()):
            if type(hook) in old:
                old[type(hook)](part, hook.name)  # type: ignore[attr-defined]
