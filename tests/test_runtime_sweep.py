"""A comparison of engines as a user types it, and a bundle of each."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command import ROOT, SMALL, paredown, runs_of
from PIL import Image

from paredown.dataset import Dataset

pytestmark = pytest.mark.slow

ENGINES = ["onnxruntime", "openvino", "executorch"]
NETWORK = (*SMALL, "student.width=8", "prune.amount=0.2")
ALONE = """
import runpy, sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None  # importing it fails
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    sweep = ("-m", f"runtime={','.join(ENGINES)}", "hydra.sweep.dir=multirun/engines")
    done = paredown(folder, *sweep, *NETWORK)
    assert done.returncode == 0, done.stderr
    (folder / "stderr").write_text(done.stderr)
    return folder


def jobs(folder: Path) -> dict[str, dict]:
    found = [json.loads(file.read_text()) for file in folder.glob("multirun/engines/*/result.json")]
    named = {re.search(r"runtime=(\w+)", " ".join(job["overrides"])).group(1): job for job in found}
    return {name: named[name] for name in ENGINES}


def test_only_lowering_repeats_and_every_engine_agrees(compared: Path) -> None:
    rows = {name: job["rows"] for name, job in jobs(compared).items()}
    assert (compared / "stderr").read_text().count("train/") == 0
    kinds = [json.loads(file.read_text())["about"]["kind"]
             for file in compared.glob("store/*/manifest.json")]  # fmt: skip
    assert kinds.count("weights") == 3  # baseline, distill, prune: once for all engines
    for name in ENGINES:
        assert kinds.count(name) == 4
        assert rows[name][-1]["integer_layers"] == rows[name][-1]["layers"] == 5
        assert rows[name][-1]["size_mb"] < rows[name][-2]["size_mb"]
        for row, first in zip(rows[name][:3], rows["onnxruntime"], strict=False):
            assert row["accuracy"] == first["accuracy"]  # float32 is the same network everywhere


def test_what_the_figures_hold_for_is_tagged(compared: Path) -> None:
    for run in runs_of(compared)[1:]:
        tags = run.data.tags
        engine = tags["runtime"].partition(",")[0]
        assert re.search(rf"\b{engine} \d+\.\d+", tags["made_by"]), tags["made_by"]
        assert re.search(r"\btorch \d+\.\d+", tags["made_by"])
        assert tags["cpu"]
        assert tags["int8_instructions"]


@pytest.mark.parametrize("name", ENGINES)
def test_a_bundle_of_each_engine_gives_exactly_the_stated_test_accuracy(
    name: str, compared: Path, digits: Dataset, tmp_path: Path
) -> None:
    own = (f"runtime={name}", f"store.folder={compared / 'store'}")  # an MLflow store of its own
    made = paredown(tmp_path, *own, *NETWORK)
    assert made.returncode == 0, made.stderr
    size = jobs(compared)[name]["rows"][-1]["size_mb"]
    asked = [f"budget.size_mb={size * 1.001}", "pick.folder=bundle"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "pick.py"), *asked],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    bundle = tmp_path / "bundle"
    registered = "model:   models:/" in done.stdout
    assert registered == (name == "onnxruntime")
    if not registered:
        assert f"not registered; MLflow has no flavor for runtime {name}" in done.stdout
    assert len((bundle / "predict.py").read_text().splitlines()) <= 90
    images = tmp_path / "images"
    images.mkdir()
    for number, image in enumerate(digits.test.images):
        Image.fromarray(image.transpose(1, 2, 0)).save(images / f"{number:04}.png")
    blocked = "paredown" if name == "executorch" else "paredown,torch"
    alone = subprocess.run(
        [sys.executable, "-c", ALONE, blocked, str(bundle / "predict.py"), str(images), "--json"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert alone.returncode == 0, alone.stderr
    noise = r"\[\w+\.cpp:\d+\] |W\d{4} "  # ExecuTorch's C++ tells of threads, torch of torchao
    assert [line for line in alone.stderr.splitlines() if not re.match(noise, line)] == []
    assert name == "executorch" or alone.stderr == ""
    told = [json.loads(line)["class"] for line in alone.stdout.splitlines()]
    hits = sum(np.array(told) == np.array(digits.classes)[digits.test.labels])
    card = (bundle / "card.md").read_text()
    assert re.findall(r"(\d+) of (\d+) images", card)[0] == (str(hits), str(len(told)))
