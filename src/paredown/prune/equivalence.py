"""The one truth of pruning: the smaller network answers as the whole one with channels masked.

Masked are the removed channels' weights, biases and norms, and whatever reads them. A norm over
several channels has other statistics without them: there the reference is the norm of those that
are left.
"""

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from paredown.prune.find import find_groups
from paredown.prune.groups import Found, Group, remove
from paredown.prune.masks import channel_masks

TOLERANCE = 1e-5  # of the largest difference between two images' logits
SINGLE = 1e-3  # the same, of a network that cannot be computed in float64

LEADING, TRAILING = "leading", "trailing"
STUCK = "the network's own code counts on its width"
DIFFERENT = "without some of its channels the network would compute something else"
UNTRAINABLE = "the network's code for training counts on the width of some layers"
FAILURES = (RuntimeError, ValueError, IndexError, AssertionError, TypeError, KeyError)
REMEMBERED = 256  # shapes

_PROVEN: dict[Any, tuple[str, dict[str, str]]] = {}

Chosen = Mapping[str, Sequence[int]]
"""The units that go, by the group's name."""


def difference(module: nn.Module, prunable: Found, chosen: Chosen, images: Tensor) -> float:
    """Compare the network without some units to the network with them masked.

    Args:
        module: In eval mode, float64 where it can be; stays as it is.
        prunable: Its groups.
        chosen: The units that go.
        images: Normalized, (N, C, H, W), N at least 2, in the network's precision.

    Returns:
        The largest difference, as a share of how far two images' logits are apart, over the
        tolerance: above 1 they are different networks; infinity if the smaller one cannot run.
    """
    groups = [group for group in prunable.groups if chosen.get(group.name)]
    smaller = copy.deepcopy(module)
    remove(smaller, [(group.within(smaller), chosen[group.name]) for group in groups])
    try:
        with torch.no_grad():
            answers = smaller(images)
    except FAILURES:
        return float("inf")
    expected = _masked(module, groups, chosen, images)
    if answers.shape != expected.shape:
        return float("inf")
    limit = TOLERANCE if images.dtype == torch.float64 else SINGLE
    apart = float((expected - expected.flip(0)).abs().max())
    least = float(expected.abs().max()) * torch.finfo(images.dtype).eps * 1e3
    return float((answers - expected).abs().max()) / max(apart * limit, least)


def _masked(module: nn.Module, groups: Sequence[Group], chosen: Chosen, images: Tensor) -> Tensor:
    """Compute the logits with units masked."""
    before: list[tuple[Tensor, Tensor]] = []
    rows: dict[int, Tensor] = {}
    with torch.no_grad():
        for name, mask in channel_masks(groups, chosen).items():
            path, _, leaf = name.rpartition(".")
            tensor = getattr(module.get_submodule(path), leaf)
            before.append((tensor, tensor.clone()))
            tensor.mul_(mask)
        for group in groups:
            gone = torch.tensor(chosen[group.name], dtype=torch.int64)
            for part in group.slices:
                if part.side == "norm" and isinstance(part.weight, Tensor):
                    stays = rows.setdefault(id(part.weight), torch.ones(len(part.weight)))
                    stays[part.rows[torch.isin(part.units, gone)]] = 0
        try:
            with _NormsOfTheRest(rows):
                logits: Tensor = module(images)
        finally:
            for tensor, values in reversed(before):
                tensor.copy_(values)
    return logits


class _NormsOfTheRest(TorchFunctionMode):
    """Computes norms over channels from those that stay, and zeros for the others.

    Args:
        rows: 1 for a channel that stays and 0 for one that goes, by the id of the norm's weight.
    """

    def __init__(self, rows: Mapping[int, Tensor]) -> None:
        super().__init__()
        self._rows = {key: row.nonzero().flatten() for key, row in rows.items() if not row.all()}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Gather what stays, norm it, and scatter it among zeros."""
        kwargs = kwargs or {}
        names = NORMS.get(func)
        named = {**dict(zip(names or (), args, strict=False)), **kwargs}
        rows = self._rows.get(id(named.get("weight"))) if names else None
        if rows is None:
            return func(*args, **kwargs)
        images, axis = named["input"], 1 if func is F.group_norm else -1
        named["input"] = images.index_select(axis, rows)
        for leaf in ("weight", "bias"):
            if named.get(leaf) is not None:
                named[leaf] = named[leaf][rows]
        if "normalized_shape" in named:
            named["normalized_shape"] = (len(rows),)
        return torch.zeros_like(images).index_copy_(axis, rows, func(**named))


NORMS: dict[Any, tuple[str, ...]] = {
    F.layer_norm: ("input", "normalized_shape", "weight", "bias", "eps"),
    F.rms_norm: ("input", "normalized_shape", "weight", "eps"),
    F.group_norm: ("input", "num_groups", "weight", "bias", "eps"),
}


def proven(module: nn.Module, images: Tensor) -> Found:
    """Find the groups of a network that can lose channels and still compute the same.

    Every group is tried on a copy with random weights: half of its units go, then the other half,
    and the answers have to be those of the masked network. A group that fails stays whole. What
    was tried is remembered by the network's structure, so that a sweep tries a shape once.

    Args:
        module: Maps (N, C, H, W) to logits; its attention is exchanged where heads can go.
        images: Normalized, (N, C, H, W), N at least 2.
    """
    prunable = find_groups(module, images)
    shapes = tuple((name, tuple(tensor.shape)) for name, tensor in module.state_dict().items())
    key = type(module), repr(module), shapes, tuple(images.shape)
    if key not in _PROVEN:
        if len(_PROVEN) > REMEMBERED:
            _PROVEN.clear()
        _PROVEN[key] = _prove(module, prunable, images)
    couple, reasons = _PROVEN[key]
    if couple != LEADING:
        prunable = find_groups(module, images, couple)
    for name, reason in reasons.items():
        prunable = prunable.without([name], reason)
    return prunable


def _prove(module: nn.Module, prunable: Found, images: Tensor) -> tuple[str, dict[str, str]]:
    """Return how reshapes can shrink, and why groups of that finding stay whole, by name."""
    copied, images = _in_double(_randomized(module), images)
    groups = tuple(group.within(copied) for group in prunable.groups)
    prunable = Found(groups, prunable.fixed)
    reasons = _failing(copied, prunable, images)
    if not reasons:
        return LEADING, reasons
    other = find_groups(copied, images, TRAILING)
    if _widths(other) == _widths(prunable):
        return LEADING, reasons
    others = _failing(copied, other, images)
    better = _channels(other, others) > _channels(prunable, reasons)
    return (TRAILING, others) if better else (LEADING, reasons)


def _widths(prunable: Found) -> list[tuple[str, int, int]]:
    return [(group.name, group.units, group.width) for group in prunable.groups]


def _channels(prunable: Found, without: Mapping[str, str]) -> int:
    """Count the channels that can go."""
    return sum(group.channels for group in prunable.groups if group.name not in without)


def _failing(module: nn.Module, prunable: Found, images: Tensor) -> dict[str, str]:
    """Return which groups would compute something else, and why.

    All are tried together, then those that are alike: of a network's blocks mostly all fail or
    none. Where two that are alike fail, the rest of them is left whole untried.
    """
    halves = _halves(prunable)
    passed: list[str] = []

    def attempt(names: Sequence[str]) -> str:
        for half in halves:
            chosen = {name: half[name] for name in (*passed, *names)}
            worst = difference(module, prunable, chosen, images)
            if worst > 1:
                return STUCK if worst == float("inf") else DIFFERENT
        passed.extend(names)
        return ""

    everything = [group.name for group in prunable.groups]
    reasons: dict[str, str] = {}
    alike_groups = _alike(prunable.groups) if attempt(everything) else []
    for alike in alike_groups:
        reason = attempt(alike)
        failures = 0
        for name in alike if reason and len(alike) > 1 else ():
            if failures < 2:
                reason = attempt([name])
                failures += bool(reason)
            if name not in passed:
                reasons[name] = reason
        if reason and len(alike) == 1:
            reasons[alike[0]] = reason
    chosen = {name: halves[0][name] for name in passed}
    return reasons if _trains(module, prunable, chosen, images) else _all(prunable, UNTRAINABLE)


def _all(prunable: Found, reason: str) -> dict[str, str]:
    return {group.name: reason for group in prunable.groups}


def _trains(module: nn.Module, prunable: Found, chosen: Chosen, images: Tensor) -> bool:
    """Check whether the smaller network runs in training, too."""
    smaller = copy.deepcopy(module)
    groups = [group.within(smaller) for group in prunable.groups if chosen.get(group.name)]
    remove(smaller, [(group, chosen[group.name]) for group in groups])
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            smaller.train()(images)
    except FAILURES:
        return False
    return True


def _halves(prunable: Found) -> list[dict[str, list[int]]]:
    """Draw half of every group's units, and the other half."""
    generator = torch.Generator().manual_seed(0)
    halves: list[dict[str, list[int]]] = [{}, {}]
    for group in prunable.groups:
        order = torch.randperm(group.units, generator=generator).tolist()
        halves[0][group.name], halves[1][group.name] = order[::2], order[1::2]
    return halves


def _alike(groups: Sequence[Group]) -> list[list[str]]:
    """Put the names of groups together that are made alike and differ in numbers of blocks."""
    together: dict[Any, list[str]] = {}
    for group in groups:
        key = group.kind, re.sub(r"\d+", "", group.name)
        together.setdefault(key, []).append(group.name)
    return list(together.values())


def _in_double(module: nn.Module, images: Tensor) -> tuple[nn.Module, Tensor]:
    """Turn a network into float64, unless something in it is float32 whatever its weights are."""
    module.double()
    try:
        with torch.no_grad():
            module(images.double())
    except RuntimeError:
        return module.float(), images
    return module, images.double()


def _randomized(module: nn.Module) -> nn.Module:
    """Copy a network with random weights, so that nothing is near zero by chance or by design."""
    copied = copy.deepcopy(module).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in (*copied.parameters(), *copied.buffers()):
            if not tensor.is_floating_point():
                continue
            if tensor.ndim > 1 and tensor.numel() > max(tensor.shape):
                bound = (3 * len(tensor) / tensor.numel()) ** 0.5  # of variance 1
                tensor.uniform_(-bound, bound, generator=generator)
            else:
                tensor.uniform_(0.5, 1.5, generator=generator)
    return copied
