"""Self-attention whose heads can go one by one."""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NEAR = 1e-4  # of the largest number of an attention's output: float32, in another order of sums
STACKED = (0, 1, 2)
LAYOUTS = ((1, 0, 2), (1, 2, 0))
"""Other orders of (queries, keys or values; head; channel) in the rows of one projection."""


@dataclass(frozen=True)
class Shape:
    """What an attention needs to be built again, its weights aside.

    Args:
        width: Of the sequence.
        heads: How many there are.
        head_width: Channels of each.
        dropout: Of the attention weights, in training.
        output_dropout: Of what is given, in training.
        bias: Whether queries, keys and values have one.
        output_bias: Whether the output has one.
        pairs: Whether it gives (output, None), as `nn.MultiheadAttention` does.
    """

    width: int
    heads: int
    head_width: int
    dropout: float
    output_dropout: float = 0.0
    bias: bool = True
    output_bias: bool = True
    pairs: bool = True


class HeadAttention(nn.Module):
    """Scaled dot product attention of one sequence, with any number of heads.

    `nn.MultiheadAttention` wants heads that fill the width of the sequence between them, so it
    cannot lose one, and neither can what people write by hand. This takes their place, with the
    same arguments.

    Source: Michel et al., Are Sixteen Heads Really Better than One?, 2019, arXiv 1905.10650.

    Args:
        shape: Of the attention.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, self.head_width, self.pairs = shape.heads, shape.head_width, shape.pairs
        self.dropout, self.output_dropout = shape.dropout, shape.output_dropout
        inner = shape.heads * shape.head_width
        self.qkv = nn.Linear(shape.width, 3 * inner, bias=shape.bias)
        self.out_proj = nn.Linear(inner, shape.width, bias=shape.output_bias)

    @property
    def shape(self) -> Shape:
        """What it needs to be built again."""
        return Shape(
            self.qkv.in_features,
            self.heads,
            self.head_width,
            self.dropout,
            self.output_dropout,
            self.qkv.bias is not None,
            self.out_proj.bias is not None,
            self.pairs,
        )

    def forward(self, query: Tensor, *_: Any, **__: Any) -> Any:
        """Attend.

        Args:
            query: (N, L, width); key and value, which `nn.MultiheadAttention` is given besides,
                are the same tensor.

        Returns:
            (N, L, width), and nothing in the place of the weights where these are asked for.
        """
        batch, length, _width = query.shape
        shape = batch, length, 3, self.heads, self.head_width
        queries, keys, values = self.qkv(query).view(shape).permute(2, 0, 3, 1, 4).unbind(0)
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(queries, keys, values, dropout_p=dropout)
        output = self.out_proj(attended.transpose(1, 2).flatten(2))
        output = F.dropout(output, self.output_dropout, self.training)
        return (output, None) if self.pairs else output

    def remove_heads(self, chosen: Sequence[int]) -> None:
        """Remove heads by their indices."""
        left = [head for head in range(self.heads) if head not in set(chosen)]
        within = torch.arange(self.head_width)
        columns = (torch.tensor(left)[:, None] * self.head_width + within).flatten()
        wide = self.heads * self.head_width
        rows = torch.cat([columns + part * wide for part in range(3)])
        self.qkv.weight = nn.Parameter(self.qkv.weight.detach()[rows])
        if self.qkv.bias is not None:
            self.qkv.bias = nn.Parameter(self.qkv.bias.detach()[rows])
        self.out_proj.weight = nn.Parameter(self.out_proj.weight.detach()[:, columns])
        self.heads = len(left)
        self.qkv.out_features, self.out_proj.in_features = len(rows), len(columns)

    @classmethod
    def put_into(cls, module: nn.Module, images: Tensor) -> "dict[str, HeadAttention]":
        """Exchange a network's self-attention, in place, where that changes no answer.

        Exchanged is `nn.MultiheadAttention` that is asked for one sequence and no weights, and a
        module of people's with one Linear for queries, keys and values, or one for each, and one
        for the output: whatever it is called and however its rows are laid out, if an attention of
        this class gives the same numbers.

        Args:
            module: The network, in eval mode.
            images: Normalized, (N, C, H, W).

        Returns:
            All of this class that the network has then, by name.
        """
        candidates = {name: part for name, part in module.named_modules() if _may_attend(part)}
        if candidates:
            with _watched(candidates) as calls, torch.no_grad():
                module(images)
            for name, part in candidates.items():
                candidate = _same(part, calls[name])
                if candidate is not None:
                    module.set_submodule(name, candidate.train(part.training))
                    if not _still_runs(module, images):  # something else looks into it
                        module.set_submodule(name, part)
        return {name: part for name, part in module.named_modules() if isinstance(part, cls)}

    @classmethod
    def rebuild(cls, module: nn.Module, shapes: Mapping[str, Mapping[str, Any]]) -> None:
        """Put attention with fresh weights into a network, by name, as `described` tells it."""
        for name, shape in shapes.items():
            module.set_submodule(name, cls(Shape(**shape)))

    @classmethod
    def described(cls, module: nn.Module) -> dict[str, dict[str, Any]]:
        """List the shapes of all of this class that a network has, by name."""
        parts = module.named_modules()
        return {name: asdict(part.shape) for name, part in parts if isinstance(part, cls)}


def _still_runs(module: nn.Module, images: Tensor) -> bool:
    try:
        with torch.no_grad():
            module(images)
    except (AttributeError, TypeError, RuntimeError):
        return False
    return True


@dataclass
class _Call:
    """One call of what may be an attention: its arguments, what it gave, and dropouts within."""

    arguments: tuple[Any, ...]
    options: dict[str, Any]
    output: Any
    dropouts: tuple[float, float]


@contextmanager
def _watched(parts: Mapping[str, nn.Module]) -> Iterator[dict[str, list[_Call]]]:
    """Record the calls of modules, by name."""
    calls: dict[str, list[_Call]] = {name: [] for name in parts}
    hooks = []
    for name, part in parts.items():
        dropped: dict[int, float] = {}  # by the axes of what is dropped

        def drop(dropout: Any, given: Any, _: Any, dropped: dict[int, float] = dropped) -> None:
            dropped[given[0].ndim] = dropout.p

        def record(
            _: Any, given: Any, options: Any, output: Any, name: str = name, own: Any = dropped
        ) -> None:
            calls[name].append(_Call(given, options, output, (own.get(4, 0.0), own.get(3, 0.0))))

        inner = [child for child in part.modules() if isinstance(child, nn.Dropout)]
        hooks += [child.register_forward_hook(drop) for child in inner]
        hooks.append(part.register_forward_hook(record, with_kwargs=True))
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def _may_attend(part: nn.Module) -> bool:
    """Check whether a module has the layers of an attention."""
    if isinstance(part, nn.MultiheadAttention):
        plain = part.batch_first and part._qkv_same_embed_dim and part.in_proj_bias is not None
        return plain and part.bias_k is None and not part.add_zero_attn
    linears = _linears(part)
    others = [child for child in part.children() if not isinstance(child, nn.Linear)]
    quiet = all(isinstance(child, (nn.Dropout, nn.Identity, nn.Softmax)) for child in others)
    own = any(True for _ in part.parameters(recurse=False))
    return not isinstance(part, HeadAttention) and len(linears) in (2, 4) and quiet and not own


def _same(part: nn.Module, calls: Sequence[_Call]) -> HeadAttention | None:
    """Make an attention that gives what a module gave; None if there is none."""
    if not calls or not all(_plain(part, call) for call in calls):
        return None
    probe = _randomized(part)  # fresh weights may be zero, and then any attention gives the same
    for shape, order in _shapes(part, calls[0]):
        if all(_alike(probe, _built(probe, shape, order), call) for call in calls):
            return _built(part, shape, order)
    return None


def _randomized(part: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    probe = copy.deepcopy(part).eval()
    with torch.no_grad():
        for weight in probe.parameters():
            weight.normal_(generator=generator).div_(weight.shape[-1] ** 0.5)
    return probe


def _plain(part: nn.Module, call: _Call) -> bool:
    """Check whether a call asked for the attention of one sequence to itself, and no weights."""
    options = dict(call.options)
    if isinstance(part, nn.MultiheadAttention):
        names = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask")
        options = {**dict(zip(names, call.arguments, strict=False)), **options}
        query, key, value = (options.get(name) for name in names[:3])
        masked = options.get("key_padding_mask") is not None or options.get("attn_mask") is not None
        return query is key is value and not masked and options.get("need_weights") is False
    given = [each for each in (*call.arguments, *options.values()) if each is not None]
    return len(given) == 1 and isinstance(given[0], Tensor) and given[0].ndim == 3


def _alike(part: nn.Module, candidate: HeadAttention, call: _Call) -> bool:
    """Check whether two attentions give the same for the arguments of a call."""
    sequence = call.arguments[0] if call.arguments else next(iter(call.options.values()))
    with torch.no_grad():
        expected, output = part(*call.arguments, **call.options), candidate(sequence)
    if candidate.pairs:
        expected, output = expected[0], output[0]
    if not isinstance(expected, Tensor) or expected.shape != output.shape:
        return False
    return float((output - expected).abs().max()) <= NEAR * float(expected.abs().max())


def _shapes(part: nn.Module, call: _Call) -> Iterator[tuple[Shape, Sequence[int]]]:
    """List the attentions that a module may be, the likeliest first, and how its rows lie."""
    if isinstance(part, nn.MultiheadAttention):
        yield Shape(part.embed_dim, part.num_heads, part.head_dim, part.dropout), STACKED
        return
    *inputs, output = _linears(part)
    width, inner = output.out_features, output.in_features
    fits = all(linear.in_features == width for linear in inputs)
    biases = {linear.bias is not None for linear in inputs}
    if not fits or sum(each.out_features for each in inputs) != 3 * inner or len(biases) > 1:
        return
    named = {value for value in vars(part).values() if type(value) is int}
    for heads in sorted(range(1, inner + 1), key=lambda count: (count not in named, count)):
        has_bias = biases == {True}, output.bias is not None
        shape = Shape(width, heads, inner // heads, *call.dropouts, *has_bias, pairs=False)
        for order in (STACKED, *LAYOUTS) if len(inputs) == 1 else (STACKED,):
            if inner % heads == 0:
                yield shape, order


def _linears(part: nn.Module) -> list[nn.Linear]:
    return [child for child in part.children() if isinstance(child, nn.Linear)]


def _built(part: nn.Module, shape: Shape, order: Sequence[int]) -> HeadAttention:
    """Make an attention with a module's weights."""
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
    with torch.device("meta"):  # all weights are put in below
        candidate = HeadAttention(shape).eval()
    candidate.qkv.weight = nn.Parameter(torch.cat(weights).detach()[rows], trains)
    if biases:
        candidate.qkv.bias = nn.Parameter(torch.cat(biases).detach()[rows], trains)
    candidate.out_proj.weight, candidate.out_proj.bias = output.weight, output.bias
    return candidate
