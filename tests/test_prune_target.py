"""An amount found by measuring: within the target, near it, and refused where none is."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import partial

import pytest
from torch import nn

from paredown.dataset import Dataset
from paredown.errors import ConfigError
from paredown.measure import footprint, meter
from paredown.measure.latency import Timing
from paredown.measure.meter import METRICS, cost_meter
from paredown.model.cnn4 import Cnn4
from paredown.prune.structured import Structured
from paredown.prune.target import Target
from paredown.runtime.onnxruntime import OnnxRuntime
from paredown.variant import Context, CostFn, Variant

SOURCE = Cnn4(width=32, name="cnn4")
RUNTIME = OnnxRuntime(name="onnxruntime", threads=1)


def target(**given: float | str) -> Target:
    return Target(**{**dict.fromkeys(METRICS), **given})


@pytest.fixture
def stage(structured: Structured) -> Structured:
    asked = target(params="50%")
    return replace(structured, epochs=0, amount=None, target=asked, round_to=1)


def context(dataset: Dataset, module: nn.Module) -> Context:
    meter = partial(cost_meter, RUNTIME, dataset)
    return Context(dataset, 0, lambda: deepcopy(module), "prune", cost_meter=meter)


def cost(module: nn.Module, dataset: Dataset, metric: str) -> float:
    if metric == "params":
        return footprint.params(module)
    if metric == "macs":
        return footprint.macs(module, dataset.input_shape)
    with cost_meter(RUNTIME, dataset, Variant(module, SOURCE), metric) as measure:
        return measure(Variant(module, SOURCE))


@pytest.mark.parametrize(
    ("metric", "share"),
    [("params", 80), ("params", 50), ("params", 10), ("macs", 50), ("size_mb", 50)],
)
def test_a_share_is_met_within_3_percent_and_never_passed(
    stage: Structured, cnn4: nn.Module, few: Dataset, metric: str, share: int
) -> None:
    asked = replace(stage, target=target(**{metric: f"{share}%"}))
    found = asked(Variant(cnn4, SOURCE), context(few, cnn4))
    limit = cost(cnn4, few, metric) * share / 100
    assert limit * 0.97 <= cost(found.module, few, metric) <= limit
    assert found.facts[f"target_{metric}"] == pytest.approx(limit)
    assert found.facts[f"reached_{metric}"] == cost(found.module, few, metric)
    assert 0 < found.facts["amount"] < 1


@pytest.mark.parametrize("scope", ["local", "global", "isomorphic"])
def test_an_absolute_number_is_met_in_every_scope(
    stage: Structured, cnn4: nn.Module, few: Dataset, scope: str
) -> None:
    asked = replace(stage, target=target(params=100_000), scope=scope)
    found = asked(Variant(cnn4, SOURCE), context(few, cnn4))
    assert 97_000 <= footprint.params(found.module) <= 100_000


def test_wide_steps_come_within_one_step(stage: Structured, cnn4: nn.Module, few: Dataset) -> None:
    rough = replace(stage, round_to=16)
    found = rough(Variant(cnn4, SOURCE), context(few, cnn4))
    amount, limit = found.facts["amount"], found.facts["target_params"]
    less = replace(rough, amount=amount - 2**-10, target=target())
    before = less(Variant(cnn4, SOURCE), context(few, cnn4))
    assert footprint.params(found.module) <= limit < footprint.params(before.module)


def test_a_network_within_its_target_stays_as_it_is(
    stage: Structured, cnn4: nn.Module, few: Dataset
) -> None:
    found = replace(stage, target=target(params=10**9))(Variant(cnn4, SOURCE), context(few, cnn4))
    assert found.module is cnn4
    assert found.facts == {"target_params": 10**9, "before_params": footprint.params(cnn4)}


@pytest.mark.parametrize("metric", ["params", "macs", "size_mb"])
def test_what_no_width_allows_is_refused_with_the_smallest_before_any_work(
    stage: Structured, few: Dataset, metric: str
) -> None:
    asked = replace(stage, target=target(**{metric: 1e-6}), round_to=8)
    build = partial(SOURCE.build, 10, (3, 32, 32))
    message = rf"prune.target.{metric} must be at least \S+, the smallest that prune.round_to=8"
    with pytest.raises(ConfigError, match=message):
        asked.check(build, context(few, build()), None)


def test_the_smallest_that_is_told_can_be_reached(
    stage: Structured, cnn4: nn.Module, few: Dataset
) -> None:
    with pytest.raises(ConfigError) as told:
        replace(stage, target=target(params=1))(Variant(cnn4, SOURCE), context(few, cnn4))
    smallest = float(str(told.value).partition("at least ")[2].partition(",")[0])
    found = replace(stage, target=target(params=smallest))
    assert footprint.params(found(Variant(cnn4, SOURCE), context(few, cnn4)).module) == smallest


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"params": 1, "macs": 1}, "params must be the only target, got 'macs beside it'"),
        ({"params": "half"}, "params must be a number, or a share of what is pruned, such"),
        ({"params": "0%"}, r"params must lie in \(0, 100\] %, got '0%'"),
        ({"macs": "120%"}, r"macs must lie in \(0, 100\] %, got '120%'"),
        ({"size_mb": 0}, "size_mb must be above 0, got 0"),
        ({"latency_ms": float("nan")}, "latency_ms must be above 0, got nan"),
    ],
)
def test_a_target_that_makes_no_sense_is_refused(given: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        target(**given)


def test_the_label_tells_the_target(stage: Structured) -> None:
    assert stage.label == "prune_params50pct"
    assert replace(stage, target=target(size_mb=0.8)).label == "prune_size_mb0.8"


def test_latency_is_met_within_10_percent_by_a_steady_clock(
    stage: Structured, cnn4: nn.Module, few: Dataset
) -> None:
    @contextmanager
    def steady(given: Variant, metric: str) -> Iterator[CostFn]:
        assert metric == "latency_ms"
        yield lambda variant: 0.01 + 1e-8 * footprint.macs(variant.module, few.input_shape)

    asked = replace(stage, target=target(latency_ms="50%"), round_to=8)
    found = asked(Variant(cnn4, SOURCE), replace(context(few, cnn4), cost_meter=steady)).facts
    assert found["target_latency_ms"] == pytest.approx(found["before_latency_ms"] / 2)
    assert 0.9 * found["target_latency_ms"] <= found["reached_latency_ms"]
    assert found["reached_latency_ms"] <= found["target_latency_ms"]


def test_latency_is_searched_by_the_clock_of_the_runtime(  # benchmarks/prune_target.py: how well
    stage: Structured, cnn4: nn.Module, few: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meter, "TIMING", Timing(processes=1, rounds=3, turn_ms=1))
    asked = replace(stage, target=target(latency_ms="50%"), round_to=8)
    found = asked(Variant(cnn4, SOURCE), context(few, cnn4))
    half = pytest.approx(found.facts["before_latency_ms"] / 2)  # 50 / 100 rounds otherwise
    assert found.facts["target_latency_ms"] == half
    assert found.facts["reached_latency_ms"] > 0
    assert footprint.macs(found.module, few.input_shape) < footprint.macs(cnn4, few.input_shape)
