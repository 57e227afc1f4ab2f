"""Distill, prune, quantize and measure one model; with -m, one run a value."""

import hydra
from omegaconf import DictConfig

from paredown.config import user_errors


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> None:
    """Do one job."""
    with user_errors():
        from paredown import pipeline  # heavy, so only once there is work

        pipeline.run(cfg)


if __name__ == "__main__":
    with user_errors():
        main()
