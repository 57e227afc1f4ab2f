import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from paredown.errors import ConfigError
from paredown.model import ARCHITECTURE, WEIGHTS, ModelSource, build_meta, load, save
from paredown.model.cnn4 import Cnn4
from paredown.model.torchvision import Torchvision

SHAPE = (3, 32, 32)
REBUILD = """
import sys, numpy as np, torch
from pathlib import Path
from paredown.model import load
folder = Path(sys.argv[1])
module, source = load(folder)
assert not module.training
with torch.no_grad():
    np.save(folder / "logits.npy", module(torch.from_numpy(np.load(folder / "images.npy"))).numpy())
print(source, "torch_pruning" in sys.modules)
"""


def test_a_pruned_network_is_rebuilt_bit_for_bit_in_a_fresh_process(
    source: ModelSource, pruned: Callable[[float], nn.Module], images: torch.Tensor, tmp_path: Path
) -> None:
    module = pruned(0.5)
    save(module, source, 10, SHAPE, tmp_path)
    np.save(tmp_path / "images.npy", images.numpy())
    child = subprocess.run(
        [sys.executable, "-c", REBUILD, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (child.stderr, child.stdout) == ("", f"{source} False\n")
    with torch.no_grad():
        assert np.array_equal(np.load(tmp_path / "logits.npy"), module(images).numpy())


def test_a_rebuilt_network_says_its_own_shape(
    source: ModelSource, pruned: Callable[[float], nn.Module], tmp_path: Path
) -> None:
    save(pruned(0.5), source, 10, SHAPE, tmp_path)
    assert str(load(tmp_path)[0]) == str(pruned(0.5))


def test_a_saved_network_can_be_saved_again(
    pruned: Callable[[float], nn.Module], source: ModelSource, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    save(pruned(0.5), source, 10, SHAPE, first)
    save(*load(first), 10, SHAPE, second)
    for name in (WEIGHTS, ARCHITECTURE):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_a_rebuilt_network_trains_what_the_saved_one_trained(
    cnn4: nn.Module, tmp_path: Path
) -> None:
    save(cnn4, Cnn4(32, "cnn4"), 10, SHAPE, tmp_path)
    module, _ = load(tmp_path)
    assert dict(module.named_parameters()).keys() == dict(cnn4.named_parameters()).keys()
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_architecture_is_plain_json_that_names_only_what_was_changed(
    cnn4: nn.Module, tmp_path: Path
) -> None:
    save(cnn4, Cnn4(32, "cnn4"), 10, SHAPE, tmp_path)
    assert json.loads((tmp_path / ARCHITECTURE).read_text()) == {
        "weights": hashlib.sha256((tmp_path / WEIGHTS).read_bytes()).hexdigest(),
        "model": {
            "_target_": "paredown.model.cnn4.Cnn4",
            "width": 32,
            "name": "cnn4",
            "weights": None,
        },
        "classes": 10,
        "input_shape": [3, 32, 32],
        "changed": {},
    }


@pytest.mark.parametrize(
    "other", [Cnn4(8, "narrow"), Torchvision("squeezenet1_1")], ids=lambda other: other.name
)
def test_weights_of_another_network_are_refused(
    other: ModelSource, cnn4: nn.Module, tmp_path: Path
) -> None:
    save(cnn4, Cnn4(32, "cnn4"), 10, SHAPE, tmp_path)
    architecture = (tmp_path / ARCHITECTURE).read_text()
    save(other.build(10, SHAPE), other, 10, SHAPE, tmp_path)
    (tmp_path / ARCHITECTURE).write_text(architecture)
    with pytest.raises(ValueError, match="do not belong"):
        load(tmp_path)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 28, 28), (3, 64, 48)])
def test_cnn4_takes_images_of_any_size(shape: tuple[int, int, int]) -> None:
    assert Cnn4(4, "cnn4").build(7, shape).eval()(torch.zeros(2, *shape)).shape == (2, 7)


@pytest.mark.parametrize("width", [0, -4, 1025])
def test_a_width_out_of_range_is_refused(width: int) -> None:
    with pytest.raises(ConfigError, match=r"^width must lie in 1\.\.1024"):
        Cnn4(width, "cnn4")


def test_a_misspelt_torchvision_name_is_told_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"did you mean resnet18\?$"):
        Torchvision("resnet_18").build(10, SHAPE)


def test_a_network_with_heads_for_training_alone_is_built_without_them() -> None:
    with torch.device("meta"):
        network = Torchvision("googlenet").build(7, (3, 64, 64)).train()
        assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 7)


@pytest.mark.parametrize("name", ["resnet18", "regnet_y_400mf"])
def test_an_outline_has_the_shapes_of_the_network_that_is_built(name: str) -> None:
    source = Torchvision(name)
    shapes = [
        {key: tensor.shape for key, tensor in network.state_dict().items()}
        for network in (build_meta(source, 7, SHAPE), source.build(7, SHAPE))
    ]
    assert shapes[0] == shapes[1]
