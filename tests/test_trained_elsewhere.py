"""Weights of a user's own script: judged as the script judged them, or doubted aloud."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from command import SMALL, run_here, runs_of, without
from PIL import Image
from torch import nn
from torchvision import transforms
from torchvision.datasets import ImageFolder

ROUGHNESS = {"glass": 6, "paper": 13, "sand": 29, "gravel": 64}  # of grey, each 2.2 times the last
NET = """
from torch import nn


class Net(nn.Sequential):
    def __init__(self, num_classes):
        layers, channels = [], 3
        for width in (8, 16, 32):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
            channels = width
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, num_classes))
"""
NORMALIZATIONS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
KNOBS = {"imagenet": (), "half": ("dataset.mean=0.5", "dataset.std=0.5")}


def see(normalization: str) -> transforms.Compose:
    """What a user's training script does to its images."""
    normalize = transforms.Normalize(*NORMALIZATIONS[normalization])
    return transforms.Compose([transforms.Resize((32, 32)), transforms.ToTensor(), normalize])


def fit(photos: Path, normalization: str, file: Path) -> float:
    """Train as a user's script does; leave the weights, give the script's own accuracy on val."""
    train, val = (ImageFolder(photos / split, see(normalization)) for split in ("train", "val"))
    torch.manual_seed(0)
    space: dict[str, type[nn.Module]] = {}
    exec(NET, space)
    network = space["Net"](len(train.classes))
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    images, labels = (torch.stack([pair[0] for pair in train]), torch.tensor(train.targets))
    for _ in range(20):
        for batch in torch.randperm(len(labels)).split(20):
            loss = nn.functional.cross_entropy(network(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    torch.save(network.state_dict(), file)
    with torch.no_grad():
        answers = network(torch.stack([image for image, _ in val])).argmax(dim=1)
    return float((answers == torch.tensor(val.targets)).float().mean())


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: photos in train, val and test, the network, its weights by two scripts."""
    folder, rng = tmp_path_factory.mktemp("project"), np.random.default_rng(0)
    for split, count in (("train", 50), ("val", 30), ("test", 20)):
        for name, roughness in ROUGHNESS.items():
            place = folder / "photos" / split / name
            place.mkdir(parents=True)
            for number in range(count):
                pixels = rng.uniform(118, 138) + rng.normal(0, roughness, (32, 32, 3))
                image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
                image.save(place / f"{number}.png")
    (folder / "net.py").write_text(NET)
    figures = {kind: fit(folder / "photos", kind, folder / f"{kind}.pt") for kind in KNOBS}
    (folder / "figures.json").write_text(json.dumps(figures))
    return folder


def judge(project: Path, folder: Path, weights: str, *knobs: str) -> subprocess.CompletedProcess:
    own = ("model=custom", f"model.target={project / 'net.py'}:Net", "dataset=image_folder",
           f"dataset.folder={project / 'photos'}", "dataset.size=32", "dataset.crop=0",
           f"dataset.cache={project / 'cache'}", f"model.weights={project / weights}.pt",
           "training.epochs=0", "technique=baseline")  # fmt: skip
    return run_here(
        folder, *without(SMALL, "model", "model.width", "training.epochs"), *own, *knobs
    )


@pytest.mark.parametrize("weights", KNOBS)
def test_weights_are_judged_within_a_point_of_their_script_s_figure_by_its_normalization(
    weights: str, project: Path, tmp_path: Path
) -> None:
    done = judge(project, tmp_path, weights, *KNOBS[weights])
    assert done.returncode == 0, done.stderr
    own = json.loads((project / "figures.json").read_text())[weights]
    (run,) = runs_of(tmp_path)
    assert own > 0.8
    assert abs(run.data.metrics["baseline/accuracy"] - own) <= 0.01
    told = [line for line in done.stdout.splitlines() if line.startswith("caution: ")]
    if weights == "half":  # its numbers were said
        assert not told
        assert "caution" not in done.stderr
    else:
        (line,) = told
        assert line.startswith("caution: nobody said how images were normalized when Net (")
        assert "taken are mean 0.485" in line
    assert "(ImageNet's, the default)" in done.stderr or weights == "half"


def test_weights_of_another_normalization_are_doubted_with_the_likely_causes(
    project: Path, tmp_path: Path
) -> None:
    done = judge(project, tmp_path, "half")
    assert done.returncode == 0, done.stderr
    for text in (done.stdout, done.stderr):
        line = next(line for line in text.splitlines() if line.startswith("caution: baseline "))
        for cause in ("near chance", "normalization", "dataset.mean", "order of the classes (here "
                      "glass, gravel, paper, sand)", "preprocessing (here 3x32x32, "):  # fmt: skip
            assert cause in line
    (run,) = runs_of(tmp_path)
    assert run.data.metrics["baseline/accuracy"] < 0.5
    assert "near chance" in run.data.tags["baseline/caution"]


def test_weights_of_one_s_own_beside_a_drawn_split_are_doubted_in_log_table_and_card(
    project: Path, tmp_path: Path
) -> None:
    photos = f"dataset.folder={project / 'photos' / 'train'}"
    done = judge(project, tmp_path, "half", *KNOBS["half"], photos)
    assert done.returncode == 0, done.stderr
    line = f"val and test were drawn here, and the weights of Net ({project / 'half.pt'}) come"
    assert f"caution: {line}" in done.stderr
    assert f"caution: {line}" in done.stdout
    bundle = ("budget.accuracy=0.1", "pick.folder=bundle", "pick.name=null")
    picked = run_here(tmp_path, *bundle, verb="pick")
    assert f"caution: {line}" in picked.stdout
    card = (tmp_path / "bundle" / "card.md").read_text()
    assert "**Caution:** val and test were drawn here" in card
    rules = json.loads((tmp_path / "bundle" / "preprocess.json").read_text())
    assert (tuple(rules["mean"]), tuple(rules["std"])) == NORMALIZATIONS["half"]
    predict = [sys.executable, "bundle/predict.py", str(project / "photos" / "test"), "--json"]
    told = subprocess.run(predict, cwd=tmp_path, capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in told.stdout.splitlines()]
    hits = sum(Path(answer["file"]).parent.name == answer["class"] for answer in answers)
    assert len(answers) == 80
    assert hits / len(answers) > 0.8
