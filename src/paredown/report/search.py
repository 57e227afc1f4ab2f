"""The head of a search's page."""

import os
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paredown.config import typed
from paredown.host import machine
from paredown.printable import hide_passwords
from paredown.report.about import pick_words
from paredown.run.results import own_overrides

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from paredown.run.plan import Plan

SET_BY_HYDRA = ("hydra.mode=",)


def about_search(
    config: "DictConfig", parts: "Plan", front: Mapping[str, Any], folder: Path
) -> dict[str, str]:
    """Collect the facts of a search, by name."""
    choices, overrides = config.hydra.runtime.choices, config.hydra.overrides
    set_here = [*own_overrides(overrides.task), *overrides.hydra]
    words = [text for text in set_here if not text.startswith(SET_BY_HYDRA)]
    sizes = sorted(
        row["metrics"]["size_mb"]
        for row in front["trials"]
        if row["on_front"] and "size_mb" in row["metrics"]
    )
    place = os.path.relpath(folder) if folder.is_relative_to(Path.cwd()) else str(folder)
    student = parts.stages["distill"].label if "distill" in parts.stages else ""
    swept = {name for row in front["trials"] for name in row["params"]}
    network = str(choices.get("model")) + (f" into {student}" if student else "")
    return {
        "data": str(choices.get("dataset")),
        "network": "swept" if swept & {"model", "model@student"} else network,
        "technique": ", ".join(list(parts.stages)[1:]) or "baseline",
        "machine": f"{machine.cpu_name()} with {machine.int8_instructions()}",
        "runtime": f"{parts.runtime.name}, {parts.runtime.threads} threads",
        "written": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "made by": shlex.join([*typed("run").split(), "-m", *map(hide_passwords, words)]),
        "next": pick_words(sizes, place),
    }
