"""One group pruned at a time: the figures, the picture, and that it runs as an experiment."""

import json
from pathlib import Path

import pytest
from command import SMALL, run_here
from torch import nn

from paredown.errors import ConfigError
from paredown.prune.criterion.magnitude import Magnitude
from paredown.studies.prune_sensitivity import Sensitivity


@pytest.mark.parametrize("amounts", [[], [0.0], [1.0, 0.5]])
def test_amounts_that_prune_nothing_or_all_are_refused(amounts: list[float]) -> None:
    with pytest.raises(ConfigError, match=r"^amounts must be a list of fractions in"):
        Sensitivity(Magnitude(2), amounts, 8)


def test_a_rounding_that_no_layer_allows_is_refused_before_anything_is_trained() -> None:
    network = nn.Sequential(nn.Conv2d(3, 48, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(
        ConfigError, match=r"^study\.round_to must be below 48, the channels of the"
    ):
        Sensitivity(Magnitude(2), [0.5], 64).check({}, network)
    Sensitivity(Magnitude(2), [0.5], 40).check({}, network)


def test_the_experiment_leaves_a_picture_a_table_and_the_figures(tmp_path: Path) -> None:
    done = run_here(
        tmp_path, "experiment=prune_sensitivity", "study.amounts=[0.5,0.9]", "study.round_to=2",
        "hydra.run.dir=here", *SMALL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "here" / "study"
    assert (folder / "sensitivity.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((folder / "sensitivity.json").read_text())
    assert found["amounts"] == [0.5, 0.9]
    assert [group["channels"] for group in found["groups"]] == [8, 16, 32, 64]
    table = (folder / "sensitivity.md").read_text().splitlines()
    assert table[0] == "| group | channels | 0.5 | 0.9 |"
    assert len(table) == 2 + 4
    assert "4 groups pruned one at a time; at amount 0.9" in done.stdout
    kept = {path.name for path in (tmp_path / "mlruns").rglob("sensitivity.*")}
    assert kept == {"sensitivity.png", "sensitivity.json", "sensitivity.md"}
