"""Each network of a run is tried on real images before any work, once per process."""

import json
from typing import TYPE_CHECKING

from paredown.dataset import Dataset
from paredown.model import ModelSource
from paredown.store.hashing import describe
from paredown.training import Training

if TYPE_CHECKING:
    from torch import nn

_PASSED: dict[str, "nn.Module"] = {}  # the jobs of a sweep share a process


def require_valid_model(
    source: ModelSource, dataset: Dataset, training: Training | None = None
) -> "nn.Module":
    """Build a network with the weights that it starts from, and check that it can be worked with.

    Checked once per number of classes and shape of images, whatever the images are; see `try_out`
    for what is refused. Returns the network on the meta device; it must not be changed.
    """
    shape = len(dataset.classes), *dataset.input_shape
    precision = training and (training.precision, training.device, training.epochs > 0)
    key = json.dumps([describe(source), source.fingerprint, shape, precision], default=str)
    if key not in _PASSED:
        from paredown.model.trial import try_out

        _PASSED[key] = try_out(source, dataset, training).to("meta")
    return _PASSED[key]
