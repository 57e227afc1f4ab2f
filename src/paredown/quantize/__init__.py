"""Techniques for the stage `quantize`: they name the numerics in which the runtime lowers."""
