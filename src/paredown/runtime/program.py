"""The program that torch.export makes of a network, which every engine but eager torch takes."""

import copy
from typing import TYPE_CHECKING, Any

from paredown.runtime.fold import fold_norms
from paredown.runtime.quiet import quiet

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

BATCH = 2  # images that stand for any number of them: torch.export takes 1 for a constant


def exported(
    module: "nn.Module", shape: tuple[int, int, int], any_batch: bool = False
) -> "ExportedProgram":
    """Export a network in eval mode, with batch norms folded; the network stays as it is.

    Args:
        module: Maps (N, C, H, W) to logits (N, classes).
        shape: Channels, height and width of one image.
        any_batch: Whether for any number of images, rather than for one.

    Raises:
        Exception: Whatever torch.export or a user's code raises; see `blame`.
    """
    module = prepare(module)
    fold_norms(module, shape, BATCH if any_batch else 1)
    return traced(module, shape, any_batch)


def traced(
    module: "nn.Module", shape: tuple[int, int, int], any_batch: bool = False
) -> "ExportedProgram":
    """Export a network as it is: by running it, or else by reading its code.

    Reading takes longer, and takes `len(images)`, which running fixes at the batch that it saw.
    """
    import torch

    device = next((one.device for one in module.parameters()), torch.device("cpu"))
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
            except Exception:  # the first way says it in the user's terms
                raise error from None


def prepare(module: "nn.Module") -> "nn.Module":
    """Copy a network with its parametrizations baked in, nothing in place, and contiguous.

    Channels-last strides would end up in the graph as an `as_strided` of six nodes.
    """
    import torch

    module = baked(module).eval()
    for part in module.modules():
        if getattr(part, "inplace", False):
            part.inplace = False  # type: ignore[assignment]
    return module.to(memory_format=torch.contiguous_format)


def baked(module: "nn.Module") -> "nn.Module":
    """Copy a network with the weights that weight norms and the like compute as plain ones."""
    module = copied(module)
    _bake(module)
    return module


def copied(module: "nn.Module") -> "nn.Module":
    """Copy a network, also one that keeps computed tensors, as the old weight norm does."""
    import torch

    computed = {
        id(value): value.detach().clone()
        for part in module.modules()
        for value in vars(part).values()
        if isinstance(value, torch.Tensor) and not value.is_leaf
    }
    return copy.deepcopy(module, computed)


def _bake(module: "nn.Module") -> None:
    """Put the weight that a weight norm, a spectral norm or the like computes in its place.

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
