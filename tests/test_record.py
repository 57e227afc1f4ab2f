"""What a run logs as params: what makes a difference to it."""

import pytest

from paredown.config import composed
from paredown.record import unused


@pytest.mark.parametrize(
    ("overrides", "left_out"),
    [
        (["technique=baseline"], {"distill", "prune", "quantize", "student"}),
        (["technique=prune"], {"quantize", "student"}),  # recovery reads distill.alpha
        (["technique=quantize"], {"distill", "prune", "student"}),
        (["technique=distill"], {"prune", "quantize"}),
        (["technique=stack"], set()),
        (["technique=stack", "distill=tuning"], {"student"}),
        (["technique=baseline", "model@student=cnn4"], {"distill", "prune", "quantize"}),
        (["technique=baseline", "prune.amount=0.3"], {"distill", "quantize", "student"}),
        (["experiment=order", "technique.stages=[rehearse]"], {"prune", "student"}),
    ],
    ids=lambda value: "+".join(sorted(value)) or "nothing",
)
def test_settings_that_a_run_does_not_use_are_not_logged_unless_they_were_typed(
    overrides: list[str], left_out: set[str]
) -> None:
    assert unused(composed(*overrides), overrides) == left_out
