"""Make a folder that deploys of the first measured variant that meets a budget."""

import hydra
from omegaconf import DictConfig

from paredown.config import user_errors


@hydra.main(version_base="1.3", config_path="conf", config_name="pick")
def main(cfg: DictConfig) -> None:
    """Pick once."""
    with user_errors("pick"):
        from paredown.pick import command  # heavy, so only once there is work

        command.run(cfg)


if __name__ == "__main__":
    with user_errors("pick"):
        main()
