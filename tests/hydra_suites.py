"""Hydra's own suites for sweepers, as a grid."""

import pytest
from hydra.test_utils.launcher_common_tests import BatchedSweeperTestSuite, LauncherTestSuite

GRID = [
    "hydra/sweeper=pareto",
    "hydra.sweeper.sampler=grid",
    "hydra.sweeper.n_trials=6",
    "hydra.sweeper.n_jobs=2",
    "hydra.sweeper.max_failure_rate=1",  # their jobs leave no result
]
pytestmark = [
    pytest.mark.parametrize(("launcher_name", "overrides"), [("basic", GRID)]),
    pytest.mark.filterwarnings("default"),
]


class TestLauncher(LauncherTestSuite):
    # these sweep over nothing, which a search refuses
    test_sweep_1_job = test_sweep_1_job_strict = test_sweep_with_custom_resolver = None


class TestBatches(BatchedSweeperTestSuite):
    pass
