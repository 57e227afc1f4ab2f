import copy
import gc
import shutil
import weakref
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest

from paredown.dataset import Dataset, Split
from paredown.distill.knowledge import Knowledge
from paredown.model import WEIGHTS
from paredown.model.cnn4 import Cnn4
from paredown.prune.structured import Structured
from paredown.prune.target import Target
from paredown.run.path import VariantPath
from paredown.runtime.torch import Torch
from paredown.store.local import Store
from paredown.store.use import USE
from paredown.training import Training
from paredown.training.baseline import Baseline
from paredown.variant import Context, Stage, Variant

PRUNE = 2  # its place on the path


@pytest.fixture
def stages(training: Training, structured: Structured) -> dict[str, Stage]:
    return {
        "baseline": Baseline(Cnn4(8, "large"), training),
        "distill": Knowledge(Cnn4(4, "small"), training, 4.0, 0.7, None),
        "prune": replace(structured, round_to=2),
    }


class Walk:
    """Lays paths over one data set and one store."""

    def __init__(self, dataset: Dataset, folder: Path) -> None:
        self.dataset, self.store = dataset, Store(folder)

    def path(
        self, stages: dict[str, Stage], seed: int = 0, dataset: Dataset | None = None
    ) -> VariantPath:
        runtime = Torch(1, "torch")
        return VariantPath(stages, dataset or self.dataset, runtime, self.store, seed)

    def entries(self) -> set[str]:
        folders = {path.name for path in self.store.folder.iterdir() if path.is_dir()}
        return folders - {USE}


@pytest.fixture
def walk(few: Dataset, tmp_path: Path) -> Walk:
    return Walk(few, tmp_path / "store")


def bits(path: VariantPath, index: int = PRUNE) -> bytes:
    return (path.weights(index) / WEIGHTS).read_bytes()


def test_a_path_walked_again_makes_nothing_new(walk: Walk, stages: dict[str, Stage]) -> None:
    first = [walk.path(stages).measured(index) for index in range(3)]
    entries = walk.entries()
    assert len(entries) == 6  # weights and program of three stages
    assert [walk.path(stages).measured(index) for index in range(3)] == first
    assert walk.entries() == entries


def test_networks_go_with_their_path_and_wait_for_no_garbage_collection(
    walk: Walk, stages: dict[str, Stage]
) -> None:
    path = walk.path(stages)
    path.measured(PRUNE)
    networks = [weakref.ref(path.variant(index).module) for index in range(3)]
    assert all(network() is not None for network in networks)
    gc.collect()  # of what PyTorch ties into cycles
    gc.disable()
    try:
        del path
        assert not any(network() for network in networks)
    finally:
        gc.enable()


def test_a_kept_program_needs_no_weights(walk: Walk, stages: dict[str, Stage]) -> None:
    path = walk.path(stages)
    measured, weights = path.measured(PRUNE), [path.weights(index) for index in range(3)]
    for folder in weights:
        shutil.rmtree(folder)
    assert walk.path(stages).measured(PRUNE) == measured
    assert not any(folder.exists() for folder in weights)


def test_a_stage_comes_out_alike_whether_what_it_starts_from_was_read_or_made(
    walk: Walk, stages: dict[str, Stage], tmp_path: Path
) -> None:
    made = bits(walk.path(stages))
    other = Walk(walk.dataset, tmp_path / "other")
    for index in range(3):  # a path of its own for each stage reads the one before
        read = bits(other.path(stages), index)
    assert read == made


def test_jobs_that_differ_in_a_later_stage_share_the_earlier_ones(
    walk: Walk, stages: dict[str, Stage]
) -> None:
    first = walk.path(stages)
    second = walk.path(stages | {"prune": replace(stages["prune"], amount=0.7)})
    assert [first.weights(index) == second.weights(index) for index in range(3)] == [
        True,
        True,
        False,
    ]


def test_threads_and_device_change_no_key(walk: Walk, stages: dict[str, Stage]) -> None:
    baseline = stages["baseline"]
    other = replace(baseline, training=replace(baseline.training, threads=1, device="auto"))
    assert walk.path({"baseline": other}).weights(0) == walk.path(stages).weights(0)


def test_another_seed_another_pixel_and_another_rate_change_the_weights(
    walk: Walk, stages: dict[str, Stage], few: Dataset
) -> None:
    pixels = few.train.images.copy()
    pixels[0] ^= 255
    baseline = stages["baseline"]
    faster = replace(baseline, training=replace(baseline.training, learning_rate=0.004))
    found = {
        bits(walk.path(stages), 0),
        bits(walk.path(stages, seed=1), 0),
        bits(walk.path(stages, dataset=replace(few, train=Split(pixels, few.train.labels))), 0),
        bits(walk.path({"baseline": faster}), 0),
    }
    assert len(found) == 4


def test_what_is_measured_is_what_ships(walk: Walk, stages: dict[str, Stage]) -> None:
    path = walk.path(stages)
    for index in range(3):
        size = sum(file.stat().st_size for file, _ in path.files(index))
        assert path.measured(index)["size_mb"] == size / 1e6
    large, small, pruned = (path.measured(index)["params"] for index in range(3))
    assert pruned < small < large


def test_amount_0_measures_what_was_there_before(walk: Walk, stages: dict[str, Stage]) -> None:
    path = walk.path(stages | {"prune": replace(stages["prune"], amount=0.0)})
    assert path.measured(PRUNE) == path.measured(PRUNE - 1)
    assert path.curves(PRUNE) == []
    assert len(path.curves(PRUNE - 1)) == 1


def test_a_kept_program_tells_its_layers_without_its_weights(
    walk: Walk, stages: dict[str, Stage]
) -> None:
    path = walk.path(stages)
    before, after = path.layers(PRUNE - 1), path.layers(PRUNE)
    assert before.keys() == after.keys()
    assert [layer["channels"] for layer in before.values()] == [4, 8, 16, 32, 10]
    assert [layer["channels"] for layer in after.values()] == [2, 4, 8, 16, 10]
    for index in range(3):
        shutil.rmtree(path.weights(index))
    assert walk.path(stages).layers(PRUNE) == after


def test_weights_rewound_to_the_end_of_their_training_are_those_that_it_left(
    walk: Walk, stages: dict[str, Stage]
) -> None:
    plain = stages | {"prune": replace(stages["prune"], epochs=0)}
    rewound = stages | {"prune": replace(stages["prune"], epochs=0, rewind=1)}
    assert bits(walk.path(rewound)) == bits(walk.path(plain))  # the same training, bit for bit
    fresh = stages | {"prune": replace(stages["prune"], epochs=0, rewind=0)}
    assert bits(walk.path(fresh)) != bits(walk.path(plain))


def test_what_a_target_came_to_is_told_with_what_was_measured(
    walk: Walk, stages: dict[str, Stage]
) -> None:
    target = Target(params="50%", macs=None, size_mb=None, latency_ms=None)
    asked = stages | {"prune": replace(stages["prune"], amount=None, target=target)}
    path = walk.path(asked)
    distilled, measured = path.measured(1), path.measured(PRUNE)
    assert measured["target_params"] == distilled["params"] / 2
    assert measured["reached_params"] == measured["params"] <= measured["target_params"]
    assert "target_params" not in distilled


def test_every_variant_tells_its_zeros_and_its_bytes_when_packed(
    walk: Walk, stages: dict[str, Stage]
) -> None:
    for index in range(3):
        measured = walk.path(stages).measured(index)
        assert measured["zeros"] == 0
        assert 0.5 * measured["size_mb"] < measured["compressed_mb"] <= measured["size_mb"]


@dataclass(frozen=True)
class Clipped:
    """A stage of somebody else's that changes weights and trains nothing."""

    source: ClassVar[None] = None
    training: ClassVar[None] = None
    numerics: ClassVar[None] = None
    note: ClassVar[str] = ""

    limit: float
    label: ClassVar[str] = "clipped"

    def __call__(self, variant: Variant | None, context: Context) -> Variant:
        module = copy.deepcopy(variant.module)
        for weight in module.parameters():
            weight.data.clamp_(-self.limit, self.limit)
        return replace(variant, module=module)


def test_a_stage_that_changes_weights_without_training_has_files_of_its_own(
    walk: Walk, stages: dict[str, Stage]
) -> None:
    zeros = []
    for limit in (1e9, 0.0):
        path = walk.path({"baseline": stages["baseline"], "clip": Clipped(limit)})
        zeros.append([path.measured(index)["zeros"] for index in range(2)])
    assert zeros == [[0, 0], [0, 1]]
