"""An instant job that behaves like a real one: what a search finds here takes no training.

Accuracy falls with the amount, slowly and then fast, and has its best temperature and alpha, which
move with the amount; size and speed follow from the amount alone.
"""

import math
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from paredown.cli.exits import user_errors
from paredown.run.results import write_result

ConfigStore.instance().store(
    "synthetic",
    {"prune": {"amount": 0.5}, "distill": {"temperature": 4.0, "alpha": 0.7}},
)


@hydra.main(version_base="1.3", config_path=None, config_name="synthetic")
def main(cfg: DictConfig) -> None:
    """Leave the result of a job that was never run."""
    amount = cfg.prune.amount
    warm = (math.log2(cfg.distill.temperature) - 1.5 - amount) ** 2
    leaning = (cfg.distill.alpha - 0.8 + 0.3 * amount) ** 2
    last = {
        "accuracy": 0.99 - 0.3 * amount**4 - 0.01 * warm - 0.15 * leaning,
        "size_mb": 2.5 * (1 - amount) ** 2 + 0.1,
        "speedup": 3.4 + 5 * amount,
        "latency_ms": 1 / (3.4 + 5 * amount),
    }
    baseline = {"accuracy": 0.99, "size_mb": 44.7, "speedup": 1.0, "latency_ms": 1.0}
    rows = [{"stage": "baseline", **baseline}, {"stage": "quantize", **last}]
    folder = Path(HydraConfig.get().runtime.output_dir)
    write_result(folder, {"status": "FINISHED", "overrides": [], "rows": rows})


if __name__ == "__main__":
    with user_errors():
        main()
