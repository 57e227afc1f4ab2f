"""Techniques that fill the stage `distill`: a small network learns from a large one."""
