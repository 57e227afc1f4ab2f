"""Try a network before any work: on the shape of real images, or on the images themselves."""

from typing import TYPE_CHECKING

from paredown.dataset import Dataset
from paredown.errors import ConfigError, require
from paredown.model import ModelSource, classifier, outline
from paredown.model.weights import start

if TYPE_CHECKING:
    from torch import nn


def tried(source: ModelSource, dataset: Dataset) -> "nn.Module":
    """Build a network and see that it answers as it must, with the weights that it starts from.

    Where its code allows that, it is built without numbers: shapes are enough to tell. A user's
    own is built with them, and sees real images.

    Raises:
        ConfigError: If it fails, does not give a logit a class, or its weights do not fit.
    """
    import torch

    classes, shape = len(dataset.classes), dataset.input_shape
    network = outline(source, classes, shape).eval()
    images = torch.from_numpy(dataset.normalize(dataset.val.images[:2]))
    device = next((weight.device for weight in network.parameters()), torch.device("cpu"))
    size = "x".join(map(str, shape))
    try:
        with torch.no_grad():
            logits = network(images.to(device))
    except Exception as error:  # whatever a user's own code raises
        told = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"model {source.name} must take images of {size}, got {type(error).__name__}: {told}"
        ) from error
    got = tuple(logits.shape) if torch.is_tensor(logits) else type(logits).__name__
    wanted = (len(images), classes)
    rule = f"map {len(images)} images of {size} to logits {wanted}, one a class"
    require(got == wanted, f"model {source.name}", rule, got)
    classifier(network, classes)
    if source.weights is not None:
        start(source, classes, shape)
    return network
