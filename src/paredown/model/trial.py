"""Requirements on a network that is trained, saved and shipped, tried on a few real images."""

import json
import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from paredown.dataset import Dataset
from paredown.dataset.preprocessing import channels_hint
from paredown.errors import ConfigError, require
from paredown.model import ModelSource, pack, unpack
from paredown.model.form import answers_wide, cast_from, layout, not_finite
from paredown.model.loading import build_with_weights
from paredown.model.seeds import seeded
from paredown.model.state import differences, norms_of_batches
from paredown.printable import one_line
from paredown.training import Training, step
from paredown.training.loop import resolve_device, resolve_precision

IMAGES = 4  # of the validation split
ROUNDING = 1e-4  # of the largest logit; batches of other sizes differ by less
PLAIN = Training(1, IMAGES, 1e-3, 0.0, 0.0, "cosine", "float32", "cpu", None)

log = logging.getLogger(__name__)


def try_out(source: ModelSource, dataset: Dataset, training: Training | None) -> nn.Module:
    """Build a network, predict images, train it for one step, and rebuild it as if saved.

    Raises:
        ConfigError: If it fails, does not return one finite logit per class, has nothing to train,
            is not deterministic, depends on the other images of a batch, or changes when it is
            saved; or if the weights that it starts from do not fit.
    """
    index = np.arange(IMAGES) % len(dataset.val)
    images = torch.from_numpy(dataset.normalize(dataset.val.images[index]))
    labels = torch.from_numpy(dataset.val.labels[index])
    trial = Trial(source, len(dataset.classes), images, labels)
    with seeded(1):
        network = build_with_weights(source, trial.classes, dataset.input_shape)
        hint = "a parameter made by torch.empty has no values yet"
        broken = not_finite(network)
        require(broken is None, trial.name, "begin with finite weights", broken, hint)
        for count in (2, 3):
            trial.predict(network, count)
        trial.train(network, training or PLAIN)
        trial.require_deterministic(network)
    with seeded(2):
        trial.require_savable(network)
    trial.log_conversions(network)
    return network


@dataclass
class Trial:
    """The checks on a network, and the images for them: normalized, (IMAGES, C, H, W)."""

    source: ModelSource
    classes: int
    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        self.name = f"model {self.source.name}"
        self.size = "x".join(map(str, self.images.shape[1:]))
        self.output_type = ""

    def predict(self, network: nn.Module, count: int, first: int = 0) -> Tensor:
        """Return the logits of some images in eval mode, (count, classes), float32."""
        images = self.images[first : first + count].clone()
        number = "1 image" if count == 1 else f"{count} images"
        try:
            with torch.no_grad():
                output: Any = network.eval()(images)
        except (Exception, SystemExit) as error:  # of a user's own code
            rule = f"take images of {self.size}" if count == 2 else f"take {number} at once"
            raise self._refusal(network, rule, error) from error
        got = tuple(output.shape) if torch.is_tensor(output) else type(output).__name__
        expected = (count, self.classes)
        rule = f"map {number} of {self.size} to logits {expected}, one per class"
        hint = "" if torch.is_tensor(output) else "let its forward return the logits alone"
        require(got == expected, self.name, rule, got, hint)
        logits: Tensor = output
        rule, dtype = "return floating-point logits", str(logits.dtype).removeprefix("torch.")
        require(logits.is_floating_point(), self.name, rule, dtype)
        finite = bool(torch.isfinite(logits).all())
        require(finite, self.name, "return finite logits", logits.flatten()[:3].tolist())
        same = torch.equal(images, self.images[first : first + count])
        hint = "write x = x / 2, say, for x /= 2"
        require(same, self.name, "leave its images as they are", "others in their place", hint)
        return logits

    def train(self, network: nn.Module, training: Training) -> None:
        """Train it for one step on all images, as training will; not if all of it is frozen."""
        if not any(weight.requires_grad for weight in network.parameters()):
            rule, hint = "have a weight that trains", "training.epochs=0 leaves them as they are"
            require(training.epochs == 0, self.name, rule, "none", hint)
            return
        training = replace(training, learning_rate=PLAIN.learning_rate)  # the user's may be wrong
        fast, device = resolve_precision(training, network) == "bfloat16", resolve_device(training)
        optimizer, _ = step.make_optimizer(training, network.to(device), 1)
        batch = step.Batch(self.images.clone(), self.labels).to(device, layout(network))
        types: list[str] = []
        loss = step.label_loss(0.0)
        try:
            with network.register_forward_hook(lambda *call: types.append(type(call[-1]).__name__)):
                step.take_step(network.train(), optimizer, loss, batch, fast, self.classes)
        except (Exception, SystemExit) as error:  # of a user's own code
            rule = f"train on {IMAGES} images of {self.size}" + " in bfloat16" * fast
            raise self._refusal(network, rule, error) from error
        self.output_type = types[-1] if types else ""
        optimizer.zero_grad(set_to_none=True)
        network.to("cpu").eval()
        broken = not_finite(network)
        require(broken is None, self.name, "have finite weights after one step", broken)

    def require_deterministic(self, network: nn.Module) -> None:
        """Refuse a network whose logits for an image vary, or depend on the rest of the batch."""
        logits = self.predict(network, 2)
        if not _close(logits, self.predict(network, 2), ROUNDING):
            raise ConfigError(
                f"{self.name} must return the same logits for the same images, got others the "
                "second time; F.dropout and other noise want training=self.training"
            )
        alone = torch.cat([self.predict(network, 1), self.predict(network, 1, first=1)])
        three = self.predict(network, 3)[:2]
        if not (_close(logits, alone, ROUNDING) and _close(logits, three, ROUNDING)):
            norms = norms_of_batches(network)
            got = f"{norms}, a norm without running statistics" if norms else "other logits then"
            hint = "; let it track_running_stats" if norms else ""
            raise ConfigError(
                f"{self.name} must return the same logits for an image alone as in a batch, "
                f"got {got}{hint}"
            )

    def require_savable(self, network: nn.Module) -> None:
        """Refuse a network that returns other logits after it was saved and rebuilt."""
        shape = self.images.shape[1], self.images.shape[2], self.images.shape[3]
        architecture, state = pack(network, self.source, self.classes, shape)
        rebuilt = unpack(json.loads(json.dumps(architecture)), state, self.source)
        if not _close(self.predict(network, 2), self.predict(rebuilt, 2), ROUNDING / 10):
            got = differences(network, rebuilt) or "something that is not in its state dict"
            raise ConfigError(
                f"{self.name} must return the same logits after it is saved and loaded, got "
                f"another {got}; store that in a buffer, or draw it from a seed of its own"
            )

    def log_conversions(self, network: nn.Module) -> None:
        """Log conversions that a user may not expect."""
        if cast_from(network):
            log.info("%s: its %s weights become float32", self.name, cast_from(network))
        if answers_wide(network):
            log.info("%s: its logits become float32", self.name)
        if self.output_type not in ("", "Tensor"):
            log.info(
                "%s: returns a %s in training; only its logits are trained, the rest of it is "
                "ignored", self.name, self.output_type,
            )  # fmt: skip

    def _refusal(self, network: nn.Module, rule: str, error: BaseException) -> ConfigError:
        message = one_line(str(error))[:200] or "no reason"
        cast = cast_from(network)
        hint = f"; its {cast} weights became float32, so its code must not ask for {cast}"
        got = f"{type(error).__name__}: {message}{hint if cast else ''}"
        return ConfigError(f"{self.name} must {rule}, got {got}{channels_hint(message)}")


def _close(logits: Tensor, others: Tensor, share: float) -> bool:
    """Return whether logits differ by at most a share of the largest."""
    return float((logits - others).abs().max()) <= share * float(logits.abs().max())
