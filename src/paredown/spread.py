"""The interval of a mean."""

import math
import statistics
from collections.abc import Sequence


def student_t(freedom: int) -> float:
    """Give the 97.5 % quantile of Student's t distribution.

    Args:
        freedom: Degrees of freedom, at least 1.
    """
    from scipy.special import stdtrit  # scipy.stats takes most of a second to import

    return float(stdtrit(freedom, 0.975))


def mean_margin(values: Sequence[float]) -> tuple[float, float]:
    """Give a mean and half of its 95 % interval, by Student's t; 0 for a single value.

    t(n - 1) * standard deviation / sqrt(n)
    """
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, 0.0
    return mean, student_t(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
