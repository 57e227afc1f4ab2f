"""The head of a report: data, networks, machine, dates, and the commands around it."""

import math
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from paredown.config import typed
from paredown.pictures.page import Facts
from paredown.report.measured import Measured
from paredown.tracking.reader import Logged

SHOWN = 6  # names per fact


def about(runs: Sequence[Logged], command: str, next_command: str) -> Facts:
    """Collect the facts of a report."""
    return Facts(
        {
            "data": listed(run.tags.get("dataset", "unknown").partition(" ")[0] for run in runs),
            "networks": listed(_network(run) for run in runs),
            "techniques": listed(run.params.get("technique", "") for run in runs),
            "machine": listed(_machine(run) for run in runs),
            "runtime": listed(run.tags.get("runtime", "unknown") for run in runs),
            "measured": dates([run.started for run in runs]),
            "made by": command,
            "next": next_command,
        }
    )


def listed(texts: Iterable[str]) -> str:
    """Join distinct texts, the most frequent first, with the number of those left out."""
    names = [text for text, _ in Counter(filter(None, texts)).most_common()]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return "; ".join(names[:SHOWN]) + more


def dates(starts: Sequence[int]) -> str:
    """Write the span of dates, given in milliseconds since 1970, in UTC."""
    first, last = (
        datetime.fromtimestamp(start / 1000, UTC) for start in (min(starts), max(starts))
    )
    same_day = first.date() == last.date()
    end = "" if first == last else f" to {last:%H:%M}" if same_day else f" to {last:%Y-%m-%d %H:%M}"
    return f"{first:%Y-%m-%d %H:%M}{end} UTC"


def pick_command(
    runs: Sequence[Logged], measured: Sequence[Measured], front: Sequence[int], sweep: str | None
) -> str:
    """Return a command that picks a variant from the middle of a front, by indices into `measured`.

    Where the runs are of several data sets, it names the sweep of that variant.
    """
    variants = [measured[index] for index in front]
    by_size = sorted(variants, key=lambda variant: variant.metrics["size_mb"])
    if sweep is None and len({run.tags.get("dataset") for run in runs}) > 1 and by_size:
        sweep = runs[by_size[len(by_size) // 2].runs[0] - 1].parent
    return pick_words([variant.metrics["size_mb"] for variant in by_size], sweep)


def pick_words(sizes: Sequence[float], sweep: str | None) -> str:
    """Return the command that picks a file of a middle size from rising sizes in MB."""
    words = [] if sweep is None else [shlex.quote(f"pick.sweep={sweep}")]
    words += [f"budget.size_mb={round_up(sizes[len(sizes) // 2])}"] if sizes else []
    return " ".join([typed("pick"), *words])


def round_up(value: float) -> str:
    """Write a value rounded up to two digits."""
    if value <= 0:
        return "0"
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return f"{math.ceil(value / step - 1e-9) * step:.6g}"


def _network(run: Logged) -> str:
    model, student = run.params.get("model", ""), run.params.get("student", "")
    return f"{model} into {student}" if student else model


def _machine(run: Logged) -> str:
    cpu, int8 = run.tags.get("cpu", "unknown"), run.tags.get("int8_instructions", "")
    return f"{cpu} with {int8}" if int8 else cpu
