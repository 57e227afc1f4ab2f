"""The numbers that code draws while it is tried."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed what code may draw numbers from, and leave it afterwards as it was."""
    import torch

    before = random.getstate(), np.random.get_state()  # noqa: NPY002, a user's code may draw there
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])  # noqa: NPY002
