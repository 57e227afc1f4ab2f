"""What a network must do to be trained, kept and shipped, tried on a few real images."""

import json
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from paredown.dataset import Dataset
from paredown.dataset.preprocessing import channels_hint
from paredown.errors import ConfigError, require
from paredown.model import ModelSource, pack, unpack
from paredown.model.form import answers_wide, cast_from, layout, not_finite
from paredown.model.seeds import seeded
from paredown.model.state import differences, norms_of_batches
from paredown.model.weights import start
from paredown.training import Training

if TYPE_CHECKING:
    from torch import Tensor, nn

IMAGES = 4  # of the validation split
ROUNDING = 1e-4  # of the largest logit; batches of other sizes differ by less
PLAIN = Training(1, IMAGES, 1e-3, 0.0, 0.0, "cosine", "float32", "cpu", None)

log = logging.getLogger(__name__)


def try_out(source: ModelSource, dataset: Dataset, training: Training | None) -> "nn.Module":
    """Build a network, show it images, train it for one step, and read it again as if saved.

    Args:
        source: The node of conf/model.
        dataset: Whose images it is shown.
        training: How its weights are fitted; None: in float32, on the CPU.

    Raises:
        ConfigError: If it fails, does not give a finite logit a class, has nothing to train,
            answers otherwise when it is asked again, or with other images beside the one, or
            after it was saved; or if the weights that it starts from do not fit.
    """
    import torch

    classes = len(dataset.classes)
    index = np.arange(IMAGES) % len(dataset.val)
    images = torch.from_numpy(dataset.normalize(dataset.val.images[index]))
    labels = torch.from_numpy(dataset.val.labels[index])
    trial = Trial(source, classes, images, labels)
    with seeded(1):
        network = start(source, classes, dataset.input_shape)
        hint = "a parameter made by torch.empty has no values yet"
        broken = not_finite(network)
        require(broken is None, trial.name, "begin with finite weights", broken, hint)
        for count in (2, 3):
            trial.ask(network, count)
        trial.train(network, training or PLAIN)
        trial.require_steady(network)
    with seeded(2):
        trial.require_kept(network)
    trial.tell(network)
    return network


@dataclass
class Trial:
    """The images that a network is tried on, and what is remarkable about it.

    Args:
        source: Of the network.
        classes: Width of its logits.
        images: Normalized, (IMAGES, C, H, W).
        labels: (IMAGES,).
    """

    source: ModelSource
    classes: int
    images: "Tensor"
    labels: "Tensor"

    def __post_init__(self) -> None:
        self.name = f"model {self.source.name}"
        self.size = "x".join(map(str, self.images.shape[1:]))
        self.answer_type = ""

    def ask(self, network: "nn.Module", count: int, first: int = 0) -> "Tensor":
        """Return the logits of some images in eval mode, (count, classes), float32."""
        import torch

        shown = self.images[first : first + count].clone()
        number = "1 image" if count == 1 else f"{count} images"
        try:
            with torch.no_grad():
                answer: Any = network.eval()(shown)
        except (Exception, SystemExit) as error:  # whatever a user's own code raises
            rule = f"take images of {self.size}" if count == 2 else f"take {number} at once"
            raise self._refusal(network, rule, error) from error
        got = tuple(answer.shape) if torch.is_tensor(answer) else type(answer).__name__
        wanted = (count, self.classes)
        rule = f"map {number} of {self.size} to logits {wanted}, one a class"
        hint = "" if torch.is_tensor(answer) else "let its forward return the logits alone"
        require(got == wanted, self.name, rule, got, hint)
        logits: Tensor = answer
        rule, kind = "give floating-point logits", str(logits.dtype).removeprefix("torch.")
        require(logits.is_floating_point(), self.name, rule, kind)
        finite = bool(torch.isfinite(logits).all())
        require(finite, self.name, "give finite logits", logits.flatten()[:3].tolist())
        same = torch.equal(shown, self.images[first : first + count])
        hint = "write x = x / 2, say, for x /= 2"
        require(same, self.name, "leave its images as they are", "others in their place", hint)
        return logits

    def train(self, network: "nn.Module", training: Training) -> None:
        """Train it for one step on all images, as training will; not if all of it is frozen."""
        from paredown.training import step
        from paredown.training.loop import resolve_device, resolve_precision

        if not any(weight.requires_grad for weight in network.parameters()):
            rule, hint = "have a weight that trains", "training.epochs=0 leaves them as they are"
            require(training.epochs == 0, self.name, rule, "none", hint)
            return
        training = replace(training, learning_rate=PLAIN.learning_rate)  # the user's may be wrong
        fast, device = resolve_precision(training, network) == "bfloat16", resolve_device(training)
        optimizer, _ = step.make_optimizer(training, network.to(device), 1)
        batch = step.Batch(self.images.clone(), self.labels).to(device, layout(network))
        hook = network.register_forward_hook(self._see)
        loss = step.label_loss(0.0)
        try:
            step.take_step(network.train(), optimizer, loss, batch, fast, self.classes, {})
        except (Exception, SystemExit) as error:  # whatever a user's own code raises
            rule = f"train on {IMAGES} images of {self.size}" + " in bfloat16" * fast
            raise self._refusal(network, rule, error) from error
        finally:
            hook.remove()
        optimizer.zero_grad(set_to_none=True)
        network.to("cpu").eval()
        broken = not_finite(network)
        require(broken is None, self.name, "have finite weights after one step", broken)

    def require_steady(self, network: "nn.Module") -> None:
        """Refuse one that answers otherwise to the same image, alone or beside others."""
        import torch

        logits = self.ask(network, 2)
        if not _alike(logits, self.ask(network, 2), ROUNDING):
            raise ConfigError(
                f"{self.name} must answer alike to the same images, got another answer the second "
                "time; F.dropout and other noise want training=self.training"
            )
        alone = torch.cat([self.ask(network, 1), self.ask(network, 1, first=1)])
        three = self.ask(network, 3)[:2]
        if not (_alike(logits, alone, ROUNDING) and _alike(logits, three, ROUNDING)):
            norms = norms_of_batches(network)
            got = f"{norms}, a norm that keeps no statistics" if norms else "another answer then"
            hint = "; let it track_running_stats" if norms else ""
            raise ConfigError(
                f"{self.name} must answer to an image alone as it does to it in a batch, "
                f"got {got}{hint}"
            )

    def require_kept(self, network: "nn.Module") -> None:
        """Refuse one that answers otherwise once it was saved, built anew and filled again."""
        shape = self.images.shape[1], self.images.shape[2], self.images.shape[3]
        architecture, state = pack(network, self.source, self.classes, shape)
        again = unpack(json.loads(json.dumps(architecture)), state, self.source)
        if not _alike(self.ask(network, 2), self.ask(again, 2), ROUNDING / 10):
            got = differences(network, again) or "something that is not in its state dict"
            raise ConfigError(
                f"{self.name} must answer alike once it is saved and read again, got another "
                f"{got}; keep that in a buffer, or draw it from a seed of its own"
            )

    def tell(self, network: "nn.Module") -> None:
        """Log what is not as a user may think."""
        if cast_from(network):
            log.info("%s: its %s weights become float32", self.name, cast_from(network))
        if answers_wide(network):
            log.info("%s: its logits become float32", self.name)
        if self.answer_type not in ("", "Tensor"):
            log.info(
                "%s: answers with a %s in training; its logits alone are learnt from, "
                "what else is in it is left out", self.name, self.answer_type,
            )  # fmt: skip

    def _see(self, _: "nn.Module", __: Any, answer: Any) -> None:
        self.answer_type = type(answer).__name__

    def _refusal(self, network: "nn.Module", rule: str, error: BaseException) -> ConfigError:
        message = " ".join(str(error).split())[:200] or "no reason"
        cast = cast_from(network)
        hint = f"; its {cast} weights became float32, so its code must not ask for {cast}"
        got = f"{type(error).__name__}: {message}{hint if cast else ''}"
        return ConfigError(f"{self.name} must {rule}, got {got}{channels_hint(message)}")


def _alike(logits: "Tensor", others: "Tensor", share: float) -> bool:
    """Compare logits, up to a share of the largest."""
    return float((logits - others).abs().max()) <= share * float(logits.abs().max())
