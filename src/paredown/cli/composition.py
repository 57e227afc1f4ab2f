"""Where conf/ is, and what Hydra composes of it."""

from pathlib import Path

from omegaconf import DictConfig

from paredown.errors import INSTALLED

CONF = Path(__file__).parents[1] / "conf" if INSTALLED else Path(__file__).parents[3] / "conf"
"""Where the configuration is: inside an installed package, or at the top of a checkout."""


def composed(*overrides: str, primary: str = "config", hydra: bool = False) -> DictConfig:
    """Compose the configuration as a command would.

    Args:
        overrides: Of the command line.
        primary: What is composed, in conf/.
        hydra: Whether Hydra's own node is a part of it.
    """
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(primary, overrides=list(overrides), return_hydra_config=hydra)
