"""Proof of a group: the smaller network computes the same as the original with channels masked.

The mask covers the removed channels' weights, biases and norms, and the weights that read them. A
norm over several channels has other statistics without them; the reference is then the norm of the
remaining ones.
"""

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from paredown.prune.find import find_groups
from paredown.prune.groups import Group, PruningGroups, remove
from paredown.prune.masks import channel_masks

TOLERANCE = 1e-5  # of the largest difference between two images' logits
SINGLE = 1e-3  # the same, of a network that cannot be computed in float64

LEADING, TRAILING = "leading", "trailing"
STUCK = "the network's own code counts on its width"
DIFFERENT = "without some of its channels the network would compute something else"
UNTRAINABLE = "the network's code for training counts on the width of some layers"
FAILURES = (RuntimeError, ValueError, IndexError, AssertionError, TypeError, KeyError)
CACHE_SIZE = 256  # shapes
NORMS = (F.layer_norm, F.rms_norm, F.group_norm)

_PROVEN: dict[Any, tuple[str, dict[str, str]]] = {}

Chosen = Mapping[str, Sequence[int]]
"""Indices of the units to remove, by the group's name."""


def difference(module: nn.Module, prunable: PruningGroups, chosen: Chosen, images: Tensor) -> float:
    """Compare the network without some units to the network with them masked, in eval mode.

    Returns:
        The largest difference of logits, relative to the difference between two images, over the
        tolerance: above 1 the networks differ; infinity if the smaller one cannot run.
    """
    groups = [group for group in prunable.groups if chosen.get(group.name)]
    smaller = _smaller(module, groups, chosen)
    try:
        with torch.no_grad():
            logits = smaller(images)
    except FAILURES:
        return float("inf")
    expected = _masked(module, groups, chosen, images)
    if logits.shape != expected.shape:
        return float("inf")
    limit = TOLERANCE if images.dtype == torch.float64 else SINGLE
    apart = float((expected - expected.flip(0)).abs().max())
    least = float(expected.abs().max()) * torch.finfo(images.dtype).eps * 1e3
    return float((logits - expected).abs().max()) / max(apart * limit, least)


def _smaller(module: nn.Module, groups: Sequence[Group], chosen: Chosen) -> nn.Module:
    smaller = copy.deepcopy(module)
    remove(smaller, [(group.within(smaller), chosen[group.name]) for group in groups])
    return smaller


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
            removed = torch.tensor(chosen[group.name], dtype=torch.int64)
            for part in group.members:
                if part.side == "norm" and isinstance(part.weight, Tensor):
                    stays = rows.setdefault(id(part.weight), torch.ones(len(part.weight)))
                    stays[part.rows[torch.isin(part.units, removed)]] = 0
        try:
            with _RemainingNorms(rows):
                logits: Tensor = module(images)
        finally:
            for tensor, values in reversed(before):
                tensor.copy_(values)
    return logits


class _RemainingNorms(TorchFunctionMode):
    """Computes norms over the remaining channels, and zeros for the others.

    `rows` has 1 for a remaining channel and 0 for a removed one, by the id of the norm's weight.
    """

    def __init__(self, rows: Mapping[int, Tensor]) -> None:
        super().__init__()
        self._rows = {key: row.nonzero().flatten() for key, row in rows.items() if not row.all()}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Gather the remaining channels, normalize them, and scatter them among zeros."""
        kwargs = kwargs or {}
        named = signature(func).bind(*args, **kwargs).arguments if func in NORMS else {}
        rows = self._rows.get(id(named.get("weight")))
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


def proven(module: nn.Module, images: Tensor) -> PruningGroups:
    """Find the groups of a network that can lose channels and still compute the same.

    On a copy with random weights, half of a group's units are removed, then the other half, and
    the logits must equal those of the masked network; a group that fails keeps its width. Results
    are cached by the network's structure, so that a sweep tests each shape once.
    """
    prunable = find_groups(module, images)
    shapes = tuple((name, tuple(tensor.shape)) for name, tensor in module.state_dict().items())
    key = type(module), repr(module), shapes, tuple(images.shape)
    if key not in _PROVEN:
        if len(_PROVEN) > CACHE_SIZE:
            _PROVEN.clear()
        _PROVEN[key] = _prove(module, prunable, images)
    couple, reasons = _PROVEN[key]
    if couple != LEADING:
        prunable = find_groups(module, images, couple)
    for name, reason in reasons.items():
        prunable = prunable.without([name], reason)
    return prunable


def _prove(
    module: nn.Module, prunable: PruningGroups, images: Tensor
) -> tuple[str, dict[str, str]]:
    """Return how reshapes can shrink, and why groups keep their width then, by name."""
    copied, images = _in_double(_randomized(module), images)
    groups = tuple(group.within(copied) for group in prunable.groups)
    prunable = PruningGroups(groups, prunable.fixed)
    reasons = _failing(copied, prunable, images)
    if not reasons:
        return LEADING, reasons
    other = find_groups(copied, images, TRAILING)
    if _widths(other) == _widths(prunable):
        return LEADING, reasons
    others = _failing(copied, other, images)
    better = _channels(other, others) > _channels(prunable, reasons)
    return (TRAILING, others) if better else (LEADING, reasons)


def _widths(prunable: PruningGroups) -> list[tuple[str, int, int]]:
    return [(group.name, group.units, group.width) for group in prunable.groups]


def _channels(prunable: PruningGroups, without: Mapping[str, str]) -> int:
    return sum(group.channels for group in prunable.groups if group.name not in without)


def _failing(module: nn.Module, prunable: PruningGroups, images: Tensor) -> dict[str, str]:
    """Return the groups without which the network would compute something else, and why.

    All are tested together, then in sets of similar ones, which mostly all fail or none. Once two
    of a set fail, the rest of it is not tested and keeps its width.
    """
    halves = _halves(prunable)
    passed: list[str] = []

    def failure(names: Sequence[str]) -> str:
        for half in halves:
            chosen = {name: half[name] for name in (*passed, *names)}
            worst = difference(module, prunable, chosen, images)
            if worst > 1:
                return STUCK if worst == float("inf") else DIFFERENT
        passed.extend(names)
        return ""

    reasons: dict[str, str] = {}
    everything = [group.name for group in prunable.groups]
    for names in _alike(prunable.groups) if failure(everything) else []:
        reason = failure(names)
        if reason and len(names) == 1:
            reasons[names[0]] = reason
        elif reason:
            failures = 0
            for name in names:
                if failures < 2:
                    reason = failure([name])
                    failures += bool(reason)
                if name not in passed:
                    reasons[name] = reason
    chosen = {name: halves[0][name] for name in passed}
    if _trains(module, prunable, chosen, images):
        return reasons
    return dict.fromkeys(everything, UNTRAINABLE)


def _trains(module: nn.Module, prunable: PruningGroups, chosen: Chosen, images: Tensor) -> bool:
    """Check whether the smaller network also runs in training mode."""
    groups = [group for group in prunable.groups if chosen.get(group.name)]
    smaller = _smaller(module, groups, chosen)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            smaller.train()(images)
    except FAILURES:
        return False
    return True


def _halves(prunable: PruningGroups) -> list[dict[str, list[int]]]:
    """Draw a random half of every group's units, and the other half."""
    generator = torch.Generator().manual_seed(0)
    halves: list[dict[str, list[int]]] = [{}, {}]
    for group in prunable.groups:
        order = torch.randperm(group.units, generator=generator).tolist()
        halves[0][group.name], halves[1][group.name] = order[::2], order[1::2]
    return halves


def _alike(groups: Sequence[Group]) -> list[list[str]]:
    """Return sets of group names that differ only in the numbers of blocks."""
    together: dict[Any, list[str]] = {}
    for group in groups:
        key = group.kind, re.sub(r"\d+", "", group.name)
        together.setdefault(key, []).append(group.name)
    return list(together.values())


def _in_double(module: nn.Module, images: Tensor) -> tuple[nn.Module, Tensor]:
    """Convert a network to float64, unless its code insists on float32."""
    module.double()
    try:
        with torch.no_grad():
            module(images.double())
    except RuntimeError:
        return module.float(), images
    return module, images.double()


def _randomized(module: nn.Module) -> nn.Module:
    """Return a copy with random weights, none of them near zero by chance or by design."""
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
