"""The settings that the datasets here share."""

from dataclasses import dataclass
from typing import Any

from paredown.dataset import Dataset, Split, augment
from paredown.dataset.preprocessing import Setting, check_normalization, per_channel
from paredown.errors import require


@dataclass(frozen=True, kw_only=True)
class Source:
    """A node of conf/dataset that draws splits by a seed, augments and normalizes.

    Args:
        split_seed: Draws the split; not the seed of a run, so that all runs see the same images.
        crop: Shift of training images, in pixels.
        mixup: How strongly training blends images; 0 for none.
        mean, std: Of pixels scaled to 0..1, one number or one per channel; null: those of
            published weights, else of the training images.
    """

    split_seed: int
    crop: int
    mixup: float = 0.0
    mean: Setting = None
    std: Setting = None

    def __post_init__(self) -> None:
        require(self.split_seed >= 0, "split_seed", "be at least 0", self.split_seed)

    def _check(self, size: int, channels: int) -> None:
        """Raise ConfigError for what does not fit images of a side in pixels."""
        augment.check(self.crop, self.mixup, size)
        check_normalization(self.mean, self.std, channels)

    def _dataset(
        self,
        name: str,
        splits: tuple[Split, Split, Split],
        classes: tuple[str, ...],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        **settings: Any,
    ) -> Dataset:
        """Return the dataset of these splits; `mean` and `std` hold where none is configured."""
        channels = splits[0].images.shape[1]
        return Dataset(
            name,
            *splits,
            classes,
            per_channel(self.mean, channels, mean),
            per_channel(self.std, channels, std),
            crop=self.crop,
            mixup=self.mixup,
            **settings,
        )


def check_shares(val_share: float, test_share: float) -> None:
    """Raise ConfigError unless both shares, and what they leave to train, lie in (0, 1)."""
    for key, share in (("val_share", val_share), ("test_share", test_share)):
        require(0 < share < 1, key, "lie in (0, 1)", share)
    rule = f"be below {1 - val_share:g}"
    require(val_share + test_share < 1, "test_share", rule, test_share)
