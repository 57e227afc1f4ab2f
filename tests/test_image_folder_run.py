"""An image folder from a user's files to a bundle that names them, and what is refused."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command import SMALL, run_here, runs_of
from PIL import Image

COLORS = {"blue": (40, 40, 230), "green": (40, 230, 40), "red": (230, 40, 40)}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty pictures a class of sizes of their own, and a test folder."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for split, each in (("train", 30), ("test", 10)):
        for name, color in COLORS.items():
            (folder / split / name).mkdir(parents=True)
            for at in range(each):
                noise = rng.normal(0, 110, (*rng.integers(24, 90, 2), 3))
                pixels = np.clip(np.array(color) + noise, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{at}.jpg")
    return folder


WAYS = [
    ("cache_mb=0", "center=0.8"),
    ("cache_mb=100", "resize=letterbox", "fill=114", "interpolation=bicubic"),
]


@pytest.mark.parametrize("way", WAYS, ids=" ".join)
def test_the_bundle_sees_a_user_s_files_as_the_run_saw_them(
    way: tuple[str, ...], photos: Path, tmp_path: Path
) -> None:
    data = ("dataset=image_folder", f"dataset.folder={photos}", "dataset.size=16",
            f"dataset.cache={tmp_path / 'cache'}", *(f"dataset.{each}" for each in way),
            "dataset.crop=2", "training.batch_size=16", "training.epochs=4")  # fmt: skip
    done = run_here(tmp_path, *SMALL, "technique=quantize", *data)
    assert done.returncode == 0, done.stderr
    (run,) = runs_of(tmp_path)
    assert run.data.tags["dataset"].startswith("image_folder ")
    asked = ("budget.accuracy=0.1", "pick.folder=bundle", "pick.name=null")
    picked = run_here(tmp_path, *asked, verb="pick")
    assert picked.returncode == 0, picked.stderr
    show = [sys.executable, "bundle/predict.py", str(photos / "test"), "--json"]
    told = subprocess.run(show, cwd=tmp_path, capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in told.stdout.splitlines()]
    hits = sum(Path(answer["file"]).parent.name == answer["class"] for answer in answers)
    card = (tmp_path / "bundle" / "card.md").read_text()
    assert re.findall(r"(\d+) of (\d+) images", card)[0] == (str(hits), str(len(answers)))
    assert len(answers) == 30
    assert hits > 15


BAD = [
    (("dataset=fashion_mnist", "dataset.val_images=0"), "dataset.val_images must be at least 1"),
    (("dataset=image_folder", "dataset.folder=nowhere"), "dataset.folder must be a folder with"),
    (("dataset=imagenet", "dataset.area=0"), "dataset.area must lie in (0, 1], got 0"),
    (("dataset=digits", "dataset.mixup=-1"), "dataset.mixup must be at least 0, got -1"),
    (("model.weights=nowhere.pt",), "weights must be a file or the name of published weights"),
    (("model=cnn4", "model.weights=DEFAULT"), "weights of cnn4 must end with .safetensors"),
    (("model=custom", "model.target=Net"), "model.target must name what makes the network"),
    (("model=custom", "model.target=gone.py:Net"), "model.target must name a file that exists"),
    (("model.name=alexnet",), "model alexnet must take images of 3x32x32, got RuntimeError"),
]


@pytest.mark.parametrize(("arguments", "line"), BAD, ids=[" ".join(each) for each, _ in BAD])
def test_bad_input_gets_one_line_and_exit_code_2(
    arguments: tuple[str, ...], line: str, tmp_path: Path
) -> None:
    done = run_here(tmp_path, *arguments)
    assert done.returncode == 2, done.stderr
    assert line in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("*.safetensors")) + list(tmp_path.rglob("*.onnx"))
