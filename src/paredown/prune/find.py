"""Find the groups of channels that are removed together, and those that must stay."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn

from paredown.model.attention import HeadAttention
from paredown.model.attention_exchange import exchange_attention
from paredown.prune.groups import Group, GroupMember, PruningGroups
from paredown.prune.label_store import CONVOLUTION, LabelStore, Use
from paredown.prune.trace import OUTPUT, Tracer
from paredown.prune.units import NOTHING

ONE = "its channels can only go all together"
HEADS = "the heads of an attention go one by one"


def find_groups(module: nn.Module, images: Tensor, couple: str = "leading") -> PruningGroups:
    """Find the groups of a network; its attention is exchanged for one with removable heads.

    Takes at least 2 normalized images; `couple` is explained in `trace.Tracer`.
    """
    training = module.training
    attention = exchange_attention(module.eval(), images)
    tracer = Tracer(module, couple)
    tracer.run(module, images)
    layers = (part for part in module.modules() if isinstance(part, (CONVOLUTION, nn.Linear)))
    if not tracer.ran.issuperset(layers):  # an auxiliary head, say, does not run in eval mode
        with _training(module), torch.random.fork_rng(devices=[]):
            tracer.run(module, images)
    tracer.store.finish()
    module.train(training)
    parts = chain(module.named_modules(), module.named_parameters(), module.named_buffers())
    names = {id(part): name for name, part in parts}
    hidden = {id(part.qkv): "out" for part in attention.values()}
    hidden.update({id(part.out_proj): "in" for part in attention.values()})
    for use in tracer.store.uses:
        if hidden.get(id(use.layer)) == use.side:
            tracer.store.units.fix(use.labels, HEADS)
    groups, fixed = _assemble(tracer.store, names)
    groups += [_heads(name, part) for name, part in attention.items() if part.heads > 1]
    order = {name: index for index, name in enumerate(names.values())}
    groups.sort(key=lambda group: order[group.name])
    single = {group.name: ONE for group in groups if group.units == 1}
    divisible = tuple(group for group in groups if group.units > 1)
    return PruningGroups(divisible, {**single, **fixed})


@contextmanager
def _training(module: nn.Module) -> Iterator[None]:
    """Set training mode without norms and dropout, and restore the buffers on exit."""
    before = [(buffer, buffer.clone()) for buffer in module.buffers()]
    module.train()
    for part in module.modules():
        if isinstance(part, (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd)):
            part.eval()
    try:
        yield
    finally:
        module.eval()
        for buffer, values in before:
            buffer.copy_(values)


def _assemble(store: LabelStore, names: Mapping[int, str]) -> tuple[list[Group], dict[str, str]]:
    """Return groups of the units that lie in the same layers, and why other layers stay."""
    units = [store.units.roots(use.labels) for use in store.uses]
    layers: dict[int, Counter[int]] = defaultdict(Counter)  # of a unit: how often in which use
    produced = set()
    for index, (use, rows) in enumerate(zip(store.uses, units, strict=True)):
        for unit in rows.tolist():
            layers[unit][index] += 1
        produced |= set(rows.tolist()) if use.produces else set()
    together: dict[tuple[tuple[int, int], ...], list[int]] = defaultdict(list)
    for unit in produced - {NOTHING}:
        if not store.units.reason(unit):
            together[tuple(sorted(layers[unit].items()))].append(unit)
    pairs = list(zip(store.uses, units, strict=True))
    groups = [_group(pairs, list(dict(key)), set(own), names) for key, own in together.items()]
    fixed: dict[str, str] = {}
    for use, rows in pairs:
        reasons = [store.units.reason(unit) for unit in rows.tolist()]
        if use.produces and all(reasons) and not {OUTPUT, HEADS} & set(reasons):
            fixed[names[id(use.layer)]] = reasons[0]
    return groups, fixed


def _group(
    pairs: Sequence[tuple[Use, Tensor]],
    uses: Sequence[int],
    own: set[int],
    names: Mapping[int, str],
) -> Group:
    """Return the group of the units `own`, which lie in the `uses` of all pairs (use, units)."""
    order = {key: index for index, key in enumerate(names)}
    producers = [index for index in uses if pairs[index][0].produces]
    first = min(producers, key=lambda index: order[id(pairs[index][0].layer)])
    row_units = [unit for unit in pairs[first][1].tolist() if unit in own]
    index_of = {unit: index for index, unit in enumerate(dict.fromkeys(row_units))}
    members = []
    for index in uses:
        use, units = pairs[index]
        rows = [row for row, unit in enumerate(units.tolist()) if unit in own]
        indices = torch.tensor([index_of[int(units[row])] for row in rows])
        name = names[id(use.layer)]
        rows_of_use = torch.tensor(rows)
        members.append(GroupMember(name, use.layer, use.side, rows_of_use, indices, use.produces))
    width = len(row_units) // len(index_of)
    return Group(names[id(pairs[first][0].layer)], len(index_of), width, tuple(members))


def _heads(name: str, attention: HeadAttention) -> Group:
    """Return a group of the heads of an attention."""
    units = torch.arange(attention.heads).repeat_interleave(attention.head_width)
    qkv_rows, rows = torch.arange(3 * len(units)), torch.arange(len(units))
    members = (
        GroupMember(f"{name}.qkv", attention.qkv, "out", qkv_rows, units.repeat(3), produces=True),
        GroupMember(f"{name}.out_proj", attention.out_proj, "in", rows, units),
    )
    return Group(name, attention.heads, attention.head_width, members, attention=attention)
