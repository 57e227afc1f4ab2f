"""What a run's figures do not say by themselves, and what nothing would ever train."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command import SMALL, run_here, without
from safetensors.torch import save_file

from paredown.dataset import Dataset, Split
from paredown.errors import ConfigError
from paredown.measure.statistics import wilson
from paredown.model.cnn4 import Cnn4
from paredown.model.custom import Custom
from paredown.model.fresh import random_weights, require_trained
from paredown.model.torchvision import Torchvision
from paredown.run import cautions
from paredown.training import Training
from paredown.training.baseline import Baseline


def row(stage: str, hits: int, count: int = 360, **figures: float) -> dict[str, object]:
    low, high = wilson(hits, count)
    share = {"accuracy": hits / count, "accuracy_low": low, "accuracy_high": high}
    return {"stage": stage, **share, "size_mb": 1.0, "macs": 1e6, **figures}


@pytest.fixture
def trained(training: Training) -> Baseline:
    return Baseline(Cnn4(4, "small"), training)


def test_chance_is_the_share_of_the_largest_class(digits: Dataset) -> None:
    images, labels = digits.val.images[:4], np.array([1, 1, 1, 0])
    assert cautions.chance(replace(digits, val=Split(images, labels))) == 0.75
    assert 0.1 <= cautions.chance(digits) < 0.11


@pytest.mark.parametrize(("hits", "told"), [(20, True), (40, True), (80, False), (350, False)])
def test_a_trained_stage_is_doubted_where_its_interval_holds_chance(
    hits: int, told: bool, trained: Baseline, digits: Dataset
) -> None:
    found = cautions.of_quality(row("prune", hits), trained, digits)
    assert bool(found) == told
    assert not told or "likely causes" not in str(found[0])


@pytest.mark.parametrize(("hits", "told"), [(20, True), (80, True), (150, False)])
def test_weights_that_are_judged_as_they_are_are_doubted_earlier(
    hits: int, told: bool, trained: Baseline, digits: Dataset
) -> None:
    as_given = replace(trained, training=replace(trained.training, epochs=0))
    found = cautions.of_quality(row("baseline", hits), as_given, digits)
    assert bool(found) == told
    assert not told or "mean 0.305, std 0.376; dataset.mean" in found[0].text
    library = replace(as_given, model=Torchvision("inception_v3", "mine.pt"))
    texts = [caution.text for caution in cautions.of_quality(row("a", 20), library, digits)]
    assert "torchvision's for Inception_V3_Weights.IMAGENET1K_V1: mean 0.5, std 0.5" in texts[0]


def test_a_stage_that_is_larger_and_slower_than_the_one_before_is_told() -> None:
    before = row("baseline", 350, latency_ms=0.2)
    worse = row("distill", 340, size_mb=8.9, latency_ms=0.3)
    assert [caution.stage for caution in cautions.of_cost([before, worse])] == ["distill"]
    assert not cautions.of_cost([before, {**worse, "latency_ms": 0.1}])
    assert not cautions.of_cost([worse, before])
    assert not cautions.of_cost([before, {**worse, "size_mb": 1.001}])
    deferred = [{k: v for k, v in each.items() if k != "latency_ms"} for each in (before, worse)]
    assert not cautions.of_cost(deferred)
    assert cautions.of_cost([deferred[0], {**deferred[1], "macs": 2e6}])


def test_weights_of_a_file_are_doubted_where_a_split_was_drawn_here(digits: Dataset) -> None:
    mine, own = Cnn4(4, "small", "mine.pt"), replace(digits, drawn=())
    assert not cautions.of_split([mine], own)
    assert not cautions.of_split([Cnn4(4, "small"), Torchvision("resnet18", "DEFAULT")], digits)
    imagenet = replace(digits, classes=tuple(map(str, range(1000))), drawn=("val",))
    (told,) = cautions.of_split([Torchvision("resnet18", "DEFAULT")], imagenet)
    assert told.text.startswith("val was drawn here, and the weights of resnet18 (DEFAULT) come")
    (told,) = cautions.of_split([mine, mine], replace(digits, drawn=("test",)))
    assert told.text.startswith("test was drawn here, and the weights of small (mine.pt) come")


def test_cautions_that_were_tagged_are_read_again() -> None:
    some = [cautions.Caution("", "a"), cautions.Caution("prune", "b"), cautions.Caution("", "c")]
    tags = cautions.tags(some)
    assert cautions.read(tags, "prune") == ["a", "c", "prune b"]
    assert cautions.read(tags, "quantize") == ["a", "c"]


def test_random_weights_are_those_that_two_seeds_draw_otherwise(
    digits: Dataset, tmp_path: Path
) -> None:
    assert "0.weight" in random_weights(Cnn4(4, "small"), digits)
    (tmp_path / "net.py").write_text(
        "import torch\n\n\ndef ready(classes):\n"
        "    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, classes))\n"
        "    torch.nn.init.ones_(net[1].weight)\n    torch.nn.init.ones_(net[1].bias)\n"
        "    return net\n"
    )
    assert not random_weights(Custom(None, f"{tmp_path}/net.py:ready", None), digits)
    state = Cnn4(4, "small").build(3, (3, 32, 32)).state_dict()
    save_file(state, tmp_path / "three.safetensors")
    fresh = random_weights(Cnn4(4, "small", str(tmp_path / "three.safetensors")), digits)
    assert fresh == ["17.bias", "17.weight"]


def test_a_fresh_head_that_nothing_trains_is_refused(
    trained: Baseline, digits: Dataset, tmp_path: Path
) -> None:
    save_file(Cnn4(4, "small").build(3, (3, 32, 32)).state_dict(), tmp_path / "a.safetensors")
    model = Cnn4(4, "small", str(tmp_path / "a.safetensors"))
    stage = replace(trained, model=model)
    require_trained({"baseline": stage}, digits)
    untrained = replace(stage, training=replace(stage.training, epochs=0))
    line = (
        r"^training\.epochs must be above 0 where baseline begins with random weights in 17\.bias"
    )
    with pytest.raises(ConfigError, match=line):
        require_trained({"baseline": untrained}, digits)
    with pytest.raises(ConfigError, match=r"^teacher\.epochs must be above 0"):
        require_trained({"baseline": trained, "teacher": untrained}, digits)


def test_no_student_is_distilled_for_no_epoch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_file(Cnn4(8, "cnn4").build(10, (3, 32, 32)).state_dict(), tmp_path / "my.safetensors")
    small = without(SMALL, "training.epochs")
    own = (f"model.weights={tmp_path / 'my.safetensors'}", "training.epochs=0")
    done = run_here(tmp_path, *small, *own)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        "error: training.epochs must be above 0 where distill begins with random weights in "
    )
    assert "technique=prune_quantize compresses baseline itself" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("*.onnx"))


@pytest.mark.parametrize("sweep", [("prune.amount=0.1,0.3",), ("experiment=pareto",)], ids=str)
def test_a_sweep_that_would_judge_random_weights_is_refused_as_a_whole(
    sweep: tuple[str, ...], tmp_path: Path
) -> None:
    done = run_here(tmp_path, "-m", *without(SMALL, "training.epochs"), "training.epochs=0", *sweep)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "training.epochs must be above 0 where baseline begins with random" in done.stderr
