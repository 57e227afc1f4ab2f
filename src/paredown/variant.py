"""The data that travels along the path: a variant, the stages that make it, and their context."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from paredown.dataset import Dataset
from paredown.errors import require

if TYPE_CHECKING:
    from torch import nn

    from paredown.model import ModelSource
    from paredown.training import Training
    from paredown.training.loop import BatchSource
    from paredown.training.step import Loss


@dataclass(frozen=True)
class Numerics:
    """The arithmetic in which a runtime lowers a model.

    Args:
        name: Such as int8; part of a run's name.
        scheme: static: integer weights and activations, with activation ranges calibrated
            beforehand; dynamic: the same, with activation ranges taken at every inference;
            weights: integer weights in the file, float32 arithmetic.
        bits: Per weight; activations have 8. Below 8 and static, the weights arrive already
            rounded to that many bits and the engine computes in int8, which is simulated.
        per_channel: One scale per channel of a weight, rather than one per tensor.
        symmetric: Whether activation ranges are forced to be symmetric about 0.
        range: Calibration of activation ranges: minmax, percentile, entropy or mse.
        bias_correction: Whether biases absorb the mean rounding error.
        calibration_images: Number of training images for calibration.
        keep_float: Patterns of layer names, such as `layer4.*`, that stay in float32; `first`
            and `last` name those layers of any network.
        max_drop: Share of accuracy that lowering may cost before a fallback is tried, [0, 1].
        fallbacks: Other recipes, in the order in which they are tried.
    """

    name: str
    scheme: str = "static"
    bits: int = 8
    per_channel: bool = True
    symmetric: bool = False
    range: str = "minmax"
    bias_correction: bool = False
    calibration_images: int = 256
    keep_float: tuple[str, ...] = ()
    max_drop: float = 1.0
    fallbacks: tuple["Numerics", ...] = ()

    def resolve(self, layers: "Layers") -> "Numerics":
        """Replace `first` and `last` by names; raise ConfigError if a pattern matches no layer."""
        ends = {"first": layers.first, "last": layers.last}
        patterns = tuple(
            name for pattern in self.keep_float for name in ends.get(pattern, (pattern,))
        )
        for pattern in patterns:
            near = get_close_matches(pattern, layers.names, n=3, cutoff=0.3) or layers.names[:3]
            require(
                any(is_layer(name, pattern) for name in layers.names),
                "quantize.keep_float",
                f"match one of the {len(layers.names)} layers",
                pattern,
                f"such as {', '.join(near)}, first or last",
            )
        fallbacks = tuple(recipe.resolve(layers) for recipe in self.fallbacks)
        return replace(self, keep_float=patterns, fallbacks=fallbacks)

    def keeps_float(self, layer: str) -> bool:
        """Check whether a layer, by its dotted name, stays in float32."""
        return any(is_layer(layer, pattern) for pattern in self.keep_float)


def is_layer(name: str, pattern: str) -> bool:
    """Check whether a pattern matches a layer.

    `block.attention` also matches `block.attention.in_proj_weight`, a weight of no layer.
    """
    owner = name.rpartition(".")[0] if name.endswith("_weight") else name
    return fnmatchcase(name, pattern) or fnmatchcase(owner, pattern)


class Layers(NamedTuple):
    """The dotted names of the weighted layers that an image reaches.

    Args:
        names: In order of execution.
        first: The one that runs first.
        last: Those that compute the logits.
    """

    names: tuple[str, ...]
    first: tuple[str, ...]
    last: tuple[str, ...]


@dataclass(frozen=True)
class Variant:
    """A model on the path.

    Args:
        module: Maps (N, C, H, W) to logits (N, classes).
        source: The node of conf/model that built the module, before any pruning.
        numerics: None for float32.
        curves: Training curves, one mapping per epoch.
        facts: Other findings of the stage, logged with the metrics.
    """

    module: "nn.Module"
    source: "ModelSource"
    numerics: Numerics | None = None
    curves: Sequence[Mapping[str, float]] = ()
    facts: Mapping[str, float] = field(default_factory=dict)


Build = Callable[[], "nn.Module"]
"""Builds a network with fresh weights."""
CostFn = Callable[[Variant], float]
"""Measures a variant's cost in one metric."""


@dataclass(frozen=True)
class Context:
    """What a stage may use besides the variant it starts from.

    Args:
        dataset: Stages use its `train` split only.
        seed: The stage's own, so that its result does not depend on what ran before.
        teacher: Returns the teacher network, usually the float32 baseline; called only by a stage
            that learns from it.
        title: The stage's name, for progress bars and logs.
        trains: Whether `fit` trains; a file's size and speed are known without.
        stop: Epochs after which `fit` ends, before its schedule does; None: it runs to the end.
        early: Returns the network of the stage before after a number of epochs.
        soft_targets: Returns the teacher's stored logits in a number of views; the training
            settings determine its precision.
        cost_meter: `with cost_meter(variant, metric) as cost` yields a function that measures the
            cost of other variants as shipped files, timed alongside `variant`.
    """

    dataset: Dataset
    seed: int
    teacher: Callable[[], "nn.Module"]
    title: str
    trains: bool = True
    stop: int | None = None
    early: "Callable[[int], nn.Module] | None" = None
    soft_targets: "Callable[[int, Training], BatchSource] | None" = None
    cost_meter: Callable[[Variant, str], AbstractContextManager[CostFn]] | None = None

    def fit(
        self,
        training: "Training",
        module: "nn.Module",
        loss: "Loss",
        source: "BatchSource | None" = None,
    ) -> Sequence[Mapping[str, float]]:
        """Fit the weights of `module` in place; see `training.loop.fit`."""
        from paredown.training.loop import fit

        if not self.trains:
            module.eval()
            return ()
        return fit(training, module, self.dataset, loss, self.seed, self.title, self.stop, source)


@runtime_checkable
class Stage(Protocol):
    """A step of the path: `stage(variant, context) -> variant`."""

    @property
    def label(self) -> str:
        """The stage's part of a run's name, such as mobilenet_v2, prune0.30 or int8."""

    @property
    def source(self) -> "ModelSource | None":
        """The network that it builds; None if it continues with the network before."""

    @property
    def training(self) -> "Training | None":
        """How it fits weights; None if it fits none."""

    @property
    def note(self) -> str:
        """A remark beside the stage's name in every table, such as simulated; usually empty."""

    @property
    def numerics(self) -> Numerics | None:
        """The arithmetic it asks the runtime for, as the last stage; None: float32."""

    def __call__(self, variant: Variant | None, context: Context) -> Variant:
        """Return the next variant and leave `variant` unchanged; the baseline receives None."""


@runtime_checkable
class Checks(Protocol):
    """A stage that can check a network before any training."""

    def check(self, build: Build, context: Context, before: "Training | None") -> None:
        """Raise ConfigError if the stage cannot work on the network that `build` returns.

        `before` is the training of the stage before, if any; the context trains nothing.
        """


@runtime_checkable
class ChecksCheaply(Protocol):
    """A stage that can check settings and shapes within a moment."""

    def check_cheaply(self, outline: Build, before: "Training | None") -> None:
        """Raise ConfigError if the stage cannot work on the shapes of a meta network.

        `before` is the training of the stage before, if any.
        """


@runtime_checkable
class Measures(Protocol):
    """A stage whose weights may depend on measurements of the runtime's files."""

    @property
    def measures(self) -> bool:
        """Whether they do; the runtime is then part of the stage's key."""
