"""Seeds for the code of a network, which may draw numbers from any generator."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed every generator on the CPU, and restore its state afterwards."""
    state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002, users' code uses it
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(state)
            np.random.set_state(numpy_state)  # noqa: NPY002
