"""Self-attention whose heads can go one by one."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class HeadAttention(nn.Module):
    """What `nn.MultiheadAttention` computes of one sequence, with any number of heads.

    That of PyTorch wants heads that fill the width of the sequence between them, so it cannot
    lose one. Takes its place in a network, with the same arguments.

    Source: Michel et al., Are Sixteen Heads Really Better than One?, 2019, arXiv 1905.10650.

    Args:
        width: Of the sequence.
        heads: How many there are.
        head_width: Channels of each.
        dropout: Of the attention weights, in training.
    """

    def __init__(self, width: int, heads: int, head_width: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.head_width, self.dropout = heads, head_width, dropout
        self.qkv = nn.Linear(width, 3 * heads * head_width)
        self.out_proj = nn.Linear(heads * head_width, width)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False
    ) -> tuple[Tensor, None]:
        """Attend.

        Args:
            query: (N, L, width).
            key: The same tensor.
            value: The same tensor.
            need_weights: They are not given.

        Returns:
            (N, L, width), and nothing in the place of the weights.
        """
        batch, length, _ = query.shape
        shape = batch, length, 3, self.heads, self.head_width
        queries, keys, values = self.qkv(query).view(shape).permute(2, 0, 3, 1, 4).unbind(0)
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(queries, keys, values, dropout_p=dropout)
        return self.out_proj(attended.transpose(1, 2).flatten(2)), None

    def remove_heads(self, chosen: Sequence[int]) -> None:
        """Remove heads by their indices."""
        kept = [head for head in range(self.heads) if head not in set(chosen)]
        within = torch.arange(self.head_width)
        columns = (torch.tensor(kept)[:, None] * self.head_width + within).flatten()
        wide = self.heads * self.head_width
        rows = torch.cat([columns + part * wide for part in range(3)])
        self.qkv.weight = nn.Parameter(self.qkv.weight.detach()[rows])
        self.qkv.bias = nn.Parameter(self.qkv.bias.detach()[rows])
        self.out_proj.weight = nn.Parameter(self.out_proj.weight.detach()[:, columns])
        self.heads = len(kept)
        self.qkv.out_features, self.out_proj.in_features = len(rows), len(columns)

    @classmethod
    def put_into(
        cls, module: nn.Module, names: Sequence[str] | None = None
    ) -> "dict[str, HeadAttention]":
        """Exchange a network's `nn.MultiheadAttention`, in place, where that changes nothing.

        Args:
            module: The network.
            names: Of the attention to exchange; None: all.

        Returns:
            All of this class that the network has then, by name.
        """
        for name, part in list(module.named_modules()):
            asked = names is None or name in names
            if asked and isinstance(part, nn.MultiheadAttention) and _is_plain(part):
                module.set_submodule(name, cls._of(part))
        return {name: part for name, part in module.named_modules() if isinstance(part, cls)}

    @classmethod
    def _of(cls, part: nn.MultiheadAttention) -> "HeadAttention":
        with torch.device("meta"):  # all weights are put in below
            made = cls(part.embed_dim, part.num_heads, part.head_dim, part.dropout)
        made.qkv.weight, made.qkv.bias = part.in_proj_weight, part.in_proj_bias
        made.out_proj.weight, made.out_proj.bias = part.out_proj.weight, part.out_proj.bias
        return made.train(part.training)


def _is_plain(part: nn.MultiheadAttention) -> bool:
    """Tell whether an attention has the common form: batch first, one width, biases."""
    plain = part.batch_first and part._qkv_same_embed_dim and part.in_proj_bias is not None
    return plain and part.bias_k is None and not part.add_zero_attn
