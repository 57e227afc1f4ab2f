"""A network and images that Python code has at hand, handed to a session."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from command import run_here
from torch import nn
from torch.utils.data import TensorDataset
from torchvision.models import squeezenet1_1

from paredown.dataset import Dataset
from paredown.dataset.arrays import as_split
from paredown.errors import ConfigError
from paredown.session import Session
from paredown.session.handover import data_overrides

NET = """
from torch import nn


class Net(nn.Module):
    def __init__(self, width, num_classes=10):
        super().__init__()
        self.width = width
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.head = nn.Linear(width, num_classes)

    def forward(self, x):
        return self.head(self.body(x))


class Forgetful(Net):
    def __init__(self, wide, num_classes=10):
        super().__init__(2 * wide, num_classes)


class Later(Net):
    def forward(self, x):
        return super().forward(x) * (2 if hasattr(self, "grown") else 1)
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of the user's."""
    (tmp_path / "my_own_net.py").write_text(NET)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("my_own_net", None)
    return importlib.import_module("my_own_net")


@pytest.fixture(scope="module")
def pair(digits: Dataset) -> tuple[np.ndarray, np.ndarray]:
    split = digits.train
    return np.ascontiguousarray(split.images[:200, :, ::4, ::4]), split.labels[:200]


def test_a_network_and_arrays_become_what_a_run_takes(
    mine: ModuleType, pair: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    torch.manual_seed(3)
    network = mine.Net(24)
    session = Session(network, pair, "dataset.crop=1")
    same = session.baseline()
    assert all(
        torch.equal(tensor, network.state_dict()[name])
        for name, tensor in same.module.state_dict().items()
    )
    small = session.prune(same, amount=0.5, epochs=0, round_to=8)
    rows = session.measure(whole=same, small=small)
    assert rows[1]["params"] < rows[0]["params"]
    asked = ("technique=prune", "prune.epochs=0", "training.epochs=0", "prune.round_to=8")
    quick = ("measure.processes=1", "measure.rounds=1", "measure.eager=false")
    done = run_here(tmp_path, *session.overrides, *asked, *quick)
    assert done.returncode == 0, done.stderr
    assert "Net-prune0.50: baseline, prune on arrays (119 train" in done.stderr
    picked = run_here(tmp_path, "budget.size_mb=1", "pick.name=null", verb="pick")
    assert picked.returncode == 0, picked.stderr


def test_the_same_images_in_another_layout_and_as_a_torch_dataset_are_the_same_data(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    images, labels = pair
    told = data_overrides((images, labels))
    assert data_overrides((images.transpose(0, 2, 3, 1), labels)) == told
    scaled = torch.from_numpy(images).float() / 255  # as torchvision's ToTensor does
    assert data_overrides(TensorDataset(scaled, torch.from_numpy(labels))) == told
    assert data_overrides((images[:, :, ::-1], labels)) != told
    assert data_overrides((images, labels[::-1])) != told


def test_splits_that_are_handed_in_stay_as_they_are(pair: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = pair
    data = {"train": (images[:150], labels[:150]), "test": (images[150:], labels[150:])}
    dataset = Session(data).dataset
    assert np.array_equal(np.asarray(dataset.test.images), images[150:])
    assert len(dataset.train) + len(dataset.val) == 150
    assert dataset.mean == pytest.approx([dataset.train.images.mean() / 255] * 3, abs=1e-4)


def test_a_network_of_torchvision_is_known_as_it_is(pair: tuple[np.ndarray, np.ndarray]) -> None:
    images = pair[0].repeat(4, axis=2).repeat(4, axis=3)
    session = Session(squeezenet1_1(num_classes=10), (images, pair[1]))
    assert 'model.name="squeezenet1_1"' in session.overrides


def test_what_cannot_be_built_again_is_refused_with_what_to_do(
    mine: ModuleType, pair: tuple[np.ndarray, np.ndarray]
) -> None:
    class Local(nn.Linear):
        pass

    grown = mine.Later(8)
    grown.grown = True
    for network, told in (
        (Local(3, 10), r"a class that can be imported, got '.*Local of .*; put its class into a"),
        (
            mine.Forgetful(4),
            r"keep the arguments of its __init__.* without wide'; keep them",
        ),
        (grown, r"give the same logits when its class rebuilds it, got 'others'"),
    ):
        with pytest.raises(ConfigError, match=f"^Session's model must (have )?{told}"):
            Session(network, pair)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda i, y: (i / 127.5 - 1, y), r"pixels of 0\.\.1, got '-1\.\.1'; leave Normalize out"),
        (lambda i, y: (i.astype(np.int64), y), r"images of uint8, got 'int64'"),
        (lambda i, y: (i[:, :, :4], y), r"square images"),
        (lambda i, y: (i, y[:-1]), r"a label for each of its 200 images, got 199"),
        (lambda i, y: (i, y.astype(float)), r"integer labels"),
        (lambda i, y: (i, y - 1), r"labels from 0, got -1"),
        (lambda i, y: {"train": (i, y), "testing": (i, y)}, r"be of train, val and test"),
        (lambda i, y: 3, r"be a pair of arrays"),
        (lambda i, y: [(i[0], 1), (i[0, :, :4, :4], 0), (i[0], 1)], r"images of one size"),
    ],
)
def test_data_that_cannot_be_used_is_refused_with_what_to_do(
    change, told: str, pair: tuple[np.ndarray, np.ndarray]
) -> None:
    with pytest.raises(ConfigError, match=told):
        data_overrides(change(*pair))


def test_three_channels_are_found_first_or_last_and_grey_has_one() -> None:
    labels = np.zeros(5, np.int64)
    for shape, wanted in (
        ((5, 8, 8, 3), (5, 3, 8, 8)),
        ((5, 3, 8, 8), (5, 3, 8, 8)),
        ((5, 8, 8), (5, 1, 8, 8)),
        ((5, 8, 8, 1), (5, 1, 8, 8)),
    ):
        assert as_split(np.zeros(shape, np.uint8), labels, "x").images.shape == wanted


def test_a_session_runs_the_command_with_store_and_mlflow(
    mine: ModuleType,
    pair: tuple[np.ndarray, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    session = Session(mine.Net(8), pair)
    quick = ("measure.processes=1", "measure.rounds=1", "measure.eager=false")
    rows = session.run("technique=baseline", "training.epochs=0", "store.folder=store", *quick)
    assert [row["stage"] for row in rows] == ["baseline"]
    assert list((tmp_path / "store").glob("*/program/model.onnx"))
    assert (tmp_path / "mlruns" / "mlflow.db").is_file()
