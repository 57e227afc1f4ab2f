"""Which point to try next: samplers by name, and the points that a search starts with."""

import itertools
from collections.abc import Callable, Sequence
from functools import partial

from optuna.samplers import (
    BaseSampler,
    GPSampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)

from hydra_plugins.paredown_sweeper._space import Space, Value, marks, values_of
from paredown.store.hashing import key_of

AMOUNT = "prune.amount"
GRID = "grid"
# Optuna's own 10 and 50 are for hundreds of trials; a search of networks has tens.
STARTUP, POPULATION = 6, 8
# In 16 trials of benchmarks/search_front.py GP finds more than random search and TPE does not, but
# it takes half a second a trial, and more with each: nothing where a trial trains, and little else.
AUTO, GP_TRIALS = "auto", 48

SAMPLERS: dict[str, Callable[..., BaseSampler]] = {
    "tpe": partial(TPESampler, n_startup_trials=STARTUP),
    "nsga2": partial(NSGAIISampler, population_size=POPULATION),
    "gp": partial(GPSampler, n_startup_trials=STARTUP),
    "random": RandomSampler,
    GRID: RandomSampler,  # never asked: every point is given
}
NAMES = (AUTO, *SAMPLERS, "qmc")


def sampler(name: str, seed: int, slot: int) -> BaseSampler:
    """Make the sampler of one trial.

    Its randomness comes from the seed and the slot alone, the number of trials that were asked
    before without those that a dead process left: a search that was killed goes on as it would.
    """
    own = int(key_of([seed, slot])[:8], 16)
    if name == AUTO:
        name = "gp" if slot < GP_TRIALS else "tpe"
    if name != "qmc":
        return SAMPLERS[name](seed=own)
    return QMCSampler(  # one sequence for the whole search; the study counts its points
        seed=seed,
        scramble=True,
        independent_sampler=RandomSampler(seed=own),
        warn_independent_sampling=False,
    )


def starts(
    name: str,
    space: Space,
    enqueue: Sequence[dict[str, object]] | None,
    default: dict[str, Value] | None,
) -> list[dict[str, Value]]:
    """List the points that a search starts with; of a grid they are all, in order.

    They are those that the user enqueues, or else the configuration's own values, if they are in
    the space, then the ends and the middle of prune.amount.

    Raises:
        ConfigError: For a point outside of the space, or a grid over an interval.
    """
    key = "hydra.sweeper.enqueue"
    first = [space.point(values, key) for values in enqueue or []]
    if name == GRID:
        lists = [values_of(swept, one) for swept, one in space.swept.items()]
        grid = [dict(zip(space.swept, values, strict=True)) for values in itertools.product(*lists)]
        return [*first, *(point for point in grid if point not in first)]
    if enqueue is not None:
        return first
    amounts = dict.fromkeys(marks(space.swept[AMOUNT])) if AMOUNT in space.swept else ()
    return [*([default] if default else []), *({AMOUNT: value} for value in amounts)]
