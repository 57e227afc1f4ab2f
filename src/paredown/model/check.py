"""Try a network before any work: on real images, with what only training would meet otherwise."""

import json
from typing import TYPE_CHECKING

from paredown.dataset import Dataset
from paredown.model import ModelSource
from paredown.model.trial import try_out
from paredown.store.hashing import describe
from paredown.training import Training

if TYPE_CHECKING:
    from torch import nn

_PASSED: dict[str, "nn.Module"] = {}  # the jobs of a sweep share a process


def tried(source: ModelSource, dataset: Dataset, training: Training | None = None) -> "nn.Module":
    """Build a network with the weights that it starts from, and see that it can be worked with.

    Each is tried once for a number of classes and a shape of images, whatever the images are.

    Args:
        source: The node of conf/model.
        dataset: Whose images it is shown.
        training: How its weights are fitted; None: in float32.

    Returns:
        The network without numbers, on the meta device; it may not be changed.

    Raises:
        ConfigError: If it cannot be used, with the reason; see `try_out`.
    """
    shape = len(dataset.classes), *dataset.input_shape
    precision = training and (training.precision, training.device, training.epochs > 0)
    key = json.dumps([describe(source), source.fingerprint, shape, precision], default=str)
    if key not in _PASSED:
        _PASSED[key] = try_out(source, dataset, training).to("meta")
    return _PASSED[key]
