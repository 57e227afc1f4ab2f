"""The preprocessing that libraries state for their published weights."""

import logging
from collections.abc import Iterable

from paredown.dataset.preprocessing import Preprocessing
from paredown.model import ModelSource, Publishes
from paredown.model.weights import is_file

log = logging.getLogger(__name__)


def preprocessing(source: ModelSource) -> Preprocessing | None:
    """Return what the library of a network states for its published weights, if it states any."""
    return source.preprocessing() if isinstance(source, Publishes) else None


def stated(sources: Iterable[ModelSource]) -> Preprocessing | None:
    """Return the preprocessing of the first network that starts from published weights.

    All of a run's networks see the same images: one that states another normalization is logged.
    """
    first: Preprocessing | None = None
    for source in sources:
        is_published = source.weights is not None and not is_file(source.weights)
        own = preprocessing(source) if is_published else None
        first = first or own
        if first and own and (own.mean, own.std) != (first.mean, first.std):
            log.warning(
                "%s, mean %s and std %s, give way to %s: a run has one normalization",
                own.origin, own.mean, own.std, first.origin,
            )  # fmt: skip
    return first
