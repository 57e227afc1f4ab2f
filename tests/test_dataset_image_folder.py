import errno
import json
import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paredown.dataset import Dataset, indexed_folder, lazy_images
from paredown.dataset.image_folder import ImageFolder
from paredown.dataset.images import View, random_crop, read
from paredown.dataset.lazy_images import Decoded, Mapped
from paredown.dataset.preprocessing import Preprocessing, Resize, completed
from paredown.errors import ConfigError, RunError

RNG = np.random.default_rng
COLORS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


def paint(file: Path, color: tuple[int, int, int], seed: int, mode: str = "RGB") -> None:
    """Write a picture of one color and some noise, of a size of its own."""
    rng = RNG(seed)
    height, width = rng.integers(20, 90, 2)
    noise = rng.integers(-30, 30, (height, width, 3))
    pixels = np.clip(np.array(color) + noise, 0, 255).astype(np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(file)


def fill(folder: Path, each: int = 10, ending: str = "png") -> Path:
    for name, color in COLORS.items():
        for at in range(each):
            paint(folder / name / f"{at:03}.{ending}", color, at)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fill(tmp_path / "pictures")


def source(folder: Path, **fields: object) -> ImageFolder:
    plain = ImageFolder(
        name="image_folder", folder=str(folder), train="train", val="val", test="test",
        val_share=0.2, test_share=0.1, split_seed=0, size=16, center=None, area=1.0,
        cache=str(folder.parent / "cache"), cache_mb=100, workers=2, max_broken=0.0,
        crop=2, flip=True, mixup=0.0,
    )  # fmt: skip
    return replace(plain, **fields)


def pictures(data: Dataset) -> set[bytes]:
    return {
        image.tobytes()
        for split in (data.train, data.val, data.test)
        for image in split.images[: len(split)]
    }


def test_every_image_is_in_one_split_with_its_class(folder: Path) -> None:
    data = source(folder).load()
    assert data.classes == ("blue", "green", "red")
    assert [len(split) for split in (data.train, data.val, data.test)] == [21, 6, 3]
    assert len(pictures(data)) == 30
    for split in (data.train, data.val, data.test):
        assert split.images.shape == (len(split), 3, 16, 16)
        brightest = split.images[: len(split)].mean(axis=(2, 3)).argmax(axis=1)
        assert np.array_equal(brightest, 2 - split.labels)
    assert len(set(data.train.labels[:6])) > 1  # the first ones calibrate


def test_a_decoded_file_and_a_stream_hold_the_same_pixels(folder: Path) -> None:
    mapped, streamed = source(folder).load(), source(folder, cache_mb=0).load()
    assert isinstance(mapped.train.images, Mapped)
    assert isinstance(streamed.train.images, Decoded)
    for one, other in ((mapped.train, streamed.train), (mapped.test, streamed.test)):
        assert np.array_equal(one.images[: len(one)], other.images[: len(other)])
        assert np.array_equal(one.labels, other.labels)
    picked = np.array([5, 0, 7])
    for data in (mapped, streamed):
        assert np.array_equal(data.train.draw(picked, RNG(0)), data.train.images[picked])


def test_images_are_decoded_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = source(folder).load()
    (cached,) = (folder.parent / "cache").glob("*/images.npy")
    before = cached.stat().st_mtime_ns
    again = source(folder, split_seed=1).load()
    assert cached.stat().st_mtime_ns == before
    assert pictures(again) == pictures(first)
    assert again.fingerprint != first.fingerprint


def test_another_size_another_view_and_another_image_change_the_fingerprint(folder: Path) -> None:
    found = {source(folder).load().fingerprint, source(folder, cache_mb=0).load().fingerprint}
    for fields in ({"size": 20}, {"center": 0.5}, {"resize": "letterbox"}, {"channels": 1}):
        for cache_mb in (0, 100):
            found.add(source(folder, cache_mb=cache_mb, **fields).load().fingerprint)
    paint(folder / "red" / "003.png", COLORS["red"], 99)
    found |= {source(folder).load().fingerprint, source(folder, cache_mb=0).load().fingerprint}
    assert len(found) == 12


def test_the_same_images_elsewhere_have_the_same_fingerprint_once_decoded(folder: Path) -> None:
    elsewhere = fill(folder.parent / "elsewhere" / "pictures")
    assert source(folder).load().fingerprint == source(elsewhere).load().fingerprint


def test_images_of_all_modes_and_endings_are_read_as_colors(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pictures", each=4)
    for at, (mode, ending) in enumerate(
        [("L", "png"), ("1", "png"), ("P", "gif"), ("RGBA", "png"), ("CMYK", "jpg"), ("LA", "png"),
         ("RGB", "JPEG"), ("RGB", "bmp"), ("RGB", "webp"), ("RGB", "tiff"), ("L", "pgm")]
    ):  # fmt: skip
        paint(folder / "red" / f"{mode}{at}.{ending}", COLORS["red"], 50 + at, mode)
    data = source(folder).load()
    assert len(pictures(data)) == 23
    assert data.input_shape == (3, 16, 16)


NORMALIZATIONS = [
    ({"mean": 123.7, "std": 58.4}, r"mean must lie in \[0, 1\], .* got 123.7; divide it by 255"),
    ({"mean": 0.5}, r"std must be set beside mean=0.5, got None"),
    ({"std": 0.5}, r"mean must be set beside std=0.5, got None"),
    ({"mean": 0.5, "std": 0}, r"std must lie in \(0, 1\]"),
    ({"mean": [0.5, 0.5], "std": 0.5}, r"mean must be a number or 3, one per channel, got \[0.5"),
    ({"mean": [0.1] * 3, "std": 0.5, "channels": 1}, r"mean must be a number, got \[0.1"),
    ({"resize": "stretch", "center": 0.5}, r"center must be null where resize=stretch, got 0.5"),
]


@pytest.mark.parametrize(("fields", "line"), NORMALIZATIONS, ids=lambda part: str(part)[:40])
def test_a_normalization_that_cannot_be_is_refused_with_what_to_do(
    fields: dict[str, object], line: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{line}"):
        source(Path("data"), **fields)


def test_images_are_normalized_by_imagenet_s_numbers_or_by_those_that_are_set(folder: Path) -> None:
    plain, grey = source(folder).load(), source(folder, channels=1).load()
    assert (plain.mean, plain.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (grey.input_shape, grey.mean, grey.std) == ((1, 16, 16), (0.449,), (0.226,))
    half = source(folder, mean=0.5, std=[0.5, 0.25, 1.0]).load()
    white = np.full((1, 3, 16, 16), 255, np.uint8)
    assert half.normalize(white)[0, :, 0, 0].tolist() == [1.0, 2.0, 0.5]


def test_a_model_s_own_numbers_fill_in_what_is_left_open_and_nothing_else(folder: Path) -> None:
    stated = Preprocessing("theirs", (0.5,) * 3, (0.25,) * 3, Resize("crop", 0.9, "bicubic"), 224)
    data, origin = completed(source(folder), stated)
    loaded = data.load()
    assert (loaded.mean, loaded.std, loaded.resize) == (stated.mean, stated.std, stated.resize)
    assert origin == "theirs; they saw 224 pixels a side, dataset.size=16"
    fixed = source(folder, mean=0.4, std=0.2, resize="stretch", interpolation="box", size=224)
    assert completed(fixed, stated) == (fixed, "as dataset.mean and .std say")
    grey, _ = completed(source(folder, channels=1), stated)
    assert (grey.load().mean, grey.load().std) == ((0.5,), (0.25,))
    assert completed(source(folder), None)[0] == source(folder)


@pytest.mark.parametrize("name", ["valid", "validation", "val"])
def test_a_folder_of_validation_images_is_taken_under_its_usual_names(
    name: str, tmp_path: Path
) -> None:
    root = tmp_path / "pictures"
    fill(root / "train")
    for at, color in enumerate(COLORS):
        paint(root / name / color / "x.png", COLORS[color], 100 + at)
    data = source(root).load()
    assert (len(data.val), data.drawn) == (3, ("test",))
    assert source(root / "train").load().drawn == ("val", "test")


def test_given_splits_are_kept_and_what_is_not_given_is_drawn_from_train(tmp_path: Path) -> None:
    root = tmp_path / "pictures"
    fill(root / "train")
    for at, name in enumerate(COLORS):
        paint(root / "test" / name / "x.png", COLORS[name], 100 + at)
    data = source(root).load()
    assert [len(split) for split in (data.train, data.val, data.test)] == [24, 6, 3]
    data = source(root, val="test", test=None).load()
    assert [len(split) for split in (data.train, data.val, data.test)] == [27, 3, 3]


def test_broken_images_are_listed_and_left_out(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = (folder / "red" / "001.png").read_bytes()
    (folder / "red" / "001.png").write_bytes(whole[: len(whole) // 2])
    (folder / "blue" / "002.png").write_text("no image")
    Image.new("I;16", (9, 9)).save(folder / "green" / "003.png")
    for cache_mb in (0, 100):
        with caplog.at_level(logging.WARNING):
            data = source(folder, max_broken=0.1, cache_mb=cache_mb).load()
        assert "3 of 30 images cannot be read and are left out" in caplog.text
        for name in ("red/001.png", "blue/002.png", "green/003.png: more than 8 bits"):
            assert name in caplog.text
        assert len(pictures(data)) == 27
        caplog.clear()


@pytest.mark.parametrize("cache_mb", [0, 100])
def test_more_broken_images_than_the_limit_are_refused_with_their_list(
    folder: Path, cache_mb: float
) -> None:
    for at in range(7):
        (folder / "red" / f"{at:03}.png").write_bytes(b"")
    line = r"^dataset\.max_broken must be at least 0\.233 to leave out 7 of 30 images, got 0\.2; r"
    with pytest.raises(ConfigError, match=line) as caught:
        source(folder, max_broken=0.2, cache_mb=cache_mb).load()
    listed = json.loads(Path(str(caught.value).rpartition("all of them in ")[2]).read_text())
    assert list(listed) == [f"red/{at:03}.png" for at in range(7)]


def test_an_image_that_breaks_later_is_told(folder: Path) -> None:
    data = source(folder, cache_mb=0).load()
    for file in folder.rglob("*.png"):
        file.write_bytes(b"")
    with pytest.raises(RunError, match=r"png cannot be read; it was readable when"):
        data.val.images[:1]


def test_a_random_crop_is_drawn_by_the_seed_and_differs_every_time(folder: Path) -> None:
    train = source(folder, area=0.2).load().train
    picked = np.arange(8)
    assert isinstance(train.images, Decoded)  # cropped anew each time, so never cached
    first, again, other = (train.draw(picked, RNG(seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert (first != other).any(axis=(1, 2, 3)).all()
    assert np.array_equal(train.images[picked], train.images[picked])


@pytest.mark.parametrize("size", [(300, 200), (40, 400), (8, 8)])
def test_random_crops_lie_within_the_image_and_keep_to_their_area(size: tuple[int, int]) -> None:
    width, height = size
    shares = []
    for seed in range(200):
        left, top, right, bottom = random_crop(0.25, seed, width, height)
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        shares.append((right - left) * (bottom - top) / (width * height))
    if size == (300, 200):
        assert 0.24 < min(shares) < 0.3
        assert 0.8 < max(shares) <= 1


def test_the_centre_is_the_square_of_that_share_of_the_shorter_side(tmp_path: Path) -> None:
    pixels = RNG(0).integers(0, 256, (40, 100, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    for share, center in ((0.5, pixels[10:30, 40:60]), (1.0, pixels[:, 30:70])):
        found = read(tmp_path / "a.png", View(len(center), 3, Resize("crop", share), 1.0, 1))
        assert np.array_equal(found, center.transpose(2, 0, 1))


def test_a_picture_of_the_right_size_is_left_as_it_is(tmp_path: Path) -> None:
    pixels = RNG(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    for resize in (
        Resize(),
        Resize("crop", 1.0),
        Resize("letterbox"),
        Resize("stretch", None, "box"),
    ):
        found = read(tmp_path / "a.png", View(16, 3, resize, 1.0, 1))
        assert np.array_equal(found, pixels.transpose(2, 0, 1))


def prepare(root: Path, what: str) -> Path:
    """Make a folder that is wrong in one way."""
    if what == "is not there":
        return root / "nowhere"
    if what == "holds one class":
        paint(root / "red" / "1.png", COLORS["red"], 0)
    elif what == "has val but not train":
        fill(root / "val")
    elif what == "has another class in test":
        fill(root / "train")
        paint(root / "test" / "pink" / "1.png", (255, 9, 99), 0)
    else:
        fill(root)
        (root / "white").mkdir()
        file = "1.txt" if what == "has a class without images" else "1.jpg"
        (root / "white" / file).write_bytes(b"")
    return root


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("is not there", "be a folder with one folder per class, got .*nowhere"),
        ("holds one class", r"hold two classes or more, got \('red',\)"),
        ("has a class without images", "have images in every class, got .*white without any"),
        (
            "has a class with broken images only",
            "leave an image .* every class in train, got .whi",
        ),
        ("has val but not train", "hold train, got .*; it holds val"),
        ("has another class in test", "hold the 3 classes of the training images, got 'pink'"),
    ],
)
def test_a_folder_that_cannot_work_is_refused_in_one_line(
    tmp_path: Path, what: str, line: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^dataset\.folder.* must {line}") as caught:
        source(prepare(tmp_path / "pictures", what), max_broken=0.5).load()
    assert "\n" not in str(caught.value)


def test_too_few_images_for_a_split_are_refused(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pictures", each=4)
    with pytest.raises(ConfigError, match=r"must leave an image to test, got 0"):
        source(folder, test_share=0.01).load()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("val_share", 0.0), ("test_share", 1.0), ("test_share", 0.9), ("split_seed", -1),
        ("size", 4), ("center", 0.0), ("area", 0.0), ("cache_mb", -1), ("workers", 0),
        ("max_broken", 1.0), ("crop", 9), ("mixup", -1.0), ("channels", 2), ("fill", 256),
        ("resize", "squash"), ("interpolation", "cubic"),
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"^{field} must"):
        source(Path("data"), **{field: value})


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often reading a file of a name fails from now on, as on a disk of a network."""
    times: dict[str, int] = {}

    def flaky(path: Path, view: View, seed: int | None = None) -> object:
        if times.get(path.name, 0) > 0:
            times[path.name] -= 1
            raise OSError(errno.EIO, "Input/output error", str(path))
        return read(path, view, seed)

    monkeypatch.setattr(lazy_images, "read", flaky)
    monkeypatch.setattr(indexed_folder, "read", flaky)
    monkeypatch.setattr(lazy_images, "PAUSES", (0.0, 0.0))
    return times


def size_of(data: Dataset) -> int:
    return len(data.train) + len(data.val) + len(data.test)


@pytest.mark.parametrize("cache_mb", [100, 0])
def test_a_read_error_that_passes_at_once_costs_no_image(
    folder: Path, failing: dict[str, int], cache_mb: int
) -> None:
    failing |= {"001.png": 2}  # of whatever class comes first
    data = source(folder, cache_mb=cache_mb).load()
    assert size_of(data) == 30
    failing |= {"002.png": 2}
    assert len(pictures(data)) == 30


@pytest.mark.parametrize("cache_mb", [100, 0])
def test_a_read_error_is_not_remembered_once_it_has_passed(
    folder: Path, failing: dict[str, int], cache_mb: int
) -> None:
    some = source(folder, max_broken=0.2, cache_mb=cache_mb)
    whole = source(folder, cache=str(folder.parent / "other"), cache_mb=cache_mb).load()
    failing |= {"001.png": 10**6}
    assert size_of(some.load()) == 27
    assert size_of(some.load()) == 27  # it lasts
    failing.clear()
    back = some.load()
    assert size_of(back) == 30
    assert back.fingerprint == whole.fingerprint
    (folder / "red" / "001.png").write_bytes(b"no picture")
    assert size_of(some.load()) == 29


def test_a_class_whose_name_is_no_text_is_refused_in_one_line(folder: Path) -> None:
    (folder / "red").rename(folder / os.fsdecode(b"r\xe9d"))
    with pytest.raises(ConfigError, match=r"^dataset\.folder must hold class .* got 'r\\+xe9d'"):
        source(folder).load()
