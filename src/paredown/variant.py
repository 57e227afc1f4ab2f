"""What travels along the path: a variant, the stages that make it, and what they may use."""

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
    from paredown.training.loop import Loss, Told


@dataclass(frozen=True)
class Numerics:
    """How a runtime is asked to lower a model's arithmetic.

    Args:
        name: Such as int8; part of a run's name.
        scheme: What becomes integer. static: weights and activations, with ranges taken
            beforehand; dynamic: both, with the activations' ranges taken at every inference;
            weights: the weights alone, as they are stored, with arithmetic in float32.
        bits: Of a weight. Below 8 and static, the weights come already rounded to that many bits
            and the engine computes in int8: that is simulated. An activation has 8.
        per_channel: One scale a channel of a weight, rather than one a tensor.
        symmetric: Whether the activations' ranges are forced to be symmetric about 0.
        range: How an activation's range is taken from what calibration saw: minmax, percentile,
            entropy or mse.
        bias_correction: Whether the mean error that rounding makes is taken back in the biases.
        calibration_images: Training images that the ranges are taken from.
        keep_float: Patterns of layers' names, as in `layer4.*`, that stay in float32; `first` and
            `last` mean those layers of any network.
        max_drop: Share of accuracy that lowering may cost before the fallbacks are tried, [0, 1].
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
        """Put a network's names in the place of `first` and `last`, and check the patterns.

        Raises:
            ConfigError: If a pattern matches no layer.
        """
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
        rest = tuple(recipe.resolve(layers) for recipe in self.fallbacks)
        return replace(self, keep_float=patterns, fallbacks=rest)

    def keeps_float(self, layer: str) -> bool:
        """Tell whether a layer, by its dotted name in the network, stays in float32."""
        return any(is_layer(layer, pattern) for pattern in self.keep_float)


def is_layer(name: str, pattern: str) -> bool:
    """Tell whether a pattern means a layer.

    Attention keeps weights that are no layers: `block.attention.in_proj_weight` is meant by
    `block.attention`, too.
    """
    owner = name.rpartition(".")[0] if name.endswith("_weight") else name
    return fnmatchcase(name, pattern) or fnmatchcase(owner, pattern)


class Layers(NamedTuple):
    """The layers of a network that hold weights, by their dotted names.

    Args:
        names: In the order in which they run; those that an image reaches.
        first: The one that runs first.
        last: Those that the logits come from.
    """

    names: tuple[str, ...]
    first: tuple[str, ...]
    last: tuple[str, ...]


@dataclass(frozen=True)
class Variant:
    """A model on the path.

    Args:
        module: Maps (N, C, H, W) to logits (N, classes).
        source: The node of conf/model that the module was built from, before it was pruned.
        numerics: None for float32.
        curves: What training logged, one mapping an epoch.
        facts: What the stage found out besides, logged with the metrics.
    """

    module: "nn.Module"
    source: "ModelSource"
    numerics: Numerics | None = None
    curves: Sequence[Mapping[str, float]] = ()
    facts: Mapping[str, float] = field(default_factory=dict)


Build = Callable[[], "nn.Module"]
"""Gives a network with fresh weights."""
Weigh = Callable[[Variant], float]
"""Tells what a variant costs, in one metric."""


@dataclass(frozen=True)
class Context:
    """What a stage may use besides the variant it starts from.

    Args:
        dataset: A stage sees its `train` split only.
        seed: The stage's own, so that its result does not depend on what ran before.
        teacher: Gives the network that teaches, mostly the float32 baseline; called only by a
            stage that learns from it.
        title: The stage's name, for progress bars and logs.
        trains: Whether `fit` does anything; a file's size and speed are known without.
        stop: Epochs after which `fit` ends, before its schedule does; None: it goes on.
        early: Gives the network of the stage before as it was after so many epochs.
        answers: Gives the teacher's answers in so many views, kept from one stage to the next; how
            it trains names the precision.
        scale: `with scale(variant, metric) as weigh` tells what other variants cost as the files
            that ship, measured beside the given one.
    """

    dataset: Dataset
    seed: int
    teacher: Callable[[], "nn.Module"]
    title: str
    trains: bool = True
    stop: int | None = None
    early: "Callable[[int], nn.Module] | None" = None
    answers: "Callable[[int, Training], Told] | None" = None
    scale: Callable[[Variant, str], AbstractContextManager[Weigh]] | None = None

    def fit(
        self,
        training: "Training",
        module: "nn.Module",
        loss: "Loss",
        told: "Told | None" = None,
    ) -> Sequence[Mapping[str, float]]:
        """Fit the weights of `module` in place; see `training.loop.fit`."""
        from paredown.training.loop import fit

        if not self.trains:
            module.eval()
            return ()
        return fit(training, module, self.dataset, loss, self.seed, self.title, self.stop, told)


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
    def note(self) -> str:
        """What every table says beside the stage's name, such as simulated; mostly empty."""
        ...

    @property
    def numerics(self) -> Numerics | None:
        """The arithmetic that it asks the runtime for; nothing can follow then. None: float32."""
        ...

    def __call__(self, variant: Variant | None, context: Context) -> Variant:
        """Make the next variant; the given one stays as it is. The baseline is given None."""
        ...


@runtime_checkable
class Checks(Protocol):
    """A stage that can tell from a network alone that it would fail on it."""

    def check(self, build: Build, context: Context, before: "Training | None") -> None:
        """Raise ConfigError for what cannot work, before anything is trained.

        Args:
            build: Gives the network that the stage will be given, with fresh weights.
            context: Trains nothing.
            before: How the stage before fits weights, if it does.
        """
        ...


@runtime_checkable
class ChecksCheaply(Protocol):
    """A stage that can tell from settings and shapes that it would fail, in a moment."""

    def check_cheaply(self, outline: Build, before: "Training | None") -> None:
        """Raise ConfigError for what cannot work, before any network is built in full.

        Args:
            outline: Gives the network that the stage will be given without numbers, for its shapes.
            before: How the stage before fits weights, if it does.
        """
        ...


@runtime_checkable
class Measures(Protocol):
    """A stage whose weights may depend on what a runtime makes of them."""

    @property
    def measures(self) -> bool:
        """Whether they do: then the runtime is a part of what determines them."""
        ...
