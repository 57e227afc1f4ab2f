"""Write what MLflow keeps of finished runs as one page for a browser and one Markdown file."""

import hydra
from omegaconf import DictConfig

from paredown.config import user_errors


@hydra.main(version_base="1.3", config_path="conf", config_name="report")
def main(cfg: DictConfig) -> None:
    """Report once."""
    with user_errors("report"):
        from paredown.report import command  # heavy, so only once there is work

        command.run(cfg)


if __name__ == "__main__":
    with user_errors("report"):
        main()
