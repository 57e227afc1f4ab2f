"""Networks in eager PyTorch, for studies: nothing of them ships."""

from typing import TYPE_CHECKING

from paredown.dataset import Batch
from paredown.runtime import Logits, Program

if TYPE_CHECKING:
    from torch import nn


def eager(module: "nn.Module") -> Program:
    """Return a program that runs a network in eager PyTorch."""
    import torch

    def run(images: Batch) -> Logits:
        with torch.inference_mode():
            logits: Logits = module(torch.from_numpy(images)).numpy()
        return logits

    return run
