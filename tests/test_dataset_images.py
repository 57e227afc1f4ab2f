"""Files that are not plain pictures: turned, broken, no files at all."""

import importlib.util
import json
import logging
import os
from pathlib import Path
from string import Template
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from test_dataset_image_folder import fill, source

import paredown.pick
from paredown.dataset.images import TURNS, centered, read
from paredown.dataset.listing import ENDINGS
from paredown.errors import ConfigError

UPRIGHT = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
BACK = {  # what the camera would have stored of an upright picture
    **TURNS,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}


@pytest.fixture(scope="module")
def predict(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """A bundle's predict.py, without a program."""
    folder = tmp_path_factory.mktemp("bundle")
    text = Path(paredown.pick.__file__).with_name("predict.template").read_text()
    code = Template(text).substitute(source="", name="Program", threads=1)
    (folder / "predict.py").write_text(code)
    rules = {"mode": "RGB", "center": None, "size": [16, 16], "mean": [0] * 3, "std": [1] * 3}
    (folder / "preprocess.json").write_text(json.dumps(rules))
    spec = importlib.util.spec_from_file_location("predict", folder / "predict.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shoot(file: Path, orientation: int) -> Path:
    """Write the upright picture as a camera does that was held another way."""
    image = Image.fromarray(UPRIGHT)
    if orientation in BACK:
        image = image.transpose(BACK[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(file, exif=exif)
    return file


@pytest.mark.parametrize("ending", ["png", "jpg", "tiff", "webp"])
def test_a_picture_is_shown_as_the_camera_was_held_in_training_and_in_the_bundle(
    ending: str, tmp_path: Path, predict: ModuleType
) -> None:
    plain = read(shoot(tmp_path / f"0.{ending}", 1), 16, centered(None)).astype(int)
    for orientation in range(1, 9):
        file = shoot(tmp_path / f"{orientation}.{ending}", orientation)
        shown = read(file, 16, centered(None))
        loss = 0 if ending in ("png", "tiff") else 40  # of compression; two other pictures: 85
        assert np.abs(shown - plain).mean() <= loss, orientation
        assert np.array_equal((predict.read(file)[0] * 255).round(), shown)


def test_a_picture_with_broken_exif_data_is_shown_as_it_is(
    tmp_path: Path, predict: ModuleType
) -> None:
    file = tmp_path / "a.jpg"
    Image.fromarray(UPRIGHT).save(file, exif=b"Exif\0\0MM\0*")
    shown = read(file, 16, centered(None))
    assert np.array_equal((predict.read(file)[0] * 255).round(), shown)


def test_training_and_the_bundle_take_files_of_the_same_endings(predict: ModuleType) -> None:
    assert set(ENDINGS) == predict.ENDINGS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fill(tmp_path / "pictures")


def test_what_is_named_like_an_image_and_is_none_is_listed_and_never_waited_for(
    folder: Path, caplog: pytest.LogCaptureFixture, predict: ModuleType
) -> None:
    (folder / "red" / "link.png").symlink_to(folder / "nowhere.png")
    (folder / "red" / "folder.png").mkdir()
    os.mkfifo(folder / "blue" / "pipe.png")
    with caplog.at_level(logging.WARNING):
        data = source(folder, max_broken=0.1).load()
    assert sum(map(len, (data.train, data.val, data.test))) == 30
    assert "3 of 33 images cannot be read and are left out" in caplog.text
    for line in ("pipe.png: no regular", "folder.png: no regular", "link.png: not there"):
        assert line in caplog.text
    with pytest.raises(ValueError, match="no regular file"):
        predict.read(folder / "blue" / "pipe.png")


def test_a_picture_above_pillow_s_limit_is_listed(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (150, 100)).save(folder / "red" / "wide.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    with caplog.at_level(logging.WARNING):
        source(folder, max_broken=0.1).load()
    assert "red/wide.png: Image size (15000 pixels) exceeds limit of 10000" in caplog.text


def test_files_with_other_endings_are_counted_and_told(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "red" / "000.png").rename(folder / "red" / "000.jfif")
    (folder / "red" / "001.png").rename(folder / "red" / "001")
    (folder / "blue" / "notes.txt").write_text("red is the best")
    (folder / "blue" / ".hidden").write_text("")
    with caplog.at_level(logging.WARNING):
        data = source(folder).load()
    assert sum(map(len, (data.train, data.val, data.test))) == 29
    assert "2 files in the class folders are passed by, such as " in caplog.text
    assert f"{folder}/blue/notes.txt" in caplog.text


def test_a_class_may_be_called_as_a_split_is(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pictures")
    (folder / "red").rename(folder / "train")
    (folder / "blue").rename(folder / "test")
    data = source(folder).load()
    assert data.classes == ("green", "test", "train")
    assert sum(map(len, (data.train, data.val, data.test))) == 30


def test_a_folder_that_may_be_a_split_or_a_class_is_refused(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pictures")
    fill(folder / "train")
    line = r"^dataset\.folder must hold splits or classes, not both, got \['train', 'blue'"
    with pytest.raises(ConfigError, match=line):
        source(folder).load()


def test_a_class_without_validation_images_is_refused(tmp_path: Path) -> None:
    folder = fill(tmp_path / "pictures")
    for at in range(2, 10):
        (folder / "green" / f"{at:03}.png").unlink()
    line = r"^dataset\.folder must leave an image .* to every class in val, got 'green'; add some"
    with pytest.raises(ConfigError, match=line):
        source(folder).load()
