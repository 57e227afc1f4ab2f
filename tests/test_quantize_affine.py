import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paredown.quantize.affine import Affine, affine, quantized, round_trip

ends = st.floats(-100, 100, width=32).filter(lambda end: end == 0 or abs(end) > 1e-3)
bits = st.integers(2, 8)


def test_the_map_of_a_range_is_as_by_hand() -> None:
    # 0..5.1 in 8 bits: a step of 0.02; 1.03 is 51.5 steps, which rounds to even
    how = affine(0.0, 5.1, 8, symmetric=False)
    assert how == Affine(pytest.approx(0.02), 0, 0, 255)
    assert quantized(np.array([0.0, 1.04, 5.1, 9.0, -1.0]), how).tolist() == [0, 52, 255, 255, 0]
    # -1..3 in 2 bits: a step of 4/3, and zero at round(0.75) = 1
    assert affine(-1.0, 3.0, 2, symmetric=False) == Affine(pytest.approx(4 / 3), 1, 0, 3)
    # forced symmetric: -3..3 in 2 bits has three integers
    assert affine(-1.0, 3.0, 2, symmetric=True) == Affine(pytest.approx(3.0), 0, -1, 1)


@given(low=ends, high=ends, bits=bits, symmetric=st.booleans(), at=st.floats(0, 1))
def test_inside_the_range_the_error_is_at_most_half_a_step(
    low: float, high: float, bits: int, symmetric: bool, at: float
) -> None:
    how = affine(min(low, 0.0), max(high, 0.0), bits, symmetric)
    least, most = (how.least - how.zero) * how.scale, (how.most - how.zero) * how.scale
    value = np.array(least + at * (most - least))
    assert abs(round_trip(value, how) - value) <= how.scale * (0.5 + 1e-6)


@given(low=ends, high=ends, bits=bits, symmetric=st.booleans())
def test_zero_comes_back_as_exactly_zero(
    low: float, high: float, bits: int, symmetric: bool
) -> None:
    how = affine(min(low, high), max(low, high), bits, symmetric)
    assert round_trip(np.zeros(3), how).tolist() == [0, 0, 0]
    assert how.least <= how.zero <= how.most


@given(low=ends, high=ends, bits=bits)
def test_the_ends_of_a_range_are_at_most_half_a_step_outside(
    low: float, high: float, bits: int
) -> None:
    low, high = min(low, 0.0), max(high, 0.0)
    how = affine(low, high, bits, symmetric=False)
    found = round_trip(np.array([low, high]), how)
    assert np.abs(found - [low, high]).max() <= how.scale * (0.5 + 1e-6)


def test_a_symmetric_range_gives_a_relu_half_of_the_integers_and_twice_the_step() -> None:
    values = np.random.default_rng(0).exponential(1, 10_000).clip(0, 6)
    with_zero, without = affine(0.0, 6.0, 8, False), affine(0.0, 6.0, 8, True)
    used = [len(np.unique(quantized(values, how))) for how in (with_zero, without)]
    assert used[0] > 230
    assert used[1] <= 128
    assert without.scale / with_zero.scale == pytest.approx(255 / 127)
    errors = [((round_trip(values, how) - values) ** 2).mean() for how in (with_zero, without)]
    assert errors[1] / errors[0] == pytest.approx((255 / 127) ** 2, rel=0.1)  # 6 dB


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_range_of_nothing_but_zero_has_a_step_all_the_same(symmetric: bool) -> None:
    how = affine(0.0, 0.0, 8, symmetric)
    assert how.scale == 1
    assert round_trip(np.array([0.0]), how).tolist() == [0]


@pytest.mark.parametrize("symmetric", [True, False])
def test_arrays_and_tensors_by_channel_are_mapped_as_channel_by_channel(symmetric: bool) -> None:
    weight = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 7)))
    low, high = (torch.aminmax(weight, dim=1, keepdim=True).min,
                 torch.aminmax(weight, dim=1, keepdim=True).max)  # fmt: skip
    both = round_trip(weight, affine(low, high, 4, symmetric))
    again = round_trip(weight.numpy(), affine(low.numpy(), high.numpy(), 4, symmetric))
    assert np.array_equal(both.numpy(), again)
    for row, found in zip(weight.numpy(), again, strict=True):
        alone = affine(float(row.min()), float(row.max()), 4, symmetric)
        assert np.allclose(round_trip(row, alone), found, rtol=1e-12)
