"""The Runtime contract: lower a variant into the files that ship, and run them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from paredown.dataset import Batch, Dataset
from paredown.variant import Variant

Logits = NDArray[np.float32]


class Program(Protocol):
    """What a runtime runs: `program(images) -> logits`."""

    def __call__(self, images: Batch) -> Logits:
        """Map normalized images (N, C, H, W) to logits (N, classes)."""
        ...


@dataclass(frozen=True)
class Standalone:
    """How a bundle runs what a runtime lowered, on a device that has neither paredown nor torch.

    Args:
        open: `open(folder, threads) -> program`. Its source becomes a part of the bundle's
            predict.py, so it is a short function that imports the engine itself and knows
            nothing else outside it but Path; other names in its annotations are quoted.
        packages: What it needs besides numpy and Pillow, as pip names them.
    """

    open: Callable[[Path, int], Program]
    packages: tuple[str, ...]


class Runtime(Protocol):
    """A node of conf/runtime: an engine for trained networks.

    `lower` may import torch; `load` and its program need the engine alone, as a device has it.
    """

    @property
    def name(self) -> str:
        """As tables and runs name the engine."""
        ...

    @property
    def threads(self) -> int:
        """Of one inference."""
        ...

    @property
    def engine(self) -> str:
        """The package that `load` imports."""
        ...

    @property
    def numerics(self) -> tuple[str, ...]:
        """Names of the numerics that it lowers into."""
        ...

    @property
    def standalone(self) -> Standalone | None:
        """Say how a bundle runs its files; None if they do not run without paredown."""
        ...

    @property
    def fingerprint(self) -> dict[str, str]:
        """Say what of this machine decides the bytes that `lower` writes, and their answers."""
        ...

    def lower(
        self, variant: Variant, dataset: Dataset, folder: Path, source: Path | None = None
    ) -> None:
        """Write the files that ship, and nothing else, into `folder`.

        Args:
            variant: Its module, and the numerics that are asked for.
            dataset: Its train split calibrates; its val split checks the logits.
            folder: Exists and is empty.
            source: The folder of the same weights, already lowered in float32, where there is
                one.

        Raises:
            RunError: If the lowered model does not answer as the module does.
        """
        ...

    def load(self, folder: Path) -> Program:
        """Load what `lower` wrote."""
        ...
