"""Attention is exchanged for one whose heads can go only where that changes no answer."""

import math
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from paredown.dataset import Dataset
from paredown.measure.footprint import params
from paredown.model.attention import HeadAttention
from paredown.model.attention_exchange import exchange_attention
from paredown.prune.channels import Pruning
from paredown.prune.criterion.magnitude import Magnitude


class Joint(nn.Module):
    """One projection; its rows are queries, keys and values, each by head."""

    order = "b n (three h d)"

    def __init__(self, width: int = 16, heads: int = 4, bias: bool = True) -> None:
        super().__init__()
        self.h = heads
        self.to_qkv = nn.Linear(width, 3 * width, bias=bias)
        self.drop = nn.Dropout(0.1)
        self.project = nn.Linear(width, width)

    def parts(self, sequence: Tensor) -> tuple[Tensor, ...]:
        batch, length, width = sequence.shape
        shape = batch, length, 3, self.h, width // self.h
        return self.to_qkv(sequence).reshape(shape).permute(2, 0, 3, 1, 4).unbind(0)

    def forward(self, sequence: Tensor) -> Tensor:
        queries, keys, values = self.parts(sequence)
        weights = queries @ keys.transpose(-2, -1) / math.sqrt(queries.size(-1))
        attended = self.drop(weights.softmax(-1)) @ values
        return self.project(attended.transpose(1, 2).flatten(2))


class HeadsFirst(Joint):
    """The rows are heads, each with its queries, keys and values."""

    def parts(self, sequence: Tensor) -> tuple[Tensor, ...]:
        batch, length, width = sequence.shape
        shape = batch, length, self.h, 3, width // self.h
        return self.to_qkv(sequence).reshape(shape).permute(3, 0, 2, 1, 4).unbind(0)


class Separate(nn.Module):
    """A Linear for each, and PyTorch's fused attention."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(16, 16, bias=False) for _ in range(4))

    def forward(self, sequence: Tensor) -> Tensor:
        batch, length, _ = sequence.shape
        split = (
            linear(sequence).view(batch, length, 2, 8).transpose(1, 2)
            for linear in (self.q, self.k, self.v)
        )
        return self.o(F.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2))


class Unscaled(Joint):
    """Another function: without the root."""

    def forward(self, sequence: Tensor) -> Tensor:
        queries, keys, values = self.parts(sequence)
        attended = (queries @ keys.transpose(-2, -1)).softmax(-1) @ values
        return self.project(attended.transpose(1, 2).flatten(2))


class Causal(Joint):
    """Another function: with a mask."""

    def forward(self, sequence: Tensor) -> Tensor:
        attended = F.scaled_dot_product_attention(*self.parts(sequence), is_causal=True)
        return self.project(attended.transpose(1, 2).flatten(2))


class Net(nn.Module):
    """Patches, one attention with a shortcut, a head."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.patches, self.attention = nn.Conv2d(3, 16, 8, 8), attention
        self.head = nn.Linear(16, 10)

    def forward(self, images: Tensor) -> Tensor:
        sequence = self.patches(images).flatten(2).transpose(1, 2)
        return self.head((sequence + self.attention(sequence)).mean(1))


IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("build", "heads", "dropout"),
    [
        (Joint, 4, 0.1),
        (lambda: Joint(heads=2, bias=False), 2, 0.1),
        (HeadsFirst, 4, 0.1),
        (Separate, 2, 0.0),
    ],
)
def test_attention_by_hand_is_exchanged_whatever_its_names_and_layout(
    build: type[nn.Module], heads: int, dropout: float
) -> None:
    torch.manual_seed(0)
    network = Net(build()).eval()
    with torch.no_grad():
        expected = network(IMAGES)
        (attention,) = exchange_attention(network, IMAGES).values()
        assert torch.allclose(network(IMAGES), expected, atol=1e-5)
    assert (attention.heads, attention.dropout) == (heads, dropout)
    with torch.no_grad():
        attention.remove_heads([0])
        assert network(IMAGES).shape == (2, 10)
    assert attention.qkv.out_features == 3 * (16 - 16 // heads)


class Block(nn.Module):
    """Attention and an MLP, each with its norm and its shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.attention, self.norm2 = nn.LayerNorm(16), Joint(), nn.LayerNorm(16)
        self.mlp = nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 16))

    def forward(self, sequence: Tensor) -> Tensor:
        sequence = sequence + self.attention(self.norm1(sequence))
        return sequence + self.mlp(self.norm2(sequence))


def test_a_transformer_by_hand_loses_more_than_two_fifths_at_half_of_its_channels(
    few: Dataset,
) -> None:
    torch.manual_seed(0)
    network = Net(nn.Sequential(Block(), Block())).eval()
    before = params(network)
    pruning = Pruning(Magnitude(2), "local", 4, few)
    pruning.prune(network, 0.5, pruning.score(network, 0))
    assert params(network) <= 0.6 * before
    assert network(IMAGES).shape == (2, 10)


@pytest.mark.parametrize("build", [Unscaled, Causal])
def test_what_computes_something_else_is_left_alone(build: type[nn.Module]) -> None:
    torch.manual_seed(0)
    network = Net(build()).eval()
    assert exchange_attention(network, IMAGES) == {}
    assert isinstance(network.attention, build)


@pytest.mark.parametrize("build", [Joint, Unscaled])
def test_an_output_that_begins_at_zero_hides_nothing(build: type[Joint]) -> None:
    network = Net(build()).eval()
    nn.init.zeros_(network.attention.project.weight)
    nn.init.zeros_(network.attention.project.bias)
    exchanged = exchange_attention(network, IMAGES)
    assert [part.heads for part in exchanged.values()] == ([4] if build is Joint else [])


def test_frozen_attention_stays_frozen() -> None:
    network = Net(Joint().requires_grad_(False)).eval()
    exchange_attention(network, IMAGES)
    assert not any(weight.requires_grad for weight in network.attention.parameters())
    assert all(weight.requires_grad for weight in network.head.parameters())


def test_it_is_built_again_from_what_describes_it(tmp_path: Path) -> None:
    network = Net(Separate()).eval()
    exchange_attention(network, IMAGES)["attention"].remove_heads([1])
    again = deepcopy(network)
    again.attention = Separate()
    HeadAttention.rebuild(again, HeadAttention.shapes_in(network))
    again.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert torch.equal(again.eval()(IMAGES), network(IMAGES))
    assert again.attention.out_proj.bias is None
