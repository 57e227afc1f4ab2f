"""What travels along the path: a variant, the stages that make it, and what they may use."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from paredown.dataset import Dataset

if TYPE_CHECKING:
    from torch import nn

    from paredown.model import ModelSource
    from paredown.training import Training
    from paredown.training.loop import Loss


@dataclass(frozen=True)
class Numerics:
    """How a runtime is asked to lower a model's arithmetic.

    Args:
        name: Such as int8; part of a run's name.
        bits: Of a weight and of an activation.
        per_channel: One scale a channel of a weight, rather than one a tensor.
        calibration_images: Training images that the ranges of the activations are taken from.
    """

    name: str
    bits: int
    per_channel: bool
    calibration_images: int


@dataclass(frozen=True)
class Variant:
    """A model on the path.

    Args:
        module: Maps (N, C, H, W) to logits (N, classes).
        source: The node of conf/model that the module was built from, before it was pruned.
        numerics: None for float32.
        curves: What training logged, one mapping an epoch.
    """

    module: "nn.Module"
    source: "ModelSource"
    numerics: Numerics | None = None
    curves: Sequence[Mapping[str, float]] = ()


@dataclass(frozen=True)
class Context:
    """What a stage may use besides the variant it starts from.

    Args:
        dataset: A stage sees its `train` split only.
        seed: The stage's own, so that its result does not depend on what ran before.
        teacher: Gives the float32 baseline; called only by a stage that learns from it.
        title: The stage's name, for progress bars and logs.
        trains: Whether `fit` does anything; a file's size and speed are known without.
    """

    dataset: Dataset
    seed: int
    teacher: Callable[[], "nn.Module"]
    title: str
    trains: bool = True

    def fit(
        self, training: "Training", module: "nn.Module", loss: "Loss"
    ) -> Sequence[Mapping[str, float]]:
        """Fit the weights of `module` in place; see `training.loop.fit`."""
        from paredown.training.loop import fit

        if not self.trains:
            module.eval()
            return ()
        return fit(training, module, self.dataset, loss, self.seed, self.title)


@runtime_checkable
class Stage(Protocol):
    """A step of the path: `stage(variant, context) -> variant`."""

    @property
    def label(self) -> str:
        """What the stage does, for the name of a run: mobilenet_v2, prune0.30, int8."""
        ...

    @property
    def source(self) -> "ModelSource | None":
        """The network that it builds afresh; None if it goes on with the one that it is given."""
        ...

    @property
    def training(self) -> "Training | None":
        """How it fits weights; None if it leaves them as they are."""
        ...

    @property
    def numerics(self) -> Numerics | None:
        """The arithmetic that it asks the runtime for; nothing can follow then. None: float32."""
        ...

    def __call__(self, variant: Variant | None, context: Context) -> Variant:
        """Make the next variant; the given one stays as it is. The baseline is given None."""
        ...
