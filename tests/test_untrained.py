from collections.abc import Callable
from pathlib import Path

import pytest
from command import SMALL
from torch import nn

from paredown.budget import Budget
from paredown.config import composed
from paredown.dataset import Dataset
from paredown.run.estimate import estimate_cost
from paredown.run.path import VariantPath
from paredown.run.plan import Plan, plan
from paredown.store.local import Store
from paredown.training import loop
from paredown.variant import Context

ANY = Budget(None, 1.0, None)


@pytest.fixture
def planned() -> Callable[..., Plan]:
    def make(*overrides: str) -> Plan:
        asked = [*SMALL, *overrides]
        if MOBILE in asked:
            asked = [text for text in asked if "student" not in text] + [f"model@{MOBILE}"]
        return plan(composed(*asked))

    return make


SMALLER = "student.width=16"
MOBILE = "student=mobilenet_v2"  # its fresh batch norms fold into biases of zero


@pytest.mark.parametrize(
    ("technique", "student"),
    [
        ("baseline", SMALLER),
        ("distill", SMALLER),
        ("prune", SMALLER),
        ("quantize", SMALLER),
        ("stack", SMALLER),
        ("stack", MOBILE),
    ],
)
def test_an_untrained_file_costs_what_the_trained_one_does(
    planned: Callable[..., Plan], technique: str, student: str, tmp_path: Path
) -> None:
    parts = planned(f"technique={technique}", "prune.amount=0.4", student)
    dataset = parts.load()
    path = VariantPath(parts.stages, dataset, parts.runtime, Store(tmp_path), parts.seed)
    trained = path.measured(len(path.names) - 1)
    found = estimate_cost(parts, dataset, ANY)
    assert found.keys() == {"size_mb", "params", "macs"}
    assert found["size_mb"] == pytest.approx(trained["size_mb"], abs=64e-6)  # bytes
    assert (found["params"], found["macs"]) == (trained["params"], trained["macs"])


def test_latency_is_taken_where_it_is_limited(planned: Callable[..., Plan], few: Dataset) -> None:
    found = estimate_cost(planned(), few, Budget(None, None, 1.0))
    assert 0 < found["latency_ms"] <= found["latency_ms_p95"]


def test_nothing_is_trained_and_no_teacher_is_asked(
    planned: Callable[..., Plan], few: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("trained")

    monkeypatch.setattr(loop, "fit", never)
    estimate_cost(planned(), few, ANY)
    with pytest.raises(AssertionError, match="trained"):  # so that this test can fail
        stage = planned().stages["baseline"]
        stage(None, Context(few, 0, nn.Identity, "baseline"))
