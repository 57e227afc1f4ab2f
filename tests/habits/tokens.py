"""Tokens: attention as people write it, class tokens, positions, mixers."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from habits.parts import Mlp, Patches, Picture, pruned, unit


class Attending(Patches):
    """A transformer block: attention over the tokens, then an MLP of 64 hidden channels."""

    heads = 4

    def build(self) -> None:
        self.norm1, self.norm2 = nn.LayerNorm(self.dim), nn.LayerNorm(self.dim)
        self.mlp = Mlp(self.dim, 64)
        self.scale = (self.dim // self.heads) ** -0.5
        self.build_attention()

    def build_attention(self) -> None:
        """Make what `attend` needs."""

    def attend(self, x: Tensor) -> Tensor:
        return x

    def mix(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attend(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


@pruned(1, over_channels=True)
class SeparateQkv(Attending):
    """Three Linears for queries, keys and values; `self.scale`; `view` into heads"""

    def build_attention(self) -> None:
        self.q, self.k, self.v = (nn.Linear(32, 32) for _ in range(3))
        self.proj = nn.Linear(32, 32)

    def split(self, x: Tensor) -> Tensor:
        n, length, _ = x.shape
        return x.view(n, length, self.heads, 32 // self.heads).transpose(1, 2)

    def attend(self, x: Tensor) -> Tensor:
        q, k, v = self.split(self.q(x)), self.split(self.k(x)), self.split(self.v(x))
        share = torch.matmul(q, k.transpose(-1, -2)) * self.scale
        y = torch.matmul(share.softmax(dim=-1), v)
        return self.proj(y.transpose(1, 2).contiguous().view(x.shape))


@pruned(1, over_channels=True)
class FusedQkv(Attending):
    """One Linear for all three, cut by `chunk(3)`; `F.scaled_dot_product_attention`"""

    def build_attention(self) -> None:
        self.qkv, self.proj = nn.Linear(32, 96, bias=False), nn.Linear(32, 32)

    def attend(self, x: Tensor) -> Tensor:
        n, length, _ = x.shape
        parts = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (part.reshape(n, length, self.heads, -1).transpose(1, 2) for part in parts)
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=0.0)
        return self.proj(y.transpose(1, 2).flatten(2))


@pruned(1, over_channels=True)
class PermutedQkv(Attending):
    """`reshape(b, n, 3, h, d).permute(2, 0, 3, 1, 4)` as timm's ViT has it"""

    def build_attention(self) -> None:
        self.qkv, self.proj = nn.Linear(32, 96), nn.Linear(32, 32)

    def attend(self, x: Tensor) -> Tensor:
        n, length, c = x.shape
        qkv = self.qkv(x).reshape(n, length, 3, self.heads, c // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        share = ((q * self.scale) @ k.transpose(-2, -1)).softmax(dim=-1)
        return self.proj((share @ v).transpose(1, 2).reshape(n, length, c))


@pruned(1, over_channels=True)
class MultiQuery(Attending):
    """Four heads of queries that share one of keys and values (multi-query)"""

    def build_attention(self) -> None:
        self.q, self.kv, self.proj = nn.Linear(32, 32), nn.Linear(32, 16), nn.Linear(32, 32)

    def attend(self, x: Tensor) -> Tensor:
        n, length, _ = x.shape
        q = self.q(x).view(n, length, 4, 8).transpose(1, 2)
        k, v = self.kv(x).unsqueeze(1).split(8, dim=-1)
        share = (q @ k.transpose(-1, -2) * self.scale).softmax(-1)
        return self.proj((share @ v).transpose(1, 2).reshape(n, length, 32))


@pruned(1, over_channels=True)
class GroupedQuery(Attending):
    """Two heads of keys and values, repeated for four of queries (grouped-query)"""

    def build_attention(self) -> None:
        self.q, self.k, self.v = nn.Linear(32, 32), nn.Linear(32, 16), nn.Linear(32, 16)
        self.proj = nn.Linear(32, 32)

    def attend(self, x: Tensor) -> Tensor:
        n, length, _ = x.shape
        q = self.q(x).view(n, length, 4, 8).transpose(1, 2)
        k, v = (part(x).view(n, length, 2, 8).transpose(1, 2) for part in (self.k, self.v))
        k, v = k.repeat_interleave(2, dim=1), v.repeat_interleave(2, dim=1)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.proj(y.transpose(1, 2).reshape(n, length, -1))


@pruned(1, over_channels=True)
class NormedQueries(Attending):
    """A norm of the queries and of the keys within each head (QK norm)"""

    def build_attention(self) -> None:
        self.qkv, self.proj = nn.Linear(32, 96), nn.Linear(32, 32)
        self.q_norm, self.k_norm = nn.LayerNorm(8), nn.LayerNorm(8)

    def attend(self, x: Tensor) -> Tensor:
        n, length, _ = x.shape
        q, k, v = self.qkv(x).view(n, length, 3, 4, 8).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(self.q_norm(q), self.k_norm(k), v)
        return self.proj(y.transpose(1, 2).reshape(n, length, 32))


@pruned(1, over_channels=True)
class RotaryPositions(Attending):
    """Rotary positions: halves of each head are turned by buffers of sines and cosines"""

    def build_attention(self) -> None:
        self.qkv, self.proj = nn.Linear(32, 96), nn.Linear(32, 32)
        angle = torch.arange(16.0)[:, None] * 10000 ** -(torch.arange(0, 8, 2) / 8)
        self.register_buffer("cos", torch.cat([angle, angle], 1).cos(), persistent=False)
        self.register_buffer("sin", torch.cat([angle, angle], 1).sin(), persistent=False)

    def turned(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=-1)
        return x * self.cos + torch.cat((-second, first), dim=-1) * self.sin

    def attend(self, x: Tensor) -> Tensor:
        n, length, _ = x.shape
        q, k, v = self.qkv(x).view(n, length, 3, 4, 8).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(self.turned(q), self.turned(k), v)
        return self.proj(y.transpose(1, 2).reshape(n, length, 32))


@pruned(1, over_channels=True)
class RelativeBias(Attending):
    """A learned bias for each distance, looked up by a buffer (Swin, BEiT)"""

    def build_attention(self) -> None:
        self.qkv, self.proj = nn.Linear(32, 96), nn.Linear(32, 32)
        place = torch.stack(torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij"))
        place = place.flatten(1)
        apart = place[:, :, None] - place[:, None, :] + 3
        self.register_buffer("index", apart[0] * 7 + apart[1])
        self.table = nn.Parameter(torch.zeros(49, 4))
        nn.init.trunc_normal_(self.table, std=0.5)

    def attend(self, x: Tensor) -> Tensor:
        n, length, c = x.shape
        q, k, v = self.qkv(x).reshape(n, length, 3, 4, -1).permute(2, 0, 3, 1, 4).unbind(0)
        share = q @ k.transpose(-2, -1) * self.scale
        bias = self.table[self.index.view(-1)].view(length, length, -1).permute(2, 0, 1)
        share = F.softmax(share + bias.contiguous().unsqueeze(0), dim=-1)
        return self.proj((share @ v).transpose(1, 2).reshape(n, length, c))


@pruned(1, over_channels=True)
class EinsumHeads(Attending):
    """Heads by `einsum`, and a mix of the heads before and after the softmax (talking heads)"""

    def build_attention(self) -> None:
        self.qkv, self.proj = nn.Linear(32, 96), nn.Linear(32, 32)
        self.before, self.after = nn.Linear(4, 4), nn.Linear(4, 4)

    def attend(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (4, 8)) for part in self.qkv(x).split(32, dim=-1))
        share = torch.einsum("bihd,bjhd->bijh", q, k) * self.scale
        share = self.after(self.before(share).softmax(dim=2))
        return self.proj(torch.einsum("bijh,bjhd->bihd", share, v).flatten(2))


@pruned(1, over_channels=True)
class LinearAttention(Attending):
    """Attention without a softmax over tokens: elu(q) + 1 times the sum of keys and values"""

    def build_attention(self) -> None:
        self.qkv, self.proj = nn.Linear(32, 96), nn.Linear(32, 32)

    def attend(self, x: Tensor) -> Tensor:
        n, length, _ = x.shape
        q, k, v = self.qkv(x).view(n, length, 3, 4, 8).permute(2, 0, 3, 1, 4).unbind(0)
        q, k = F.elu(q) + 1, F.elu(k) + 1
        y = q @ (k.transpose(-2, -1) @ v)
        y = y / (q @ k.sum(dim=-2, keepdim=True).transpose(-2, -1) + 1e-6)
        return self.proj(y.transpose(1, 2).reshape(n, length, 32))


@pruned(1, over_channels=True)
class ChannelsAttend(Attending):
    """Channels ask channels, by normalized rows and a learned temperature (XCiT)"""

    def build_attention(self) -> None:
        self.qkv, self.proj = nn.Linear(32, 96), nn.Linear(32, 32)
        self.temperature = nn.Parameter(torch.ones(4, 1, 1))

    def attend(self, x: Tensor) -> Tensor:
        n, length, c = x.shape
        q, k, v = self.qkv(x).reshape(n, length, 3, 4, c // 4).permute(2, 0, 3, 4, 1)
        q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
        share = ((q @ k.transpose(-2, -1)) * self.temperature).softmax(dim=-1)
        return self.proj((share @ v).permute(0, 3, 1, 2).reshape(n, length, c))


@pruned(1, over_channels=True)
class SideBySide(Attending):
    """Attention and MLP on one norm, added together, each with a layer scale (ViT-22B)"""

    def build_attention(self) -> None:
        self.qkv, self.proj = nn.Linear(32, 96), nn.Linear(32, 32)
        self.scale1, self.scale2 = (nn.Parameter(0.5 * torch.ones(32)) for _ in range(2))

    def mix(self, tokens: Tensor) -> Tensor:
        x = self.norm1(tokens)
        q, k, v = self.qkv(x).unflatten(2, (3, 4, 8)).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return tokens + self.scale1 * self.proj(y) + self.scale2 * self.mlp(x)


@pruned(1, over_channels=True)
class MaskedAttention(Attending):
    """`nn.MultiheadAttention` with a mask of -inf, each token asking those before it"""

    def build_attention(self) -> None:
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
        self.register_buffer("mask", torch.full((16, 16), float("-inf")).triu(1))

    def attend(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, attn_mask=self.mask, need_weights=False)[0]


@pruned(1, over_channels=True)
class OtherWidths(Attending):
    """`nn.MultiheadAttention` whose keys and values have another width (`kdim`, `vdim`)"""

    def build_attention(self) -> None:
        self.attention = nn.MultiheadAttention(32, 4, kdim=24, vdim=24, batch_first=True)
        self.context = nn.Linear(32, 24)

    def attend(self, x: Tensor) -> Tensor:
        context = self.context(x)
        return self.attention(x, context, context)[0]


@pruned(1, over_channels=True)
class PlainSelfAttention(Attending):
    """`nn.MultiheadAttention` of one sequence with `batch_first=False`"""

    def build_attention(self) -> None:
        self.attention = nn.MultiheadAttention(32, 4)

    def attend(self, x: Tensor) -> Tensor:
        x = x.permute(1, 0, 2)
        return self.attention(x, x, x, need_weights=False)[0].permute(1, 0, 2)


@pruned(1, over_channels=True)
class SwishGatedMlp(Patches):
    """An MLP whose first half is gated by the second, cut by `chunk` (SwiGLU)"""

    def build(self) -> None:
        self.norm1 = nn.LayerNorm(32)
        self.w12, self.w3 = nn.Linear(32, 128), nn.Linear(64, 32)

    def mix(self, tokens: Tensor) -> Tensor:
        first, second = self.w12(self.norm1(tokens)).chunk(2, dim=-1)
        return tokens + self.w3(F.silu(first) * second)


class WithClassToken(Patches):
    """A transformer block on the patches behind a class token, which the head sees."""

    def build(self) -> None:
        self.cls = nn.Parameter(torch.randn(1, 1, 32))
        self.pos = nn.Parameter(0.02 * torch.randn(1, 17, 32))
        self.norm1, self.mlp = nn.LayerNorm(32), Mlp(32, 64)
        self.qkv, self.proj = nn.Linear(32, 96), nn.Linear(32, 32)

    def token(self, x: Tensor) -> Tensor:
        return self.cls.expand(x.shape[0], -1, -1)

    def attended(self, x: Tensor) -> Tensor:
        n, length, c = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(n, length, 3, 4, c // 4).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v)
        return x + self.proj(y.transpose(1, 2).reshape(n, length, c))

    def forward(self, images: Tensor) -> Tensor:
        x = self.patch(images).flatten(2).transpose(1, 2)
        x = self.attended(torch.cat((self.token(x), x), dim=1) + self.pos)
        return self.head(self.norm(x + self.mlp(x))[:, 0])


@pruned(1, over_channels=True)
class TokenExpanded(WithClassToken):
    """A class token by `expand(x.shape[0], -1, -1)`, learned positions added"""


@pruned(1, over_channels=True)
class TokenRepeated(WithClassToken):
    """A class token by `repeat(x.size(0), 1, 1)`"""

    def token(self, x: Tensor) -> Tensor:
        return self.cls.repeat(x.size(0), 1, 1)


@pruned(1, over_channels=True)
class TokenOfLength(WithClassToken):
    """A class token for `len(x)` images"""

    def token(self, x: Tensor) -> Tensor:
        return self.cls.expand(len(x), -1, -1)


@pruned(1, over_channels=True)
class TokenOfZeros(WithClassToken):
    """A class token added to `torch.zeros(x.size(0), 1, x.size(2))`"""

    def token(self, x: Tensor) -> Tensor:
        return torch.zeros(x.size(0), 1, x.size(2)) + self.cls


@pruned(1, over_channels=True)
class DistilledToken(WithClassToken):
    """A second token with a head of its own; their mean answers (DeiT)"""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.dist = nn.Parameter(torch.randn(1, 1, 32))
        self.pos = nn.Parameter(0.02 * torch.randn(1, 18, 32))
        self.head_dist = nn.Linear(32, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patch(images).flatten(2).transpose(1, 2)
        tokens = self.cls.expand(x.shape[0], -1, -1), self.dist.expand(x.shape[0], -1, -1)
        x = self.attended(torch.cat((*tokens, x), dim=1) + self.pos)
        x = self.norm(x + self.mlp(x))
        return (self.head(x[:, 0]) + self.head_dist(x[:, 1])) / 2


@pruned(1, over_channels=True)
class PositionsByEmbedding(Attending):
    """Positions from an `nn.Embedding`, looked up by a buffer"""

    def build_attention(self) -> None:
        self.pos = nn.Embedding(16, 32)
        self.register_buffer("places", torch.arange(16).expand((1, -1)), persistent=False)

    def mix(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.pos(self.places[:, : tokens.shape[1]])
        return tokens + self.mlp(self.norm1(tokens))


@pruned(1, over_channels=True)
class SinesForPositions(Attending):
    """Positions by sines and cosines, made by NumPy's rules and kept in a buffer"""

    def build_attention(self) -> None:
        rate = torch.exp(torch.arange(0, 32, 2) * (-math.log(10000.0) / 32))
        table = torch.zeros(1, 16, 32)
        table[0, :, 0::2] = torch.sin(torch.arange(16.0)[:, None] * rate)
        table[0, :, 1::2] = torch.cos(torch.arange(16.0)[:, None] * rate)
        self.register_buffer("table", table)

    def mix(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.table[:, : tokens.size(1)]
        return tokens + self.mlp(self.norm1(tokens))


@pruned(2, over_channels=True)
class Mixer(Patches):
    """MLPs over the tokens and over the channels in turn (MLP-Mixer)"""

    def build(self) -> None:
        self.norm1, self.norm2 = nn.LayerNorm(32), nn.LayerNorm(32)
        self.tokens, self.channels = Mlp(16, 24), Mlp(32, 64)

    def mix(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.tokens(self.norm1(tokens).transpose(1, 2)).transpose(1, 2)
        return tokens + self.channels(self.norm2(tokens))


@pruned(1, over_channels=True)
class SpatialGate(Patches):
    """A half gates the other by a Linear over the tokens (gMLP)"""

    def build(self) -> None:
        self.norm1, self.gate_norm = nn.LayerNorm(32), nn.LayerNorm(24)
        self.grow, self.back, self.over = nn.Linear(32, 48), nn.Linear(24, 32), nn.Conv1d(16, 16, 1)
        nn.init.constant_(self.over.bias, 1.0)

    def mix(self, tokens: Tensor) -> Tensor:
        first, gate = F.gelu(self.grow(self.norm1(tokens))).chunk(2, dim=-1)
        return tokens + self.back(first * self.over(self.gate_norm(gate)))


class WindowedPicture(Picture):
    """A transformer block on windows of a picture of 32 channels, 8x8."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.stem = nn.Conv2d(3, 32, 4, 4)

    def build(self) -> None:
        self.norm1, self.norm2, self.mlp = nn.LayerNorm(32), nn.LayerNorm(32), Mlp(32, 64)
        self.qkv, self.proj = nn.Linear(32, 96), nn.Linear(32, 32)

    def attend(self, x: Tensor) -> Tensor:
        """Attend within each window, (windows, L, 32)."""
        n, length, c = x.shape
        q, k, v = self.qkv(x).reshape(n, length, 3, 4, c // 4).permute(2, 0, 3, 1, 4).unbind(0)
        return self.proj(
            F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, length, c)
        )


@pruned(1, over_channels=True)
class ShiftedWindows(WindowedPicture):
    """Windows by `view` and `permute`, shifted by `roll` and back (Swin)"""

    def features(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        n, h, w, c = x.shape
        y = torch.roll(self.norm1(x), shifts=(-2, -2), dims=(1, 2))
        y = y.view(n, h // 4, 4, w // 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, c)
        y = self.attend(y).view(n, h // 4, w // 4, 4, 4, c).permute(0, 1, 3, 2, 4, 5)
        x = x + torch.roll(y.reshape(n, h, w, c), shifts=(2, 2), dims=(1, 2))
        return (x + self.mlp(self.norm2(x))).permute(0, 3, 1, 2)


@pruned(1, over_channels=True)
class MergedPatches(WindowedPicture):
    """Four slices of pixels side by side, a norm and a Linear (patch merging)"""

    width = 48

    def build(self) -> None:
        super().build()
        self.merge_norm, self.merge = nn.LayerNorm(128), nn.Linear(128, 48, bias=False)

    def features(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        x = x + self.mlp(self.norm1(x))
        slices = [x[:, i::2, j::2, :] for j in (0, 1) for i in (0, 1)]
        return self.merge(self.merge_norm(torch.cat(slices, -1))).permute(0, 3, 1, 2)


@pruned(2)
class AttentionOfPixels(Picture):
    """Queries, keys and values by 1x1 convolutions, heads by `view` (BoTNet, CvT)"""

    def build(self) -> None:
        self.a, self.qkv, self.proj = (
            unit(16, 32, stride=2),
            nn.Conv2d(32, 96, 1),
            nn.Conv2d(32, 32, 1),
        )
        self.end = unit(32, 32)

    def features(self, x: Tensor) -> Tensor:
        x = self.a(x)
        n, c, h, w = x.shape
        q, k, v = self.qkv(x).view(n, 3, 4, c // 4, h * w).unbind(1)
        share = (q.transpose(-2, -1) @ k / math.sqrt(c // 4)).softmax(-1)
        y = (v @ share.transpose(-2, -1)).reshape(n, c, h, w)
        return self.end(x + self.proj(y))


@pruned(1, over_channels=True)
class QueriesAsk(Picture):
    """Learned queries ask the pixels, as a decoder does; their mean answers (DETR)"""

    def build(self) -> None:
        self.a = unit(16, 32, stride=2)
        self.queries = nn.Parameter(0.1 * torch.randn(4, 32))
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
        self.mlp, self.norm = Mlp(32, 48), nn.LayerNorm(32)

    def forward(self, images: Tensor) -> Tensor:
        x = self.a(self.stem(images)).flatten(2).permute(0, 2, 1)
        query = self.queries.unsqueeze(0).repeat(x.shape[0], 1, 1)
        query = self.norm(query + self.attention(query, x, x)[0])
        return self.head((query + self.mlp(query)).mean(1))


@pruned(1)
class MeanAsks(Picture):
    """The mean of the pixels, joined to them, asks them (CLIP's attention pooling)"""

    def build(self) -> None:
        self.a, self.pos = unit(16, 32, stride=2), nn.Parameter(0.1 * torch.randn(65, 32))
        self.q, self.k, self.v, self.out = (nn.Linear(32, 32) for _ in range(4))

    def forward(self, images: Tensor) -> Tensor:
        x = self.a(self.stem(images)).flatten(2).permute(2, 0, 1)
        x = torch.cat([x.mean(dim=0, keepdim=True), x], dim=0) + self.pos[:, None, :]
        y, _ = F.multi_head_attention_forward(
            query=x[:1], key=x, value=x, embed_dim_to_check=32, num_heads=4,
            q_proj_weight=self.q.weight, k_proj_weight=self.k.weight,
            v_proj_weight=self.v.weight, in_proj_weight=None,
            in_proj_bias=torch.cat([self.q.bias, self.k.bias, self.v.bias]),
            bias_k=None, bias_v=None, add_zero_attn=False, dropout_p=0.0,
            out_proj_weight=self.out.weight, out_proj_bias=self.out.bias,
            use_separate_proj_weight=True, training=self.training, need_weights=False,
        )  # fmt: skip
        return self.head(y.squeeze(0))


@pruned(2)
class ScoredTokens(Picture):
    """A Linear scores every pixel, a softmax over them weighs their sum (attention pooling)"""

    def build(self) -> None:
        self.a, self.score = unit(16, 32), nn.Linear(32, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.a(self.stem(images)).flatten(2).transpose(1, 2)
        share = self.score(x).softmax(dim=1)
        return self.head(torch.bmm(share.transpose(1, 2), x).squeeze(1))


@pruned(1, over_channels=True)
class EncoderLayer(Patches):
    """`nn.TransformerEncoderLayer`, the norms first, with a dropout"""

    def build(self) -> None:
        self.layer = nn.TransformerEncoderLayer(32, 4, 64, 0.1, batch_first=True, norm_first=True)

    def mix(self, tokens: Tensor) -> Tensor:
        return self.layer(tokens)


@pruned(1, over_channels=True)
class DecoderLayer(Patches):
    """`nn.TransformerDecoderLayer` between a learned query and the patches"""

    def build(self) -> None:
        self.query = nn.Parameter(torch.randn(1, 2, 32))
        self.layer = nn.TransformerDecoderLayer(32, 4, 48, dropout=0.0, batch_first=True)

    def mix(self, tokens: Tensor) -> Tensor:
        return self.layer(self.query.expand(tokens.size(0), -1, -1), tokens)
