"""The page "Compress your own model", typed as it stands on images and weights of one's own."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from command import ROOT, run_here
from PIL import Image
from torch import nn

PAGE = (ROOT / "docs" / "compress.md").read_text()
COLORS = {"cat": (40, 40, 230), "dog": (230, 40, 40)}
QUICK = ("measure.processes=1", "measure.rounds=1", "measure.eager=false", "dataset.cache=cache")


def commands() -> list[list[str]]:
    """List the words of every command of the page, in order."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", PAGE, re.S | re.M)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("python ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder with photos, the page's network and its weights, as its owner would have them."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 30), ("val", 10), ("test", 10)):
        for name, color in COLORS.items():
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = np.array(color) + rng.normal(0, 60, (48, 48, 3))
                Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(
                    folder / f"{number}.jpg"
                )
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    (tmp_path / "my_net.py").write_text(code)
    space: dict = {}
    exec(code, space)
    torch.manual_seed(0)
    network: nn.Module = space["Net"]()
    torch.save({"state_dict": network.state_dict(), "epoch": 3}, tmp_path / "mine.pt")
    return tmp_path


def test_the_recipe_of_the_page_ends_in_a_folder_that_predicts(mine: Path) -> None:
    judged, swept, picked, predicted = commands()
    done = run_here(mine, *judged[1:], *QUICK)
    assert done.returncode == 0, done.stderr
    assert "Net: baseline on image_folder (60 train, 20 val, 20 test images; 2 classes)" in (
        done.stderr
    )
    fewer = [word.replace("prune.epochs=20", "prune.epochs=2") for word in swept[1:]]
    done = run_here(mine, *fewer, *QUICK)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("FINISHED") == 3
    done = run_here(mine, *picked[1:], verb="pick")
    assert done.returncode == 0, done.stderr
    told = subprocess.run(
        [sys.executable, *predicted], cwd=mine, capture_output=True, text=True, check=True
    )
    assert len(told.stdout.splitlines()) == 20
    assert set(COLORS) & set(re.split(r"\W+", told.stdout))


def test_the_recipe_takes_at_most_five_commands() -> None:
    assert [words[0] for words in commands()][:3] == ["run.py", "run.py", "pick.py"]
    assert len(commands()) <= 5
