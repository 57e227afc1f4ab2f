"""Images of any size in one folder per class, ImageNet's too: decoded once, or streamed."""

import os
from dataclasses import dataclass
from pathlib import Path

from paredown.dataset import Dataset, Split
from paredown.dataset.listing import another_level, class_names, is_image, list_images
from paredown.dataset.preprocessing import IMAGENET_MEAN, IMAGENET_STD, check_resize, resize_of
from paredown.dataset.source import Source, check_shares
from paredown.dataset.splits import draw_splits
from paredown.errors import require

OTHER_NAMES = {  # of the folders of splits, where one of the configured name is not there
    "train": ("training",),
    "val": ("valid", "validation"),
    "test": ("testing",),
}
KEY = "dataset.folder"


@dataclass(frozen=True, kw_only=True)
class ImageFolder(Source):
    """One folder per class, split by a seed or into folders.

    Args:
        name: Of the data, in tables and runs.
        folder: Holds the class folders, or folders of splits which hold them.
        train, val, test: Names of the folders of splits. Without the first of them all of
            `folder` is split; a split without a folder takes its share of the training images.
        val_share, test_share: Of the images of each class, where they are split by the seed.
        size: Side of the squares that the network sees, in pixels.
        center: Share of the shorter side whose centred square resize=crop shows; null: 1.
        area: Training shows random crops of at least this share of an image; 1: no such crops.
        cache: Folder of decoded images; null for the user's cache folder.
        cache_mb: Images that take more than this decoded, or that training crops at random, are
            decoded on access; in 1e6 bytes.
        workers: Threads that decode; null for one per core.
        max_broken: Share of images that may be broken, [0, 1); they are logged and left out.
        flip: Whether training mirrors half of the images.
        channels: 3 for RGB, 1 for grey.
        resize: stretch, crop or letterbox, see `Resize`; null: crop with a `center`, else as
            published weights were trained, else stretch.
        interpolation: Pillow's filter; null: that of published weights, else bilinear.
        fill: Of letterbox's bars, 0 to 255.
    """

    name: str
    folder: str
    train: str
    val: str | None
    test: str | None
    val_share: float
    test_share: float
    size: int
    center: float | None
    area: float
    cache: str | None
    cache_mb: float
    workers: int | None
    max_broken: float
    flip: bool
    channels: int = 3
    resize: str | None = None
    interpolation: str | None = None
    fill: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_shares(self.val_share, self.test_share)
        require(8 <= self.size <= 2048, "size", "lie in 8..2048 pixels", self.size)
        check_resize(self.resize, self.center, self.interpolation, self.fill)
        require(0 < self.area <= 1, "area", "lie in (0, 1]", self.area, "1 crops nothing")
        require(self.cache_mb >= 0, "cache_mb", "be at least 0", self.cache_mb, "0 streams always")
        valid = self.workers is None or self.workers >= 1
        require(valid, "workers", "be at least 1, or null for one per core", self.workers)
        require(0 <= self.max_broken < 1, "max_broken", "lie in [0, 1)", self.max_broken)
        self._check(self.size, self.channels)

    def load(self) -> Dataset:
        """List the images, scan new ones, and split them."""
        places = self._places()
        classes = class_names(places["train"])
        _require_text(classes)
        hint = another_level(places["train"]) if len(classes) < 2 else ""
        hint = hint or "one folder per class, with that class's images in it"
        require(len(classes) >= 2, KEY, "hold two classes or more", classes, hint)
        folders = {role: self._index(place, classes, role) for role, place in places.items()}
        shares = {"val": self.val_share, "test": self.test_share}
        shares = {role: share for role, share in shares.items() if role not in folders}
        drawn = draw_splits(folders["train"].labels, shares, self.split_seed)
        splits = folders | {role: folders["train"].take(part) for role, part in drawn.items()}
        for role, split in splits.items():
            require(len(split) > 0, KEY, f"leave an image to {role}", len(split))
        for role in ("train", "val"):
            _require_all(classes, splits[role], role)
        return self._dataset(
            self.name,
            (splits["train"], splits["val"], splits["test"]),
            classes,
            IMAGENET_MEAN,
            IMAGENET_STD,
            flip=self.flip,
            resize=resize_of(self.resize, self.center, self.interpolation, self.fill),
            drawn=tuple(shares),
        )

    def _index(self, place: Path, classes: tuple[str, ...], role: str) -> Split:
        from platformdirs import user_cache_path

        from paredown.dataset.images import View  # Pillow comes with it
        from paredown.dataset.indexed_folder import index_folder

        cache = user_cache_path("paredown") / "images"
        if self.cache is not None:
            cache = Path(self.cache).expanduser().absolute()
        resize = resize_of(self.resize, self.center, self.interpolation, self.fill)
        area = self.area if role == "train" else 1.0
        view = View(self.size, self.channels, resize, area, self.workers or os.cpu_count() or 1)
        listing = list_images(place, classes, complete=role == "train")
        return index_folder(listing, view, cache, self.cache_mb, self.max_broken)

    def _places(self) -> dict[str, Path]:
        """Find the folders of the splits; there is always one of `train`."""
        root = Path(self.folder).expanduser().absolute()
        require(root.is_dir(), KEY, "be a folder with one folder per class", str(root))
        places: dict[str, Path] = {}
        for role, name in {"train": self.train, "val": self.val, "test": self.test}.items():
            paths = [root / alias for alias in (name, *OTHER_NAMES[role])] if name else []
            place = next((path for path in paths if path.is_dir() and path != root), None)
            places |= {role: place} if place else {}
        if all(map(_is_class, places.values())):
            return {"train": root}
        _require_splits_alone(root, places)
        hint = f"it holds {' and '.join(place.name for place in places.values())}"
        require("train" in places, KEY, f"hold {self.train}", str(root), hint)
        return places


def _require_text(names: tuple[str, ...]) -> None:
    """Raise ConfigError for a class whose name is not UTF-8: tables, cards and MLflow write it."""
    for name in names:
        text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        require(text == name, KEY, "hold class folders named in UTF-8", text, "rename it")


def _require_all(classes: tuple[str, ...], split: Split, role: str) -> None:
    """Raise ConfigError if a class has no readable image in a split."""
    empty = sorted(set(range(len(classes))) - set(split.labels.tolist()))
    rule = f"leave an image that can be read to every class in {role}"
    hint = "add some, or raise dataset.val_share" if role == "val" else ""
    require(not empty, KEY, rule, ", ".join(classes[label] for label in empty[:5]), hint)


def _is_class(folder: Path) -> bool:
    """Return whether a folder named like a split is a class: it holds images and no folders."""
    return not class_names(folder) and any(is_image(file.name) for file in folder.iterdir())


def _require_splits_alone(root: Path, splits: dict[str, Path]) -> None:
    """Raise ConfigError if one folder may be the split `train` as well as a class of that name."""
    if set(splits) != {"train"}:
        return
    others = [
        name
        for name in class_names(root)
        if root / name != splits["train"]
        and any(is_image(file) for _, _, files in os.walk(root / name) for file in files)
    ]
    name = splits["train"].name
    hint = f"rename {name} if it is a class, or move {', '.join(others[:3])} away if it is a split"
    require(not others, KEY, "hold splits or classes, not both", [name, *others[:3]], hint)
