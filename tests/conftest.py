"""What several test files share: real images, a short training, three networks to prune."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # tests are small; waiting for threads costs more than it gains
os.environ["COLUMNS"] = "140"  # tables lose no column; a worker of pytest's has 80 otherwise
os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # else several processes for jobs

import shutil
import subprocess
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from command import SMALL, paredown
from torch import nn

from paredown.dataset import Dataset, Split
from paredown.dataset.digits import Digits
from paredown.model import ModelSource
from paredown.model.cnn4 import Cnn4
from paredown.model.torchvision import Torchvision
from paredown.prune.channels import Pruning
from paredown.prune.criterion.magnitude import Magnitude
from paredown.prune.structured import Structured
from paredown.prune.target import Target
from paredown.training import Training

SHAPE = (3, 32, 32)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return Digits(split_seed=0, crop=2).load()


@pytest.fixture(scope="session")
def few(digits: Dataset) -> Dataset:
    """The digits, cut to 64 images a split."""
    train, val, test = (
        Split(split.images[:64], split.labels[:64])
        for split in (digits.train, digits.val, digits.test)
    )
    return replace(digits, train=train, val=val, test=test)


@pytest.fixture(scope="session")
def training() -> Training:
    return Training(
        epochs=1,
        batch_size=16,
        learning_rate=0.003,
        weight_decay=0.01,
        label_smoothing=0.0,
        schedule="one_cycle",
        precision="float32",
        device="cpu",
        threads=None,
    )


@pytest.fixture(scope="session")
def structured(training: Training) -> Structured:
    """Half of the channels by L2, one shot, one epoch of recovery."""
    return Structured(
        epochs=1,
        learning_rate=0.003,
        training=training,
        temperature=4.0,
        alpha=0.7,
        views=None,
        criterion=Magnitude(2),
        amount=0.5,
        target=Target(None, None, None, None),
        scope=None,
        round_to=8,
        steps=1,
        rewind=None,
    )


def build_warm(source: ModelSource, dataset: Dataset) -> nn.Module:
    """Build a network, untrained, whose batch norms have seen images and do something."""
    torch.manual_seed(0)
    module = source.build(10, SHAPE)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.uniform_(part.bias, -0.5, 0.5)
    with torch.no_grad():
        module.train()(torch.from_numpy(dataset.normalize(dataset.train.images[:16])))
    return module.eval().to(memory_format=torch.channels_last)


@pytest.fixture(scope="session")
def cnn4(digits: Dataset) -> nn.Module:
    """An untrained cnn4; never change it."""
    return build_warm(Cnn4(width=32, name="cnn4"), digits)


@pytest.fixture(
    scope="session",
    params=[
        Torchvision("resnet18"),
        Torchvision("mobilenet_v2"),
        Cnn4(width=32, name="cnn4"),
    ],
    ids=lambda source: source.name,
)
def source(request: pytest.FixtureRequest) -> ModelSource:
    """Each of the three networks that prune in different ways."""
    return request.param


@pytest.fixture(scope="session")
def whole(source: ModelSource, digits: Dataset) -> nn.Module:
    """The network of `source`, untrained; never change it."""
    return build_warm(source, digits)


@pytest.fixture(scope="session")
def pruned(whole: nn.Module, digits: Dataset) -> Callable[[float], nn.Module]:
    """Give `whole`, pruned by an amount with round_to 8; never change what it gives."""

    @cache
    def at(amount: float) -> nn.Module:
        module, pruning = deepcopy(whole), Pruning(Magnitude(2), "local", 8, digits)
        pruning.prune(module, amount, pruning.score(module, 0))
        return module.to(memory_format=torch.channels_last)  # as the training loop leaves it

    return at


@pytest.fixture(scope="session")
def images(digits: Dataset) -> torch.Tensor:
    """Seven normalized images."""
    return torch.from_numpy(digits.normalize(digits.val.images[:7]))


@pytest.fixture(scope="session")
def browse() -> Callable[..., str]:
    """Open a file in headless Chromium; give the page as it is after its scripts ran."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("needs Chromium: apt-get install chromium")

    def dump(file: Path, *flags: str) -> str:
        quiet = ("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000")
        files = ("--allow-file-access-from-files", "--enable-logging=stderr", *flags)
        command = [program, *quiet, *files, "--dump-dom", file.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        assert "Uncaught" not in done.stderr, done.stderr
        return done.stdout

    return dump


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two jobs as a user types it; the folder, with what it printed."""
    folder = tmp_path_factory.mktemp("swept")
    own = ("prune.amount=0.1,0.5", "hydra.sweep.dir=multirun/one", "measure.eager=true")
    done = paredown(folder, "-m", *SMALL, *own)
    assert done.returncode == 0, done.stderr
    (folder / "stdout").write_text(done.stdout)
    (folder / "stderr").write_text(done.stderr)
    return folder
