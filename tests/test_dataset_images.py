"""Files that are not plain pictures: turned, broken, no files at all."""

import importlib.util
import json
import logging
import os
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from test_dataset_image_folder import fill, source

from paredown.dataset.decode import TURNS
from paredown.dataset.images import MODES, View, read
from paredown.dataset.listing import ENDINGS
from paredown.dataset.preprocessing import Resize
from paredown.errors import ConfigError
from paredown.pick.bundle import predict as write_predict
from paredown.runtime.onnxruntime import OnnxRuntime

UPRIGHT = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
BACK = {  # what the camera would have stored of an upright picture
    **TURNS,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}


RESIZES = [
    Resize(),
    Resize("crop", 0.7),
    Resize("letterbox", fill=114),
    Resize("stretch", interpolation="bicubic"),
    Resize("crop", 1.0, "lanczos"),
]
PLAIN = View(size=16, channels=3, resize=Resize(), area=1.0, workers=1)


@pytest.fixture(scope="module")
def predict(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """A bundle's predict.py, without a program."""
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "predict.py").write_text(write_predict(OnnxRuntime(1, "onnxruntime")))
    (folder / "preprocess.json").write_text(json.dumps(rules(PLAIN)))
    spec = importlib.util.spec_from_file_location("predict", folder / "predict.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rules(view: View) -> dict[str, object]:
    """What preprocess.json says of a view, with pixels left as they are."""
    pixels = {"mean": [0] * view.channels, "std": [1] * view.channels}
    size, resize = [view.size] * 2, asdict(view.resize)
    return {"mode": MODES[view.channels], "size": size, "resize": resize, **pixels}


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
    plain = read(shoot(tmp_path / f"0.{ending}", 1), PLAIN).astype(int)
    for orientation in range(1, 9):
        file = shoot(tmp_path / f"{orientation}.{ending}", orientation)
        shown = read(file, PLAIN)
        loss = 0 if ending in ("png", "tiff") else 40  # of compression; two other pictures: 85
        assert np.abs(shown - plain).mean() <= loss, orientation
        assert np.array_equal((predict.read(file)[0] * 255).round(), shown)


@pytest.mark.parametrize("resize", RESIZES, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "CMYK", "1"])
def test_training_and_the_bundle_show_the_same_pixels(
    mode: str, channels: int, resize: Resize, tmp_path: Path, predict: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    file = tmp_path / "a.tiff"
    Image.fromarray(UPRIGHT[:9]).convert(mode).save(file)  # 16 wide, 9 high
    view = View(size=24, channels=channels, resize=resize, area=1.0, workers=1)
    monkeypatch.setattr(predict, "RULES", rules(view))
    shown = read(file, view)
    assert shown.shape == (channels, 24, 24)
    assert np.array_equal((predict.read(file)[0] * 255).round(), shown)


def test_each_way_of_resizing_shows_what_it_says(tmp_path: Path) -> None:
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, 10:30] = 255  # a white square in the middle, black beside it
    Image.fromarray(pixels).save(tmp_path / "a.png")

    def middle(resize: Resize) -> list[int]:
        view = replace(PLAIN, size=20, resize=resize)
        return read(tmp_path / "a.png", view)[0, 10].tolist()

    assert middle(Resize("crop", 1.0, "nearest")) == [255] * 20
    assert middle(Resize("stretch", None, "nearest")) == [0] * 5 + [255] * 10 + [0] * 5
    barred = read(tmp_path / "a.png", replace(PLAIN, size=20, resize=Resize("letterbox", fill=9)))
    assert barred[:, [0, 4, 15, 19]].tolist() == np.full((3, 4, 20), 9).tolist()
    assert barred[0, 5:15, 6:14].min() == 255
    assert barred[0, 5:15, :4].max() == 0


def test_a_picture_with_broken_exif_data_is_shown_as_it_is(
    tmp_path: Path, predict: ModuleType
) -> None:
    file = tmp_path / "a.jpg"
    Image.fromarray(UPRIGHT).save(file, exif=b"Exif\0\0MM\0*")
    shown = read(file, PLAIN)
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
    assert "2 files in the class folders are skipped, such as " in caplog.text
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
