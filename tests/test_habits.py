"""Every network of `habits` goes through the product, or is refused before any work."""

from pathlib import Path

import pytest
from habits import HABITS
from habits.walk import Walk

from paredown.dataset import Dataset
from paredown.errors import ConfigError
from paredown.model.custom import Custom

QUICK = [
    "AttentionOfPixels",
    "BufferNotKept",
    "DetachedBranch",
    "EncoderLayer",
    "FlattenedChannelsLast",
    "HalvesOfBlocks",
    "HeadDefinedFirst",
    "KernelOfImage",
    "PixelsAlone",
    "SelectiveKernel",
    "StatisticsOfBatch",
    "TokenOfLength",
    "UnevenSplit",
    "WidthWrittenOut",
    "ZerosOnBothSides",
]

pytestmark = pytest.mark.filterwarnings(
    "ignore:Memory efficient kernel not used",
    "ignore:.*does not have a deterministic",
    "ignore:`torch.nn.utils.weight_norm` is deprecated",
    "ignore:Lazy modules are a new feature",
)


def require_as_expected(name: str, dataset: Dataset, folder: Path) -> None:
    habit = HABITS[name]
    source = Custom(name, f"{habit.network.__module__}.{name}", None)
    walk = Walk(source, dataset, folder, habit.over_channels)
    try:
        walked = walk.run()
    except ConfigError as refusal:
        line = str(refusal)
        if walk.step != "check" or not habit.refusal:
            raise
        assert "\n" not in line
        assert habit.refusal in line
    else:
        assert habit.groups, f"it must be refused, with {habit.refusal}"
        assert len(walked.found.groups) >= habit.groups, walked.found.fixed
        assert walked.parameters <= habit.parameters


@pytest.mark.parametrize("name", QUICK)
def test_a_dozen_habits_go_all_the_way_or_are_refused(
    name: str, few: Dataset, tmp_path: Path
) -> None:
    require_as_expected(name, few, tmp_path)


@pytest.mark.zoo
@pytest.mark.parametrize("name", sorted(HABITS))
def test_every_habit_goes_all_the_way_or_is_refused(
    name: str, few: Dataset, tmp_path: Path
) -> None:
    require_as_expected(name, few, tmp_path)
