"""The Runtime contract: lower a variant into the files that ship, and run them."""

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
