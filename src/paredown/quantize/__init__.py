"""Techniques that fill the stage `quantize`: they say in which numerics the runtime lowers."""
