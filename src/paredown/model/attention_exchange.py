"""Exchange of a network's self-attention for one whose heads can be removed."""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from paredown.model.attention import HeadAttention, Shape

TOLERANCE = 1e-4  # of the largest output: float32, summed in another order
STACKED = (0, 1, 2)
LAYOUTS = ((1, 0, 2), (1, 2, 0))
"""Other orders of (queries, keys or values; head; channel) in the rows of one projection."""


@torch.no_grad()
def exchange_attention(module: nn.Module, images: Tensor) -> dict[str, HeadAttention]:
    """Exchange a network's self-attention, in place, where that changes no output.

    Exchanged is `nn.MultiheadAttention` that is called with one sequence and without attention
    weights, and any module with one Linear for queries, keys and values, or one for each, and one
    for the output: whatever its name and the order of its rows, if a `HeadAttention` computes the
    same numbers. The network is in eval mode; every `HeadAttention` of it is returned, by name.
    """
    candidates = {name: part for name, part in module.named_modules() if _may_attend(part)}
    if candidates:
        with _recorded(candidates) as calls:
            module(images)
        for name, part in candidates.items():
            attention = _equivalent(part, calls[name])
            if attention is not None:
                module.set_submodule(name, attention.train(part.training))
                try:
                    module(images)
                except (AttributeError, TypeError, RuntimeError):  # other code reads its attributes
                    module.set_submodule(name, part)
    parts = module.named_modules()
    return {name: part for name, part in parts if isinstance(part, HeadAttention)}


@dataclass
class _Call:
    """One call of a module that may be an attention, with the rates of the dropouts within."""

    arguments: tuple[Any, ...]
    options: dict[str, Any]
    dropouts: tuple[float, float]


@contextmanager
def _recorded(parts: Mapping[str, nn.Module]) -> Iterator[dict[str, list[_Call]]]:
    """Record the calls of modules, by name."""
    calls: dict[str, list[_Call]] = {name: [] for name in parts}
    with ExitStack() as hooks:
        for name, part in parts.items():
            rates: dict[int, float] = {}  # by the number of axes of the tensor that is dropped out

            def drop(dropout: Any, inputs: Any, _: Any, rates: dict[int, float] = rates) -> None:
                rates[inputs[0].ndim] = dropout.p

            def record(
                _: Any, inputs: Any, options: Any, __: Any, name: str = name, rates: Any = rates
            ) -> None:
                calls[name].append(_Call(inputs, options, (rates.get(4, 0.0), rates.get(3, 0.0))))

            for child in part.modules():
                if isinstance(child, nn.Dropout):
                    hooks.enter_context(child.register_forward_hook(drop))
            hooks.enter_context(part.register_forward_hook(record, with_kwargs=True))
        yield calls


def _may_attend(part: nn.Module) -> bool:
    """Return whether a module has the layers of an attention."""
    if isinstance(part, nn.MultiheadAttention):
        plain = part.batch_first and part._qkv_same_embed_dim and part.in_proj_bias is not None
        return plain and part.bias_k is None and not part.add_zero_attn
    linears = _linears(part)
    others = [child for child in part.children() if not isinstance(child, nn.Linear)]
    quiet = all(isinstance(child, (nn.Dropout, nn.Identity, nn.Softmax)) for child in others)
    own = any(True for _ in part.parameters(recurse=False))
    return not isinstance(part, HeadAttention) and len(linears) in (2, 4) and quiet and not own


def _equivalent(part: nn.Module, calls: Sequence[_Call]) -> HeadAttention | None:
    """Return an attention that computes the same as a module; None if there is none."""
    if not calls or not all(_is_self_attention(part, call) for call in calls):
        return None
    probe = _randomized(part)  # fresh weights may be zero, and then any attention is equal
    for shape, order in _shapes(part, calls[0]):
        if all(_equal(probe, _converted(probe, shape, order), call) for call in calls):
            return _converted(part, shape, order)
    return None


def _randomized(part: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    probe = copy.deepcopy(part).eval()
    for weight in probe.parameters():
        weight.normal_(generator=generator).div_(weight.shape[-1] ** 0.5)
    return probe


def _is_self_attention(part: nn.Module, call: _Call) -> bool:
    """Return whether a call is of one sequence to itself, without attention weights returned."""
    if isinstance(part, nn.MultiheadAttention):
        options = signature(part.forward).bind(*call.arguments, **call.options).arguments
        query, key, value = (options[name] for name in ("query", "key", "value"))
        masked = options.get("key_padding_mask") is not None or options.get("attn_mask") is not None
        return query is key is value and not masked and options.get("need_weights") is False
    inputs = [value for value in (*call.arguments, *call.options.values()) if value is not None]
    return len(inputs) == 1 and isinstance(inputs[0], Tensor) and inputs[0].ndim == 3


def _equal(part: nn.Module, attention: HeadAttention, call: _Call) -> bool:
    """Return whether two modules compute the same for the arguments of a call."""
    sequence = call.arguments[0] if call.arguments else next(iter(call.options.values()))
    expected, output = part(*call.arguments, **call.options), attention(sequence)
    if attention.pairs:
        expected, output = expected[0], output[0]
    if not isinstance(expected, Tensor) or expected.shape != output.shape:
        return False
    return float((output - expected).abs().max()) <= TOLERANCE * float(expected.abs().max())


def _shapes(part: nn.Module, call: _Call) -> Iterator[tuple[Shape, Sequence[int]]]:
    """List the shapes and row orders that a module may have, the likeliest first."""
    if isinstance(part, nn.MultiheadAttention):
        yield Shape(part.embed_dim, part.num_heads, part.head_dim, part.dropout), STACKED
        return
    *inputs, output = _linears(part)
    width, inner = output.out_features, output.in_features
    fits = all(linear.in_features == width for linear in inputs)
    biases = {linear.bias is not None for linear in inputs}
    if not fits or sum(linear.out_features for linear in inputs) != 3 * inner or len(biases) > 1:
        return
    numbers = {value for value in vars(part).values() if type(value) is int}
    for heads in sorted(range(1, inner + 1), key=lambda count: (count not in numbers, count)):
        has_bias = biases == {True}, output.bias is not None
        shape = Shape(width, heads, inner // heads, *call.dropouts, *has_bias, pairs=False)
        for order in (STACKED, *LAYOUTS) if len(inputs) == 1 else (STACKED,):
            if inner % heads == 0:
                yield shape, order


def _linears(part: nn.Module) -> list[nn.Linear]:
    return [child for child in part.children() if isinstance(child, nn.Linear)]


def _converted(part: nn.Module, shape: Shape, order: Sequence[int]) -> HeadAttention:
    """Return an attention with a module's weights."""
    output: nn.Linear
    weights: list[Tensor]
    biases: list[Tensor]
    if isinstance(part, nn.MultiheadAttention):
        weights, biases, output = [part.in_proj_weight], [part.in_proj_bias], part.out_proj
    else:
        *inputs, output = _linears(part)
        weights = [linear.weight for linear in inputs]
        biases = [linear.bias for linear in inputs if linear.bias is not None]
    sizes = (3, shape.heads, shape.head_width)
    rows = torch.arange(math.prod(sizes)).view([sizes[axis] for axis in order])
    rows = rows.permute([order.index(axis) for axis in range(3)]).flatten()
    trains = weights[0].requires_grad
    with torch.device("meta"):  # all weights are set below
        attention = HeadAttention(shape).eval()
    attention.qkv.weight = nn.Parameter(torch.cat(weights).detach()[rows], trains)
    if biases:
        attention.qkv.bias = nn.Parameter(torch.cat(biases).detach()[rows], trains)
    attention.out_proj.weight, attention.out_proj.bias = output.weight, output.bias
    return attention
