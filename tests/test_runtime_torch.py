from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from paredown.dataset import Dataset
from paredown.errors import ConfigError
from paredown.model.cnn4 import Cnn4
from paredown.runtime.torch import Torch
from paredown.variant import Numerics, Variant


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Loading a program sets torch's threads for the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_program_answers_bit_for_bit_as_its_module(
    cnn4: nn.Module, few: Dataset, tmp_path: Path
) -> None:
    runtime = Torch(torch.get_num_threads(), "torch")
    runtime.lower(Variant(cnn4, Cnn4(32, "cnn4")), few, tmp_path)
    images = few.normalize(few.val.images)
    with torch.no_grad():
        expected = cnn4(torch.from_numpy(images)).numpy()
    assert np.array_equal(runtime.load(tmp_path)(images), expected)


def test_a_program_runs_on_the_threads_that_were_asked(
    cnn4: nn.Module, few: Dataset, tmp_path: Path
) -> None:
    runtime = Torch(2, "torch")
    runtime.lower(Variant(cnn4, Cnn4(32, "cnn4")), few, tmp_path)
    runtime.load(tmp_path)
    assert torch.get_num_threads() == 2


def test_no_threads_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^threads must be at least 1, got 0"):
        Torch(0, "torch")


class Residual(nn.Module):
    """Calls one ReLU twice, as torchvision's ResNets do."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, padding=1)
        self.second = nn.Conv2d(3, 3, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(3 * 32 * 32, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = self.second(self.relu(self.first(images)))
        return self.head(self.relu(hidden + images).flatten(1))


def test_a_relu_that_is_called_twice_does_not_keep_a_network_from_integers(few: Dataset) -> None:
    pytest.importorskip("torchao")
    from paredown.runtime import pt2e
    from paredown.runtime.torch import _quantizer

    torch.manual_seed(0)
    module, numerics = Residual().eval(), Numerics("int8", calibration_images=16)
    variant = Variant(module, Cnn4(32, "cnn4"), numerics)
    exported = pt2e.export_variant(variant, few, _quantizer)
    assert pt2e.count_converted(exported.graph_module) == (3, 3)
