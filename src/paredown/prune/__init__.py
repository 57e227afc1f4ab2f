"""Techniques for the stage `prune`: fewer channels, physically smaller layers; or zeros.

Torch-Pruning only cuts tensors here (`groups.py`); its dependency graph, importances and pruner are
replaced by our own for what they do not guarantee. Widths are rounded to the nearest multiple,
where its pruner rounds down and silently skips a layer that would vanish. Channels are followed
through reshapes, splits and shuffles by index, and every group is proven against the masked network
(`equivalence.py`) before it is offered. Heads of attention go one by one. And the same seed and
scores always remove the same channels, with ties broken by index.
"""
