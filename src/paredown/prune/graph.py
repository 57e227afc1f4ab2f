"""What Torch-Pruning sees of a network, with its reshapes told apart."""

import math
from collections.abc import Sequence

import torch_pruning as tp

OP = tp.ops.OPTYPE


class Graph(tp.DependencyGraph):  # type: ignore[misc]
    """A graph that knows reshapes which regroup channels from those that flatten pixels.

    Torch-Pruning 1.6 takes all for flattening: it divides by zero in ShuffleNetV2, and needs
    12 GB for Swin's windows.
    """

    def _trace(self, *arguments: object, **options: object) -> dict[object, tp.dependency.Node]:
        found: dict[object, tp.dependency.Node]
        found = super()._trace(*arguments, **options)
        for node in found.values():
            if node.type == OP.RESHAPE and len(_sizes(node.grad_fn)) > 4:
                _mark(node)
        for node in found.values():
            if node.type == OP.RESHAPE and not _flattens(node):
                node.type = OP.ELEMENTWISE
        return found


def _flattens(node: tp.dependency.Node) -> bool:
    """Tell whether a reshape makes one row of channels and pixels, for a Linear."""
    sizes = _sizes(node.grad_fn)
    ahead, seen = list(node.outputs), {node}
    while ahead:
        near = ahead.pop()
        if near.type == OP.LINEAR:
            return len(sizes) == 4 and near.module.in_features == math.prod(sizes[1:])
        if near.type == OP.ELEMENTWISE and near not in seen:
            ahead += near.outputs
        seen.add(near)
    return False


def _mark(node: tp.dependency.Node) -> None:
    """Mark a reshape from more than four axes, the one to them, which does not tell, and splits.

    What is split after a shuffle has no offsets that Torch-Pruning could find.
    """
    node.type, node.regroups = OP.ELEMENTWISE, True
    for side, kind in (("inputs", OP.RESHAPE), ("outputs", OP.SPLIT)):
        ahead, seen = list(getattr(node, side)), {node}
        while ahead:
            near = ahead.pop()
            if near in seen:
                continue
            seen.add(near)
            if near.type == kind and len(_sizes(near.grad_fn)) <= 4:
                near.type, near.regroups = OP.ELEMENTWISE, True
            elif near.type == OP.ELEMENTWISE and not hasattr(near, "regroups"):
                ahead += getattr(near, side)


def _sizes(step: object) -> Sequence[int]:
    return getattr(step, "_saved_self_sym_sizes", ())
