from dataclasses import replace

import pytest

from paredown.budget import Budget
from paredown.config import composed
from paredown.dataset.digits import Digits
from paredown.distill.knowledge import Knowledge
from paredown.errors import ConfigError
from paredown.measure.latency import Timing
from paredown.model.torchvision import Torchvision
from paredown.prune.structured import Structured
from paredown.quantize.static import Static
from paredown.run.plan import Plan, _in_order, plan
from paredown.runtime.onnxruntime import OnnxRuntime
from paredown.runtime.torch import Torch
from paredown.store import StoreFolder
from paredown.tracking import Tracking
from paredown.training import Training
from paredown.training.baseline import Baseline


@pytest.fixture
def parts(training: Training, structured: Structured) -> dict[str, object]:
    return {
        "model": Torchvision("resnet18"),
        "training": training,
        "quantize": Static(8, True, False, "minmax", False, 256, [], 0.02, []),
        "prune": replace(structured, amount=0.3),
        "distill": Knowledge(Torchvision("mobilenet_v2"), training, 4.0, 0.7, None),
        "baseline": Baseline(Torchvision("resnet18"), training),
        "runtime": OnnxRuntime(1, "onnxruntime"),
    }


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["distill"],
        ["prune"],
        ["quantize"],
        ["distill", "prune"],
        ["distill", "quantize"],
        ["prune", "quantize"],
        ["distill", "prune", "quantize"],
    ],
)
def test_an_order_that_works_is_kept_behind_the_baseline(
    parts: dict[str, object], names: list[str]
) -> None:
    stages = _in_order(names, parts)
    assert list(stages) == ["baseline", *names]
    assert all(stages[name] is parts[name] for name in stages)


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (["quantize", "prune"], r"must end with quantize, .* is lowered into int8$"),
        (["distill", "quantize", "prune"], r"must end with quantize"),
        (["quantize", "distill"], r"must end with quantize"),
        (["prune", "distill"], r"must begin with distill, .* what prune did would be lost$"),
        (["prune", "prune"], r"must name each stage once"),
        (["distill", "prune", "distill"], r"must name each stage once"),
        (["prun"], r"must be one of distill, prune, quantize, got 'prun'; did you mean prune\?$"),
        (["baseline", "prune"], r"must be one of distill, prune, quantize, got 'baseline'"),
        (["model"], r"must be one of distill, prune, quantize, got 'model'"),
        (["runtime"], r"must be one of distill, prune, quantize, got 'runtime'"),
    ],
)
def test_an_order_that_cannot_work_is_refused_with_its_reason(
    parts: dict[str, object], names: list[str], line: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^technique\.stages {line}"):
        _in_order(names, parts)


def test_numerics_that_the_runtime_lacks_are_refused_with_those_it_has(
    parts: dict[str, object],
) -> None:
    eager = parts | {"runtime": Torch(1, "torch")}
    assert list(_in_order(["prune"], eager)) == ["baseline", "prune"]
    lacks = r"^runtime torch must lower what quantize asks for, got 'int8'; .* it has float32"
    with pytest.raises(ConfigError, match=lacks):
        _in_order(["prune", "quantize"], eager)


def planned(names: list[str], parts: dict[str, object]) -> Plan:
    return Plan(
        seed=0,
        dataset=Digits(split_seed=0, crop=2),
        stages=_in_order(names, parts),
        runtime=parts["runtime"],
        timing=Timing(2, 1, 1.0),
        store=StoreFolder("off"),
        tracking=Tracking("sqlite:///mlflow.db", "paredown", None, None),
        budget=Budget(None, None, None),
        study=None,
    )


def test_a_run_is_named_by_what_its_stages_do(parts: dict[str, object]) -> None:
    name = planned(["distill", "prune", "quantize"], parts).name
    assert name == "resnet18-mobilenet_v2-prune0.30-int8"


def test_a_batch_that_the_images_cannot_fill_is_refused_for_any_stage(
    parts: dict[str, object],
) -> None:
    assert len(planned(["distill"], parts).load().train) == 1078
    larger = replace(parts["distill"], training=replace(parts["training"], batch_size=1079))
    with pytest.raises(ConfigError, match=r"^training\.batch_size must be at most the 1078 images"):
        planned(["distill"], parts | {"distill": larger}).load()


def test_threads_beyond_the_cores_and_seeds_beyond_32_bits_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^runtime.threads must be at most \d+, the cores here"):
        plan(composed("model=cnn4", "model@student=cnn4", "runtime.threads=100000"))
    with pytest.raises(ConfigError, match=r"^training.threads must be at most \d+, the cores here"):
        plan(composed("model=cnn4", "model@student=cnn4", "training.threads=100000"))
    with pytest.raises(ConfigError, match=r"^seed must lie in \[0, 4294967296\), got 10000"):
        plan(composed("model=cnn4", "model@student=cnn4", f"seed={10**30}"))


CHEAP = [
    (
        {"round_to": 4096},
        r"prune\.round_to must be below 512, the channels of the widest layer, lay",
    ),
    ({"rewind": 99}, r"prune\.rewind must be at most 1, the epochs of the training before, got 99"),
]


@pytest.mark.parametrize(("bad", "told"), CHEAP, ids=["round_to", "rewind"])
def test_what_shapes_and_settings_tell_is_refused_before_a_network_is_tried(
    parts: dict[str, object], monkeypatch: pytest.MonkeyPatch, bad: dict, told: str
) -> None:
    monkeypatch.setattr(
        "paredown.run.plan.require_valid_model", lambda *_: pytest.fail("it was tried")
    )
    pruning = replace(parts["prune"], **bad)
    with pytest.raises(ConfigError, match=rf"^{told}"):
        planned(["prune"], parts | {"prune": pruning}).load()


def test_a_batch_of_the_last_stage_is_refused_before_a_network_is_tried(
    parts: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "paredown.run.plan.require_valid_model", lambda *_: pytest.fail("it was tried")
    )
    larger = replace(parts["distill"], training=replace(parts["training"], batch_size=1079))
    with pytest.raises(ConfigError, match=r"^training\.batch_size must be at most the 1078 images"):
        planned(["distill"], parts | {"distill": larger}).load()
