"""Where conf/ is, and what Hydra composes of it."""

from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from paredown.errors import INSTALLED

if TYPE_CHECKING:
    from hydra.conf import HydraConf

CONF = Path(__file__).parents[1] / "conf" if INSTALLED else Path(__file__).parents[3] / "conf"
"""The configuration: inside an installed package, or at the top of a checkout."""


def composed(*overrides: str, primary: str = "config", hydra: bool = False) -> DictConfig:
    """Compose a primary configuration of conf/ as a command would, with Hydra's own node or not."""
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(primary, overrides=list(overrides), return_hydra_config=hydra)


def is_search(hydra: "HydraConf") -> bool:
    """Return whether the sweeper of Hydra's own node proposes jobs as it goes, unlike a grid."""
    return not str(hydra.sweeper._target_).endswith((".BasicSweeper", ".GridSweeper"))
