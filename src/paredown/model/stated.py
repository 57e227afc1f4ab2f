"""What libraries state that their published weights were trained to see."""

import logging
from collections.abc import Iterable

from paredown.dataset.preprocessing import Preprocessing
from paredown.model import ModelSource, Publishes
from paredown.model.weights import is_file

log = logging.getLogger(__name__)


def is_published(source: ModelSource) -> bool:
    """Return whether a network starts from published weights, not from a file or fresh ones."""
    return source.weights is not None and not is_file(source.weights)


def preprocessing(source: ModelSource) -> Preprocessing | None:
    """Return what the library of a network states for its published weights, if it states any."""
    return source.preprocessing() if isinstance(source, Publishes) else None


def stated(sources: Iterable[ModelSource]) -> Preprocessing | None:
    """Return what the published weights that training starts from were trained to see.

    The first network that starts from published ones decides; another that states something else
    is told in the log, since all of a run's networks see the same images.

    Args:
        sources: Of a run's networks, the baseline's first.

    Returns:
        None if no network starts from published weights, or no library states it.
    """
    first: Preprocessing | None = None
    for source in sources:
        own = preprocessing(source) if is_published(source) else None
        first = first or own
        if first and own and (own.mean, own.std) != (first.mean, first.std):
            log.warning(
                "%s, mean %s and std %s, give way to %s: a run has one normalization",
                own.origin, own.mean, own.std, first.origin,
            )  # fmt: skip
    return first
