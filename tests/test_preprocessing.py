"""What published weights were trained to see becomes what a run's networks see."""

import json
import logging
from pathlib import Path

import pytest
import torch
from command import SMALL, run_here, without

from paredown.config import composed
from paredown.dataset.preprocessing import Resize
from paredown.errors import ConfigError
from paredown.model.timm import Timm
from paredown.model.torchvision import Torchvision
from paredown.pick.bundle import preprocess
from paredown.run.plan import Plan, plan

FOLDER = ("dataset=image_folder", "dataset.folder=photos")
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def planned(*overrides: str) -> Plan:
    return plan(composed(*FOLDER, *overrides))


def test_torchvision_s_numbers_are_those_of_the_weights_own_transforms() -> None:
    seen = Torchvision("resnet50", "IMAGENET1K_V1").preprocessing()
    assert (seen.mean, seen.std) == tuple(map(tuple, IMAGENET))
    assert (seen.resize, seen.size) == (Resize("crop", 224 / 256), 224)
    assert Torchvision("resnet50").preprocessing().resize.center == 224 / 232  # DEFAULT: V2
    assert Torchvision("swin_v2_t").preprocessing().resize.interpolation == "bicubic"
    assert Torchvision("inception_v3").preprocessing().mean == (0.5, 0.5, 0.5)
    assert Torchvision("no_such_network").preprocessing() is None


def test_inception_s_numbers_undo_what_its_own_transform_of_the_input_does() -> None:
    """Published, it normalizes images of ImageNet's numbers again; built here, it does not."""
    from torchvision.models import Inception3

    network = Inception3(num_classes=2, transform_input=True, aux_logits=False, init_weights=False)
    images = torch.rand(1, 3, 4, 4)
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in IMAGENET)
    seen = Torchvision("inception_v3").preprocessing()
    own = (images - seen.mean[0]) / seen.std[0]
    assert torch.allclose(network._transform_input((images - mean) / std), own, atol=1e-6)


def test_timm_s_numbers_are_those_of_its_data_config() -> None:
    timm = pytest.importorskip("timm")
    seen = Timm("vit", "vit_base_patch16_224").preprocessing()
    own = timm.data.resolve_data_config(
        pretrained_cfg=timm.get_pretrained_cfg("vit_base_patch16_224").to_dict()
    )
    assert (seen.mean, seen.std, seen.size) == (own["mean"], own["std"], own["input_size"][-1])
    assert seen.resize == Resize("crop", own["crop_pct"], own["interpolation"])
    assert Timm("a", "no_such_network").preprocessing() is None
    assert Timm("a", "resnet50.no_such_tag").preprocessing() is None


def test_published_weights_decide_what_is_left_open_and_a_file_decides_nothing() -> None:
    own = planned("model=inception_v3", "model.weights=DEFAULT")
    assert (own.dataset.mean, own.dataset.std) == ([0.5] * 3, [0.5] * 3)
    assert (own.dataset.resize, own.dataset.interpolation) == ("crop", "bilinear")
    told = "torchvision's for Inception_V3_Weights.IMAGENET1K_V1; they saw 299 pixels a side, "
    assert own.normalized_by == told + "dataset.size=64"
    for weights in ("mine.pt", "null"):
        plain = planned("model=inception_v3", f"model.weights={weights}")
        assert plain.dataset.mean is plain.dataset.resize is None
    mine = ("dataset.mean=0.4", "dataset.std=0.2", "dataset.resize=letterbox")
    set_here = planned("model=inception_v3", "model.weights=DEFAULT", *mine)
    assert (set_here.dataset.mean, set_here.dataset.resize) == (0.4, "letterbox")


GREY = """
from torch import nn


class Plain(nn.Sequential):
    def __init__(self, num_classes):
        conv = nn.Conv2d(1, 4, 5, 4)
        super().__init__(conv, nn.ReLU(), nn.Flatten(), nn.Linear(196, num_classes))


class Lazy(nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(nn.Conv2d(1, 4, 5, 4), nn.Flatten(), nn.LazyLinear(num_classes))
"""


@pytest.mark.parametrize("name", ["Plain", "Lazy"])
def test_a_network_of_one_channel_takes_grey_images_and_is_told_of_them(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "grey.py").write_text(GREY)
    model = ("model=custom", f"model.target={tmp_path / 'grey.py'}:{name}", "technique=baseline")
    with pytest.raises(ConfigError, match=r"; dataset\.channels=1 shows what the network takes$"):
        plan(composed(*model)).load()
    data = plan(composed(*model, "dataset.channels=1")).load()
    assert (data.input_shape, data.mean, data.std) == ((1, 32, 32), (0.305,), (0.376,))
    assert preprocess(data)["mode"] == "L"
    with pytest.raises(ConfigError, match=r"; dataset\.channels=3 shows what the network takes$"):
        plan(composed("technique=baseline", "dataset.channels=1")).load()


def test_the_first_published_weights_of_a_run_decide_and_others_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    others = ("model@student=inception_v3", "student.weights=DEFAULT")
    with caplog.at_level(logging.WARNING):
        assert planned("model.weights=DEFAULT", *others).dataset.mean == IMAGENET[0]
    assert "torchvision's for Inception_V3_Weights" in caplog.text
    assert "give way to torchvision's for ResNet18_Weights" in caplog.text
    assert planned(*others).dataset.mean == [0.5] * 3
    teacher = ("model@teacher.model=googlenet", "teacher.model.weights=DEFAULT")
    assert planned(*teacher).dataset.mean == [0.5] * 3


def test_what_the_weights_decided_is_in_the_log_the_kept_configuration_and_the_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    kept = tmp_path / "torch" / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    kept.parent.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(Torchvision("squeezenet1_1").build(1000, (3, 32, 32)).state_dict(), kept)
    small = without(SMALL, "model", "model.width")
    own = ("model=squeezenet1_1", "model.weights=DEFAULT", "technique=baseline")
    done = run_here(tmp_path, *small, *own)
    assert done.returncode == 0, done.stderr
    origin = "(torchvision's for SqueezeNet1_1_Weights.IMAGENET1K_V1)"
    line = f"mean 0.485 0.456 0.406, std 0.229 0.224 0.225 {origin}"
    assert f"images: 3x32x32, stretched, bilinear; {line}" in done.stderr
    (config,) = (tmp_path / "mlruns").rglob("config.yaml")
    assert "- 0.485" in config.read_text()
    picked = run_here(tmp_path, "budget.size_mb=9", "pick.folder=b", "pick.name=null", verb="pick")
    assert picked.returncode == 0, picked.stderr
    rules = json.loads((tmp_path / "b" / "preprocess.json").read_text())
    assert (rules["mean"], rules["std"]) == IMAGENET
