"""What a run logs as params: what makes a difference to it."""

import pytest

from paredown.config import composed
from paredown.run.record import settings, used

STUDENT, AMOUNT, ALPHA, BITS = "student.name", "prune.amount", "distill.alpha", "quantize.bits"
REHEARSE = "rehearse.epochs"


@pytest.mark.parametrize(
    ("overrides", "logged"),
    [
        (["technique=baseline"], set()),
        (["technique=prune"], {AMOUNT, ALPHA}),  # recovery reads distill.alpha
        (["technique=quantize"], {BITS}),
        (["technique=distill"], {STUDENT, ALPHA}),
        (["technique=stack"], {STUDENT, ALPHA, AMOUNT, BITS}),
        (["technique=stack", "distill=tuning"], {ALPHA, AMOUNT, BITS}),
        (["technique=baseline", "model@student=cnn4"], set()),
        (["technique=baseline", "prune.amount=0.3"], set()),
        (["experiment=order", "technique.stages=[rehearse]"], {REHEARSE, BITS}),
        (["experiment=order", "technique.stages=[quantize]"], {BITS}),
    ],
    ids=lambda value: "+".join(sorted(value)) or "nothing",
)
def test_only_settings_of_parts_that_a_run_has_are_logged(
    overrides: list[str], logged: set[str]
) -> None:
    params = dict.fromkeys((STUDENT, AMOUNT, ALPHA, BITS, REHEARSE))
    assert set(used(params, composed(*overrides))) == logged


def test_a_run_that_prunes_alone_logs_of_distillation_what_recovery_reads() -> None:
    cfg = composed("technique=prune")
    choices = {"distill": "knowledge", "model@student": "mobilenet_v2", "prune": "structured"}
    logged = set(used(settings(cfg, choices), cfg))
    assert {name for name in logged if name.startswith(("distill", "student"))} == {
        "distill.temperature", "distill.alpha", "distill.views"
    }  # fmt: skip
    assert {"prune", "prune.amount", "seed", "training.epochs"} <= logged
