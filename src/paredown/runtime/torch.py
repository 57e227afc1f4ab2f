"""Eager PyTorch on the CPU: what a model costs before any runtime takes it over."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from paredown import machine, model
from paredown.dataset import Batch, Dataset
from paredown.errors import require
from paredown.runtime import Abilities, Conversion, Logits
from paredown.variant import Variant

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Torch:
    """The module itself, run op by op.

    Args:
        threads: Of one inference.
        name: As tables and runs name the engine.
    """

    engine: ClassVar[str] = "torch"
    abilities: ClassVar[Abilities] = Abilities()
    standalone: ClassVar[None] = None  # weights are no program: they need paredown and torch

    threads: int = field(metadata={"key": False})
    name: str

    def __post_init__(self) -> None:
        require(self.threads >= 1, "threads", "be at least 1", self.threads)

    @property
    def fingerprint(self) -> dict[str, str]:
        """The version of torch."""
        return machine.versions("torch")

    def lower(
        self, variant: Variant, dataset: Dataset, folder: Path, source: Path | None = None
    ) -> Conversion:
        """Write weights and architecture; see the Runtime contract."""
        classes, shape = len(dataset.classes), dataset.input_shape
        model.save(variant.module, variant.source, classes, shape, folder)
        return Conversion(0, len(model.layers(variant.module)))

    def load(self, folder: Path) -> "TorchProgram":
        """Rebuild the module; sets torch's number of threads for the whole process."""
        import torch

        torch.set_num_threads(self.threads)
        module, _ = model.load(folder)
        return TorchProgram(module)


class TorchProgram:
    """An eager module behind the Program contract."""

    def __init__(self, module: "nn.Module") -> None:
        self._module = module

    def __call__(self, images: Batch) -> Logits:
        """Map normalized images (N, C, H, W) to logits (N, classes)."""
        import torch

        with torch.inference_mode():
            logits: Logits = self._module(torch.from_numpy(images)).numpy()
            return logits
