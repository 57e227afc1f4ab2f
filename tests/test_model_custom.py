import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from command import ROOT, SMALL, run_here, runs_of, without

from paredown.dataset import Dataset
from paredown.errors import ConfigError
from paredown.model import WEIGHTS, load, save
from paredown.model.check import require_valid_model
from paredown.model.cnn4 import Cnn4
from paredown.model.custom import Custom
from paredown.model.torchvision import Torchvision

SHAPE = (3, 32, 32)
NET = """
from blocks import convolution
from torch import nn


class Net(nn.Module):
    def __init__(self, num_classes, width=4):
        super().__init__()
        self.body = convolution(3, width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, images):
        return self.head(self.body(images).relu().mean((2, 3)))


def fixed():
    return Net(7)


def nothing():
    return "text"


def no_layers(num_classes):
    return nn.Flatten()


class Wrong(Net):
    def forward(self, images):
        raise RuntimeError("images are\\nupside down")


def counted(num_classes):
    return Net(num_classes, width=int(nn.Parameter(torch.ones(4)).sum().item()))
"""
BLOCKS = """
from torch import nn


def convolution(before, after):
    return nn.Conv2d(before, after, 3, padding=1)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder: a network in a file, which imports its neighbour."""
    (tmp_path / "my_net.py").write_text("import torch\n" + NET)
    (tmp_path / "blocks.py").write_text(BLOCKS)
    sys.modules.pop("blocks", None)
    yield tmp_path
    sys.path[:] = [place for place in sys.path if place != str(tmp_path)]


def mine(folder: Path, name: str = "Net", **kwargs: object) -> Custom:
    return Custom("mine", f"{folder}/my_net.py:{name}", kwargs)


def test_a_class_of_a_file_gets_the_classes_and_its_own_arguments(
    folder: Path, digits: Dataset
) -> None:
    network = require_valid_model(mine(folder, width=6), digits)
    assert (network.body.out_channels, network.head.out_features) == (6, 10)
    assert require_valid_model(mine(folder, "counted"), digits).body.out_channels == 4


def test_a_dotted_path_is_imported(digits: Dataset) -> None:
    target = "torchvision.models.squeezenet.SqueezeNet"
    source = Custom("mine", target, {"version": "1_1"})
    assert str(require_valid_model(source, digits)) == str(
        Torchvision("squeezenet1_1").build(10, SHAPE)
    )


def test_it_is_saved_and_rebuilt(folder: Path, tmp_path: Path) -> None:
    source = mine(folder)
    module = source.build(10, SHAPE).eval().to(memory_format=torch.channels_last)
    save(module, source, 10, SHAPE, tmp_path)
    again, told = load(tmp_path)
    assert told == source
    images = torch.from_numpy(np.random.default_rng(0).random((2, *SHAPE), np.float32))
    with torch.no_grad():
        assert torch.equal(again(images), module(images))


def test_its_fingerprint_follows_its_file_and_its_neighbours(folder: Path) -> None:
    found = [mine(folder).fingerprint]
    for name in ("my_net.py", "blocks.py"):
        (folder / name).write_text((folder / name).read_text() + "# changed\n")
        found.append(mine(folder).fingerprint)
    assert len({json.dumps(each) for each in found}) == 3
    assert mine(folder).fingerprint == found[-1]


BROKEN = {
    "Net": ("raise KeyError('my own')", "imports, .*: KeyError: 'my own' \\(my_net.py, line 1\\)"),
    "Nett": ("import torch", "name what .*my_net.py has, got 'Nett'; such as Net, Wrong"),
    "fixed": (
        "import torch",
        r"map 2 images of 3x32x32 to logits \(2, 10\), .* got \(2, 7",
    ),
    "nothing": ("import torch", "make a torch.nn.Module, got 'str'"),
    "no_layers": ("import torch", r"to logits \(2, 10\), one per class, got \(2, 3072\)"),
    "Wrong": ("import torch", "take images of 3x32x32, got RuntimeError: images are upside down"),
    "counted": ("import no_such", "ModuleNotFoundError: No module named 'no_such' .*line 1"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_work_is_told_in_one_line(name: str, folder: Path, digits: Dataset) -> None:
    first, line = BROKEN[name]
    (folder / "my_net.py").write_text(first + "\n" + NET)
    with pytest.raises(ConfigError, match=f"^model.* must .*{line}") as caught:
        require_valid_model(mine(folder, name), digits)
    assert "\n" not in str(caught.value)


def test_a_syntax_error_an_exit_and_a_missing_file_are_told(folder: Path, digits: Dataset) -> None:
    for text, line in (("def (", "SyntaxError: "), ("raise SystemExit(3)", "SystemExit: 3")):
        (folder / "my_net.py").write_text(text)
        with pytest.raises(ConfigError, match=f"must name code that imports.*{line}"):
            require_valid_model(mine(folder), digits)
    (folder / "my_net.py").unlink()
    with pytest.raises(ConfigError, match="must name a file that exists, got"):
        require_valid_model(mine(folder), digits)


def test_an_argument_that_it_does_not_take_is_told_with_its_own_error(
    folder: Path, digits: Dataset
) -> None:
    with pytest.raises(ConfigError, match=r"network of \{'depth': 3\}, got .*TypeError: .*'depth'"):
        require_valid_model(mine(folder, depth=3), digits)


@pytest.mark.parametrize("target", ["Net", "my_net.py", "my_net.py:", ":Net", "module."])
def test_a_target_that_names_nothing_is_refused(target: str) -> None:
    with pytest.raises(ConfigError, match=r"^target must name what makes"):
        Custom("mine", target, {})


def test_a_library_s_network_that_cannot_take_the_images_is_refused(digits: Dataset) -> None:
    with pytest.raises(ConfigError, match=r"^model alexnet must take images of 3x32x32, got Run"):
        require_valid_model(Torchvision("alexnet"), digits)
    assert require_valid_model(Cnn4(4, "cnn4"), digits)[0].weight.is_meta


def test_a_run_with_a_network_of_one_s_own_and_weights_of_one_s_own(folder: Path) -> None:
    """Train it, take its weights out of the store, and go on from them without training."""
    mine = (
        "model=custom",
        "model.target=my_net.py:Net",
        "model.kwargs={width: 8}",
        "model.name=mine",
    )
    small = without(SMALL, "model", "model.width")
    first = run_here(folder, *small, *mine, "technique=baseline", "training.epochs=2")
    assert first.returncode == 0, first.stderr
    (kept,) = (folder / "store").glob("*/model.safetensors")
    given = ("technique=prune", "prune.round_to=4", f"model.weights={kept}", "training.epochs=0")
    second = run_here(folder, *small, *mine, *given)
    assert second.returncode == 0, second.stderr
    before, after = (run.data for run in runs_of(folder))
    assert after.metrics["baseline/accuracy"] == before.metrics["baseline/accuracy"]
    made = [json.loads(file.read_text()) for file in (folder / "store").glob("*/manifest.json")]
    sums = [
        entry["files"][WEIGHTS]
        for entry in made
        if (entry["about"]["stage"], entry["about"]["kind"]) == ("baseline", "weights")
    ]
    assert len(sums) == 2
    assert sums[0] == sums[1]
    assert after.tags["mlflow.runName"] == "mine-prune0.50"


def test_a_user_s_error_ends_the_command_with_one_line_and_exit_code_2(folder: Path) -> None:
    (folder / "my_net.py").write_text("raise ImportError('mine')\n")
    done = run_here(folder, "model=custom", "model.target=my_net.py:Net")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "ImportError: mine (my_net.py, line 1)" in done.stderr
    assert not list((folder / "store").glob("*"))


def test_planning_with_a_network_of_one_s_own_imports_neither_it_nor_torch(folder: Path) -> None:
    code = f"""
import sys
from hydra import compose, initialize_config_dir
from paredown.run.plan import plan
with initialize_config_dir({str(ROOT / "conf")!r}, version_base="1.3"):
    plan(compose("config", ["model=custom", "model.target={folder}/my_net.py:Net"]))
print(sorted({{"torch", "blocks"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
