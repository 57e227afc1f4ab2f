"""The objectives of a search."""

import logging
import re
from collections.abc import Iterable

from paredown.errors import require
from paredown.metric import MAXIMIZE, MINIMIZE

log = logging.getLogger(__name__)

DEFAULT = {"accuracy": MAXIMIZE, "size_mb": MINIMIZE, "speedup": MAXIMIZE}
# The speed-up, not milliseconds: they drift by 40 % on a shared machine, the ratio by 5 to 8 %.
BY_TIME = {"accuracy": MAXIMIZE, "size_mb": MINIMIZE, "latency_ms": MINIMIZE}
AGAINST = re.compile(r"(model|runtime|dataset|baseline)(\..*)?")  # what a speed-up is against


def objectives_of(objectives: dict[str, str] | None, swept: Iterable[str]) -> dict[str, str]:
    """Return the objectives, or choose them; speed-ups of different baselines are never compared.

    Raises:
        ConfigError: If the speed-up is asked for, and its baseline is swept.
    """
    moves = [name for name in swept if AGAINST.fullmatch(name)]
    if objectives is None and moves:
        log.info("speed is searched in latency_ms, since %s changes the baseline", moves[0])
        return BY_TIME
    compared = not moves or "speedup" not in (objectives or {})
    rule = f"name latency_ms in the place of speedup where {', '.join(moves)} is swept"
    hint = "speed-ups against different baselines cannot be compared"
    require(compared, "hydra.sweeper.objectives", rule, objectives, hint)
    return objectives or DEFAULT
