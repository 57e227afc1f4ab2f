"""One network's way through the product, in process: what every network must keep to."""

from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.overrides import TorchFunctionMode

from paredown import model
from paredown.budget import Budget
from paredown.dataset import Dataset
from paredown.measure import footprint
from paredown.measure.latency import Timing
from paredown.model import ModelSource
from paredown.prune.channels import Cut, Pruning
from paredown.prune.criterion.magnitude import Magnitude
from paredown.prune.groups import PruningGroups
from paredown.prune.masks import channel_masks, masked
from paredown.prune.structured import Structured
from paredown.prune.target import Target
from paredown.quantize.static import Static
from paredown.run.plan import Plan
from paredown.runtime.onnxruntime import OnnxRuntime
from paredown.store import StoreFolder
from paredown.tracking import Tracking
from paredown.training import Training
from paredown.training.baseline import Baseline
from paredown.variant import Context, Variant

AMOUNT, ROUND_TO = 0.5, 4
IMAGES = 32  # of each split: one step of training, and what answers are compared on
MASKED = 1e-5  # of the largest logit, in float64
LOWERED = 1e-4  # of the largest logit, in float32
INT8 = 0.1  # of the spread of the logits; measured: at most 0.073

TRAINING = Training(1, IMAGES, 1e-3, 0.01, 0.0, "one_cycle", "float32", "cpu", None)
STATIC = Static(8, True, False, "minmax", False, IMAGES, [], 1.0, [])
STRUCTURED = Structured(
    epochs=1,
    learning_rate=1e-3,
    training=TRAINING,
    temperature=4.0,
    alpha=0.7,
    views=None,
    criterion=Magnitude(2),
    amount=AMOUNT,
    target=Target(None, None, None, None),
    scope=None,
    round_to=ROUND_TO,
    steps=1,
    rewind=None,
)
RUNTIME = OnnxRuntime(threads=1, name="onnxruntime")


@dataclass(frozen=True)
class Loaded:
    """A data set that is in memory already, as a node of conf/dataset."""

    dataset: Dataset

    def load(self) -> Dataset:
        return self.dataset


@dataclass(frozen=True)
class Walked:
    """What became of a network.

    Args:
        found: The groups that were pruned, and what was left whole with the reason.
        parameters: What is left of them, a share.
        int8: Error of the int8 logits, as a share of the spread of the logits.
    """

    found: PruningGroups
    parameters: float
    int8: float


class Walk:
    """Take a network through the product.

    Args:
        source: Builds it.
        dataset: Real images.
        folder: For what is saved and lowered.
        over_channels: As in `parts.Habit`.

    `step` is where it is, for whoever catches an error of it.
    """

    def __init__(
        self, source: ModelSource, dataset: Dataset, folder: Path, over_channels: bool = False
    ) -> None:
        self.source, self.folder, self.over_channels = source, folder, over_channels
        train, val = (
            replace(split, images=split.images[:IMAGES], labels=split.labels[:IMAGES])
            for split in (dataset.train, dataset.val)
        )
        self.dataset = replace(dataset, train=train, val=val)
        self.images = torch.from_numpy(dataset.normalize(val.images))
        self.step = "check"

    def run(self) -> Walked:
        """Go all the way.

        Raises:
            ConfigError: In the step `check`, for a network that is refused.
            AssertionError: For a wrong answer.
        """
        self.check()
        self.step = "train"
        torch.manual_seed(0)
        module = self.reloaded(self.trained(), "baseline")
        whole = footprint.params(module)
        self.step = "prune"
        smaller, found = self.pruned(module)
        left = footprint.params(smaller) / whole
        assert left < 1
        self.step = "recover"
        STRUCTURED.finetune(smaller, self.context(deepcopy(module)), epochs=1)
        smaller = self.reloaded(smaller, "pruned")
        return Walked(found, left, self.lowered(smaller))

    def check(self) -> None:
        """Check all that a run checks before any work."""
        stages = {
            "baseline": Baseline(self.source, TRAINING),
            "prune": STRUCTURED,
            "quantize": STATIC,
        }
        Plan(
            seed=0,
            dataset=Loaded(self.dataset),
            stages=stages,
            runtime=RUNTIME,
            timing=Timing(2, 1, 1.0),
            store=StoreFolder("off"),
            tracking=Tracking("sqlite:///mlflow.db", "paredown", None, None),
            budget=Budget(None, None, None),
        ).load()

    def context(self, teacher: nn.Module) -> Context:
        return Context(self.dataset, seed=0, teacher=lambda: teacher, title="habit")

    def trained(self) -> nn.Module:
        """Train for one step, with norms that fit their activations and do something."""
        stage = Baseline(self.source, TRAINING)
        module = stage(None, self.context(nn.Identity())).module
        batch_norms = []
        for part in module.modules():
            weight = getattr(part, "weight", None)
            if isinstance(weight, nn.Parameter) and weight.ndim == 1 and "Norm" in str(type(part)):
                nn.init.uniform_(weight, 0.5, 1.5)
                if isinstance(getattr(part, "bias", None), nn.Parameter):
                    nn.init.uniform_(part.bias, -0.5, 0.5)
            if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.momentum is not None:
                batch_norms.append(part)
        for part in batch_norms:
            part.momentum = 1.0
        with torch.no_grad():
            module.train()(self.images)
        for part in batch_norms:
            part.momentum = 0.1
        return module.eval()

    def reloaded(self, module: nn.Module, name: str) -> nn.Module:
        """Save and load a network; see that it gives the same bits."""
        self.step = f"save {name}"
        folder = self.folder / name
        folder.mkdir()
        classes, shape = len(self.dataset.classes), self.dataset.input_shape
        model.save(module, self.source, classes, shape, folder)
        self.step = f"load {name}"
        loaded, _ = model.load(folder)
        loaded = loaded.to(memory_format=torch.contiguous_format)
        module = module.to(memory_format=torch.contiguous_format)  # equal sums in equal layouts
        with torch.no_grad():
            expected, found = module(self.images), loaded(self.images)
        assert torch.equal(found, expected), f"off by {(found - expected).abs().max():.2g}"
        self.step = f"count {name}"
        assert footprint.macs(loaded, shape) > 0
        assert footprint.layers(loaded, shape)
        return loaded

    def pruned(self, module: nn.Module) -> tuple[nn.Module, PruningGroups]:
        """Prune a copy, and compare it with the whole network with zeros in its place."""
        pruning = Pruning(Magnitude(2), "local", ROUND_TO, self.dataset)
        scored, smaller = deepcopy(module), deepcopy(module)
        scores = pruning.score(scored, 0)
        found = pruning.find(scored)
        cuts = pruning.prune(smaller, AMOUNT, scores)
        assert [cut.name for cut in cuts] == [group.name for group in found.groups]
        for group, cut in zip(found.groups, cuts, strict=True):
            step = group.width * (1 if group.attention else -(-ROUND_TO // group.width))
            asked = min(max(cut.before * (1 - AMOUNT), step), cut.before)
            assert abs(cut.after - asked) <= step, (cut, asked)
        self.step = "compare with masked"
        with torch.no_grad():  # what a network remembers of its last images can be copied then
            same, _ = scored(self.images), smaller(self.images)
            assert torch.allclose(same, module(self.images), atol=1e-5), "the search changed it"
        self.require_same_as_masked(scored.double(), found, cuts, deepcopy(smaller).double())
        return smaller, found

    def require_same_as_masked(
        self, scored: nn.Module, found: PruningGroups, cuts: list[Cut], smaller: nn.Module
    ) -> None:
        images = self.images.double()
        masks = channel_masks(found.groups, {cut.name: cut.units for cut in cuts})
        with torch.no_grad():
            logits = smaller(images)
            with masked(scored, masks):
                if self.over_channels:
                    with LiveChannels():
                        expected = scored(images)
                else:
                    expected = scored(images)
        wanted = len(images), len(self.dataset.classes)
        assert logits.shape == wanted, f"logits of {tuple(logits.shape)}, not of {wanted}"
        off = float((logits - expected).abs().max() / expected.abs().max())
        assert off <= MASKED, f"off by {off:.2g} of the largest logit"

    def lowered(self, module: nn.Module) -> float:
        """Lower into float32 and int8, and compare the answers; tell the error of int8."""
        self.step = "lower"
        exact, rough = self.folder / "float32", self.folder / "int8"
        exact.mkdir(), rough.mkdir()
        variant = Variant(module, self.source)
        RUNTIME.lower(variant, self.dataset, exact)
        images = self.images.numpy()
        program = RUNTIME.load(exact)
        with torch.no_grad():
            expected = module(self.images).float().numpy()
        logits = program(images)
        near = LOWERED * max(1.0, float(np.abs(expected).max()))
        assert np.abs(logits - expected).max() <= near
        assert np.abs(program(images[:1]) - expected[:1]).max() <= near, "one image alone"
        self.step = "int8"
        asked = STATIC(variant, self.context(nn.Identity()))
        conversion = RUNTIME.lower(asked, self.dataset, rough, exact)
        logits = RUNTIME.load(rough)(images)
        assert conversion.integer > 0
        assert np.isfinite(logits).all()
        return self.error(logits, expected)

    def error(self, logits: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
        """Tell the error of int8, as a share of the spread of the logits."""
        over_images = float(np.sqrt(np.mean(expected.std(axis=0) ** 2)))
        assert over_images > 1e-4, "every image has the same logits"
        error = float(np.sqrt(np.mean((logits - expected) ** 2)))
        assert error <= INT8 * expected.std(), f"off by {error / expected.std():.2g} of the spread"
        return error / float(expected.std())


class LiveChannels(TorchFunctionMode):
    """Let norms and means look at the channels that are left, as they do once others are gone.

    A channel is gone where it is 0 for all images at all places.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gone: dict[int, torch.Tensor] = {}  # by the count of channels, from the last norm

    def __torch_function__(
        self, function: Any, types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        options = options or {}
        name = getattr(function, "__name__", "")
        if name in ("layer_norm", "rms_norm") and function.__module__ == "torch.nn.functional":
            return self._normed(name, *arguments, **options)
        if name == "group_norm" and function.__module__ == "torch.nn.functional":
            return self._grouped(*arguments, **options)
        if name == "mean":
            return self._mean(function, *arguments, **options)
        return function(*arguments, **options)

    def _live(self, x: torch.Tensor, axis: int) -> torch.Tensor:
        """Tell which channels are there, (C,); if all are, those of the last such axis."""
        live = (x != 0).movedim(axis, 0).flatten(1).any(1)
        if live.all():
            return self.gone.get(len(live), live)
        self.gone[len(live)] = live
        return live

    def _mean(self, mean: Any, x: torch.Tensor, dim: Any = None, **options: Any) -> torch.Tensor:
        if not isinstance(dim, int):  # of pixels, or of all there is
            return mean(x, **options) if dim is None else mean(x, dim, **options)
        kept = self._live(x, dim).nonzero().flatten()
        return mean(x.index_select(dim, kept), dim, **options)

    def _normed(
        self,
        name: str,
        x: torch.Tensor,
        normalized_shape: Any,
        weight: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        eps: float | None = None,
    ) -> torch.Tensor:
        live = (x != 0).flatten(0, -2).any(0)
        kept = x[..., live]
        mean = kept.mean(-1, keepdim=True) if name == "layer_norm" else torch.zeros_like(x[..., :1])
        spread = (kept - mean).square().mean(-1, keepdim=True)
        eps = torch.finfo(x.dtype).eps if eps is None else eps
        normed = (x - mean) * torch.rsqrt(spread + eps) * live
        normed = normed if weight is None else normed * weight
        return normed if bias is None else normed + bias * live

    def _grouped(
        self,
        x: torch.Tensor,
        num_groups: int,
        weight: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        eps: float = 1e-5,
    ) -> torch.Tensor:
        parts, shape = [], (1, -1, *(1 for _ in x.shape[2:]))
        for part in x.chunk(num_groups, 1):
            live = (part != 0).movedim(1, 0).flatten(1).any(1)
            kept = part[:, live].flatten(1)
            mean, spread = kept.mean(1), kept.var(1, correction=0)
            mean, spread = (each.view(-1, *(1 for _ in x.shape[1:])) for each in (mean, spread))
            parts.append((part - mean) * torch.rsqrt(spread + eps) * live.view(shape))
        normed = torch.cat(parts, 1)
        normed = normed if weight is None else normed * weight.view(shape)
        return normed if bias is None else normed + bias.view(shape)
