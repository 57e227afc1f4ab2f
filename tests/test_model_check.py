"""The check before any work: what only training, saving or shipping would meet otherwise."""

import copy
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from paredown.dataset import Dataset
from paredown.errors import ConfigError
from paredown.model import load, save
from paredown.model.check import require_valid_model
from paredown.model.custom import Custom
from paredown.model.form import layout
from paredown.model.loading import build_with_weights
from paredown.training import Training
from paredown.training.baseline import Baseline
from paredown.training.loop import fit
from paredown.training.step import label_loss
from paredown.variant import Context, Variant

SHAPE = (3, 32, 32)
HABITS = Path(__file__).with_name("odd_networks.py")


def habit(name: str) -> Custom:
    return Custom(None, f"{HABITS}:{name}", None)


def trained(name: str, training: Training, dataset: Dataset) -> Variant:
    return Baseline(habit(name), training)(None, Context(dataset, 0, torch.nn.Module, "baseline"))


WORK = [
    "Plain", "Viewed", "Auxiliary", "Warming", "Lazy", "Deep", "Tied", "PartTied", "Frozen",
    "Parametrized", "Hooked", "Remembers", "Double", "DoubleLogits", "Masked",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize("name", WORK)
def test_a_network_of_any_of_these_habits_is_trained_saved_and_read_again_to_the_bit(
    name: str, training: Training, few: Dataset, tmp_path: Path
) -> None:
    require_valid_model(habit(name), few, training)
    module = trained(name, training, few).module
    save(module, habit(name), 10, SHAPE, tmp_path)
    again, _ = load(tmp_path)
    images = torch.from_numpy(few.normalize(few.val.images[:5]))
    with torch.no_grad():
        logits = module(images)
        assert logits.dtype == torch.float32
        assert torch.equal(again(images), logits)
        assert torch.equal(copy.deepcopy(again)(images), logits)
    assert layout(again) == layout(module)


REFUSED = {
    "Tuple": r"to logits \(2, 10\), one per class, got 'tuple'; let its forward return the logits",
    "Random": "return the same logits for the same images, got others the second time; F.dropout",
    "Beside": "return the same logits for an image alone as in a batch, got other logits then$",
    "BatchNormed": "in a batch, got norm, a norm without running statistics; let it track_running",
    "Pairs": "take 3 images at once, got RuntimeError: mat1",
    "Squeezed": r"map 1 image of 3x32x32 to logits \(1, 10\), one per class, got \(10,\)",
    "Drawn": r"after it is saved and loaded, got another mix \(a plain tensor, no buffer\); s",
    "Volatile": r"loaded, got another mix \(a buffer with persistent=False\); store that in a",
    "Listed": r"loaded, got another order \(of type list, no buffer\)",
    "Late": "make its weights when it is built, got 'extra.weight, extra.bias'; not in forward",
    "AllFrozen": "have a weight that trains, got 'none'; training.epochs=0 leaves them",
    "ViewedInTraining": r"train on 4 images of 3x32x32, got RuntimeError: view size.*reshape",
    "DoubleInside": "got RuntimeError: .*; its float64 weights became float32, so its code must n",
    "Whole": "return floating-point logits, got 'int64'",
    "Infinite": r"return finite logits, got \[.*nan",
    "Empty": "begin with finite weights, got 'nan in scale'; a parameter made by torch.empty",
    "Exits": "take images of 3x32x32, got SystemExit: no GPU",
    "ExitsAtOnce": r"make a network of \{\}, got .*SystemExit: 0 \(odd_networks.py, line",
    "InPlace": "leave its images as they are, got 'others in their place'",
    "Steep": "have finite weights after one step, got 'nan in stem.weight'",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_network_that_would_come_out_wrong_is_refused_in_one_line_that_names_it(
    name: str, training: Training, few: Dataset
) -> None:
    with pytest.raises(ConfigError, match=f"^model.* must .*{REFUSED[name]}") as caught:
        require_valid_model(habit(name), few, training)
    assert "\n" not in str(caught.value)


def test_what_fails_in_bfloat16_alone_is_told_with_the_precision(
    training: Training, few: Dataset, tmp_path: Path
) -> None:
    body = "def body(self, x):\n        return torch.tensor(x.data.numpy()) + x"
    text = f"class Net(Plain):\n    {body}\n"
    (tmp_path / "half.py").write_text(HABITS.read_text() + text)
    source = Custom(None, f"{tmp_path}/half.py:Net", None)
    require_valid_model(source, few, training)
    with pytest.raises(ConfigError, match="must train on 4 images of 3x32x32 in bfloat16, got"):
        require_valid_model(source, few, replace(training, precision="bfloat16"))


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("Auxiliary", "returns a dict in training; only its logits are trained"),
        ("Double", "its float64 weights become float32"),
        ("DoubleLogits", "its logits become float32"),
    ],
)
def test_what_is_done_for_a_network_is_told(
    name: str, line: str, few: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        require_valid_model(replace(habit(name), name="mine"), few)
    assert f"model mine: {line}" in caplog.text


def test_a_network_is_tried_once(few: Dataset, training: Training, tmp_path: Path) -> None:
    count = tmp_path / "count"
    text = f"""
from pathlib import Path
from torch import nn
class Net(nn.Sequential):
    def __init__(self, num_classes):
        with open({str(count)!r}, "a") as file:
            file.write("1")
        super().__init__(nn.Flatten(), nn.Linear(3072, num_classes))
"""
    (tmp_path / "net.py").write_text(text)
    source = Custom(None, f"{tmp_path}/net.py:Net", None)
    first = require_valid_model(source, few, training)
    builds = len(count.read_text())
    assert require_valid_model(source, few, training) is first
    assert len(count.read_text()) == builds
    assert all(weight.is_meta for weight in first.parameters())
    (tmp_path / "net.py").write_text(text + "# changed\n")
    assert require_valid_model(source, few, training) is not first


def test_the_check_leaves_the_numbers_that_are_drawn_afterwards(few: Dataset) -> None:
    torch.manual_seed(3)
    wanted = torch.rand(3)
    torch.manual_seed(3)
    require_valid_model(replace(habit("Plain"), name="again"), few)
    assert torch.equal(torch.rand(3), wanted)


def test_frozen_weights_stay_frozen_once_they_are_read_again(
    training: Training, few: Dataset, tmp_path: Path
) -> None:
    source = habit("Frozen")
    save(build_with_weights(source, 10, SHAPE), source, 10, SHAPE, tmp_path)
    module, _ = load(tmp_path)
    before = {name: weight.clone() for name, weight in module.named_parameters()}
    fit(training, module, few, label_loss(0.0), 0, "")
    moved = {name for name, weight in module.named_parameters() if weight.ne(before[name]).any()}
    assert moved == {"head.weight", "head.bias"}


def test_tied_weights_come_back_tied_and_are_kept_once(tmp_path: Path) -> None:
    source = habit("Tied")
    save(build_with_weights(source, 10, SHAPE), source, 10, SHAPE, tmp_path)
    module, _ = load(tmp_path)
    assert module.two.weight is module.one.weight
    assert module.again is module.one
    bytes_of_weights = sum(4 * weight.numel() for weight in module.parameters())
    assert (tmp_path / "model.safetensors").stat().st_size < bytes_of_weights + 1200


def test_a_network_of_one_s_own_is_named_after_what_makes_it() -> None:
    assert habit("Tied").name == "Tied"
    assert Custom(None, "torchvision.models.resnet18", None).name == "resnet18"
    assert Custom("mine", "torchvision.models.resnet18", None).name == "mine"
