"""What Hydra reads at every start: the sweepers, which import nothing heavy."""

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.paredown_sweeper._config import ParetoConf, width


class ParetoSweeper(Sweeper):
    """Let Optuna choose the jobs, and a launcher run them."""

    def __init__(self, **settings: Any) -> None:
        plain = OmegaConf.to_container(OmegaConf.create(settings), resolve=True)
        assert isinstance(plain, dict)
        self.settings = ParetoConf(**{str(name): value for name, value in plain.items()})

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what Hydra hands over, and make the launcher."""
        self._loader, self._config = hydra_context.config_loader, config
        if self.settings.n_jobs is None:
            self.settings.n_jobs = width(config.hydra.launcher)
        self._launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Search until the study has its trials.

        Args:
            arguments: The overrides of the command line, swept ones among them.
        """
        from hydra_plugins.paredown_sweeper._search import Search

        return Search(self.settings, self._config, self._launcher, self._loader, arguments).run()


class GridSweeper(BasicSweeper):
    """Hydra's own grid, of jobs that `paredown.sweep.grid` has composed and checked."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Compose no job again, which takes 0.1 s each."""


ConfigStore.instance().store(
    group="hydra/sweeper", name="pareto", node=ParetoConf, provider="paredown"
)
