"""Images of any size in one folder a class, ImageNet's too: decoded once, or streamed."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from paredown.dataset import Dataset, Split, augment
from paredown.dataset.division import stratify
from paredown.dataset.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Resize,
    check_normalization,
    check_resize,
    per_channel,
    resize_of,
)
from paredown.errors import require

if TYPE_CHECKING:
    from paredown.dataset.pile import Pile

OTHER_NAMES = {  # of the folders of splits, where one of the configured name is not there
    "train": ("training",),
    "val": ("valid", "validation"),
    "test": ("testing",),
}


@dataclass(frozen=True)
class ImageFolder:
    """One folder a class, split by a seed or into folders.

    Args:
        name: As tables and runs name the data.
        folder: Holds the class folders, or folders of splits which hold them.
        train, val, test: Names of the folders of splits. Without the first of them all of
            `folder` is split; of a split that has none, the share is taken from the training
            images.
        val_share, test_share: Of the images of each class, where they are split by the seed.
        split_seed: Draws the split; not the seed of a run, so that all runs see the same images.
        size: Images are shown as squares of this side, in pixels.
        center: Share of the shorter side whose centred square resize=crop shows; null: 1.
        area: Training shows random crops of at least this share of an image; 1: no such crops.
        cache: Where decoded images are kept; null for the user's cache folder.
        cache_mb: Images that take more than this decoded, or that training crops at random, are
            decoded whenever they are due; in 1e6 bytes.
        workers: Threads that decode; null for one a core.
        max_broken: Share of images that may be broken, [0, 1); they are told and left out.
        crop: Shift of training images, in pixels.
        flip: Whether training mirrors half of the images.
        mixup: How strongly training blends images; 0 for none.
        channels: 3 for RGB, 1 for grey.
        resize: stretch, crop or letterbox, see `Resize`; null: crop with a `center`, else what
            published weights were trained to see, else stretch.
        interpolation: Pillow's filter; null: that of published weights, else bilinear.
        fill: Of letterbox's bars, 0 to 255.
        mean, std: Of pixels scaled to 0..1, a number or one a channel; null: those of published
            weights, else ImageNet's.
    """

    name: str
    folder: str
    train: str
    val: str | None
    test: str | None
    val_share: float
    test_share: float
    split_seed: int
    size: int
    center: float | None
    area: float
    cache: str | None
    cache_mb: float
    workers: int | None
    max_broken: float
    crop: int
    flip: bool
    mixup: float
    channels: int = 3
    resize: str | None = None
    interpolation: str | None = None
    fill: int = 0
    mean: float | list[float] | None = None
    std: float | list[float] | None = None

    def __post_init__(self) -> None:
        for key in ("val_share", "test_share"):
            value = getattr(self, key)
            require(0 < value < 1, key, "lie in (0, 1)", value)
        both = self.val_share + self.test_share
        require(both < 1, "test_share", f"be below {1 - self.val_share:g}", self.test_share)
        require(self.split_seed >= 0, "split_seed", "be at least 0", self.split_seed)
        require(8 <= self.size <= 2048, "size", "lie in 8..2048 pixels", self.size)
        check_resize(self.resize, self.center, self.interpolation, self.fill)
        check_normalization(self.mean, self.std, self.channels)
        require(0 < self.area <= 1, "area", "lie in (0, 1]", self.area, "1 crops nothing")
        require(self.cache_mb >= 0, "cache_mb", "be at least 0", self.cache_mb, "0 streams always")
        enough = self.workers is None or self.workers >= 1
        require(enough, "workers", "be at least 1, or null for one a core", self.workers)
        require(0 <= self.max_broken < 1, "max_broken", "lie in [0, 1)", self.max_broken)
        augment.check(self.crop, self.mixup, self.size)

    def load(self) -> Dataset:
        """List the images, look through new ones, and split them."""
        from paredown.dataset.listing import another_level, class_names

        places = self._places()
        classes = class_names(places["train"])
        _require_text(classes)
        hint = another_level(places["train"]) if len(classes) < 2 else ""
        hint = hint or "one folder a class, with that class's images in it"
        require(len(classes) >= 2, "dataset.folder", "hold two classes or more", classes, hint)
        piles = {role: self._pile(place, classes, role) for role, place in places.items()}
        whole = piles["train"]
        shares = tuple(
            0.0 if role in piles else share
            for role, share in (("val", self.val_share), ("test", self.test_share))
        )
        *drawn, rest = stratify(whole.labels, shares, self.split_seed)
        order = np.random.default_rng(self.split_seed).permutation(rest)  # the first calibrate
        splits = {"train": whole.split(order)}
        for role, index in zip(("val", "test"), drawn, strict=True):
            splits[role] = piles[role].split() if role in piles else whole.split(index)
        for role, split in splits.items():
            require(len(split) > 0, "dataset.folder", f"leave an image to {role}", len(split))
        for role in ("train", "val"):
            _require_all(classes, splits[role], role)
        return Dataset(
            name=self.name,
            train=splits["train"],
            val=splits["val"],
            test=splits["test"],
            classes=classes,
            mean=per_channel(self.mean, self.channels, IMAGENET_MEAN),
            std=per_channel(self.std, self.channels, IMAGENET_STD),
            crop=self.crop,
            flip=self.flip,
            mixup=self.mixup,
            resize=self._resize,
            drawn=tuple(role for role in ("val", "test") if role not in piles),
        )

    @property
    def _resize(self) -> Resize:
        return resize_of(self.resize, self.center, self.interpolation, self.fill)

    def _pile(self, place: Path, classes: tuple[str, ...], role: str) -> "Pile":
        from platformdirs import user_cache_path

        from paredown.dataset.images import View  # Pillow comes with it
        from paredown.dataset.listing import find
        from paredown.dataset.pile import heap

        cache = user_cache_path("paredown") / "images"
        if self.cache is not None:
            cache = Path(self.cache).expanduser().absolute()
        workers = self.workers or os.cpu_count() or 1
        area = self.area if role == "train" else 1.0
        view = View(self.size, self.channels, self._resize, area, workers)
        listing = find(place, classes, complete=role == "train")
        return heap(listing, view, cache, self.cache_mb, self.max_broken)

    def _places(self) -> dict[str, Path]:
        """Find the folders of the splits that are given; `train` is always one."""
        root = Path(self.folder).expanduser().absolute()
        require(root.is_dir(), "dataset.folder", "be a folder with one folder a class", str(root))
        names = {"train": self.train, "val": self.val, "test": self.test}
        given: dict[str, Path] = {}
        for role, name in names.items():
            named = [root / name for name in (name, *OTHER_NAMES[role]) if name] if name else []
            there = next((place for place in named if place.is_dir() and place != root), None)
            given |= {role: there} if there else {}
        if all(map(_is_class, given.values())):
            return {"train": root}
        _require_splits_alone(root, given)
        hint = f"it holds {' and '.join(place.name for place in given.values())}"
        require("train" in given, "dataset.folder", f"hold {self.train}", str(root), hint)
        return given


def _require_text(names: tuple[str, ...]) -> None:
    """Raise ConfigError for a class whose name is no text: tables, cards and MLflow write it."""
    for name in names:
        text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        rule = "hold class folders named in UTF-8"
        require(text == name, "dataset.folder", rule, text, "rename it")


def _require_all(classes: tuple[str, ...], split: Split, role: str) -> None:
    """Raise ConfigError if a class has no image of a split that can be read."""
    lacks = sorted(set(range(len(classes))) - set(split.labels.tolist()))
    rule = f"leave an image that can be read to every class in {role}"
    hint = "add some, or raise dataset.val_share" if role == "val" else ""
    names = ", ".join(classes[label] for label in lacks[:5])
    require(not lacks, "dataset.folder", rule, names, hint)


def _is_class(folder: Path) -> bool:
    """Tell a class folder that is called as a split is: its images lie right in it."""
    from paredown.dataset.listing import ENDINGS, class_names

    return not class_names(folder) and any(
        file.name.lower().endswith(ENDINGS) for file in folder.iterdir()
    )


def _require_splits_alone(root: Path, splits: dict[str, Path]) -> None:
    """Raise ConfigError if one folder may be the split `train` as well as a class of that name."""
    from paredown.dataset.listing import class_names

    if set(splits) != {"train"}:
        return
    others = [
        name
        for name in class_names(root)
        if root / name != splits["train"] and _holds_images(root / name)
    ]
    name = splits["train"].name
    hint = f"rename {name} if it is a class, or move {', '.join(others[:3])} away if it is a split"
    got = [name, *others[:3]]
    require(not others, "dataset.folder", "hold splits or classes, not both", got, hint)


def _holds_images(folder: Path) -> bool:
    from paredown.dataset.listing import ENDINGS

    return any(name.lower().endswith(ENDINGS) for _, _, names in os.walk(folder) for name in names)
