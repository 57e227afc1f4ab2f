"""Distill, prune, quantize and measure one model; with -m, one run a value."""

import warnings
from typing import Any

import hydra
from omegaconf import DictConfig

from paredown.config import user_errors

# conf/hydra/launcher has the names of the plugins' own configs, which Hydra says at every start
warnings.filterwarnings(
    "ignore", r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema"
)


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> dict[str, Any]:
    """Do one job; give its result, as plain data, to a sweep on another machine."""
    with user_errors():
        from paredown import pipeline  # heavy, so only once there is work

        return pipeline.run(cfg)


if __name__ == "__main__":
    with user_errors():
        main()
