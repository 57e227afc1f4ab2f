"""Self-attention whose heads can be removed one by one."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Shape:
    """Everything that an attention is rebuilt from but its weights.

    Args:
        width: Of the sequence.
        heads: Number of heads.
        head_width: Channels per head.
        dropout: Of the attention weights, in training.
        output_dropout: Of the output, in training.
        bias: Whether queries, keys and values have one.
        output_bias: Whether the output has one.
        pairs: Whether it returns (output, None), as `nn.MultiheadAttention` does.
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

    The heads of `nn.MultiheadAttention` must fill the width of the sequence, so it cannot lose one,
    and neither can most hand-written attention. This class replaces them, with the same arguments.

    Source: Michel et al., Are Sixteen Heads Really Better than One?, 2019, arXiv 1905.10650.
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
        """Everything that it is rebuilt from but its weights."""
        widths = self.qkv.in_features, self.heads, self.head_width
        dropouts = self.dropout, self.output_dropout
        has_bias = self.qkv.bias is not None, self.out_proj.bias is not None
        return Shape(*widths, *dropouts, *has_bias, self.pairs)

    def forward(self, query: Tensor, *_: Any, **__: Any) -> Any:
        """Return the attended sequence, (N, L, width); with `pairs`, and None for the weights.

        Key and value, further arguments of `nn.MultiheadAttention`, are the same tensor.
        """
        batch, length, _width = query.shape
        shape = batch, length, 3, self.heads, self.head_width
        queries, keys, values = self.qkv(query).view(shape).permute(2, 0, 3, 1, 4).unbind(0)
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(queries, keys, values, dropout_p=dropout)
        output = self.out_proj(attended.transpose(1, 2).flatten(2))
        output = F.dropout(output, self.output_dropout, self.training)
        return (output, None) if self.pairs else output

    def remove_heads(self, removed: Sequence[int]) -> None:
        """Remove heads by their indices."""
        remaining = [head for head in range(self.heads) if head not in set(removed)]
        within = torch.arange(self.head_width)
        columns = (torch.tensor(remaining)[:, None] * self.head_width + within).flatten()
        width = self.heads * self.head_width
        rows = torch.cat([columns + part * width for part in range(3)])
        self.qkv.weight = nn.Parameter(self.qkv.weight.detach()[rows])
        if self.qkv.bias is not None:
            self.qkv.bias = nn.Parameter(self.qkv.bias.detach()[rows])
        self.out_proj.weight = nn.Parameter(self.out_proj.weight.detach()[:, columns])
        self.heads = len(remaining)
        self.qkv.out_features, self.out_proj.in_features = len(rows), len(columns)

    @classmethod
    def rebuild(cls, module: nn.Module, shapes: Mapping[str, Mapping[str, Any]]) -> None:
        """Put attention with fresh weights into a network, by name, as `shapes_in` lists it."""
        for name, shape in shapes.items():
            module.set_submodule(name, cls(Shape(**shape)))

    @classmethod
    def shapes_in(cls, module: nn.Module) -> dict[str, dict[str, Any]]:
        """Return the shapes of all attention of this class in a network, by name."""
        parts = module.named_modules()
        return {name: asdict(part.shape) for name, part in parts if isinstance(part, cls)}
