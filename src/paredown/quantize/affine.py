"""The affine round trip: real numbers to integers of a few bits, and back.

    scale = (max - min) / (2^bits - 1)
    integer = clip(round(real / scale) + zero, least, most)
    real again = (integer - zero) * scale

The range is widened to hold 0, and the zero point is an integer, so that 0 is represented exactly:
padding and the zeros of a ReLU do not change. Inside the range the error is at most half a step;
values outside it are clipped. All functions take NumPy arrays and torch tensors alike.

Source: Jacob et al., Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference, 2017, arXiv 1712.05877.
"""

from typing import Any, NamedTuple, TypeVar

Array = TypeVar("Array")
"""A NumPy array or a torch tensor of floats, of any shape; or a float."""


class Affine(NamedTuple):
    """An affine map of reals to integers.

    Args:
        scale: Reals per integer step, above 0; one number, or one per channel.
        zero: The integer that stands for 0.
        least, most: The integers' range.
    """

    scale: Any
    zero: Any
    least: int
    most: int


def affine(low: Any, high: Any, bits: int, symmetric: bool) -> Affine:
    """Compute the affine map of a range; a range of only 0 gets a scale of 1.

    Args:
        low: Lower end of the range; a number, or an array that broadcasts to the values.
        high: Upper end.
        bits: Of an integer, 2 to 16.
        symmetric: Force the range to -bound..bound with bound = max(|low|, |high|), so that the
            zero point is 0 and the integers are -(2^(bits-1) - 1)..2^(bits-1) - 1, as for
            weights. Values that are never negative use half of the integers.
    """
    low, high = low * (low < 0), high * (high > 0)  # the range holds 0
    if symmetric:
        most = 2 ** (bits - 1) - 1
        bound = -low * (-low > high) + high * (high >= -low)
        scale = bound / most
        scale = scale + (scale == 0)
        return Affine(scale, scale * 0, -most, most)
    most = 2**bits - 1
    scale = (high - low) / most
    scale = scale + (scale == 0)
    return Affine(scale, _round(-low / scale), 0, most)


def quantized(values: Array, grid: Affine) -> Array:
    """Return the integers, in the type of the values."""
    integers = _round(values / grid.scale) + grid.zero
    clipped: Array = integers.clip(grid.least, grid.most)
    return clipped


def round_trip(values: Array, grid: Affine) -> Array:
    """Return the values after rounding to integers and back, at most half a step away."""
    integers: Any = quantized(values, grid)
    rounded: Array = (integers - grid.zero) * grid.scale
    return rounded


def _round(values: Any) -> Any:
    """Round half to even, arrays and numbers alike."""
    return values.round() if hasattr(values, "round") else round(values)
