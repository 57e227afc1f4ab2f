"""An instant job with the results of a real one."""

import os
import signal
import time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig

from paredown.cli.exits import user_errors
from paredown.run.results import OVER_BUDGET, write_result


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg) -> None:
    job = HydraConfig.get().job.num
    folder = Path(HydraConfig.get().runtime.output_dir)
    with Path("started").open("a") as file:
        file.write(f"{job} {cfg.x!r} {cfg.y!r} {cfg.net.width}\n")
    if job == cfg.die and not Path("died").exists():
        Path("died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if cfg.fail is not None and job >= cfg.fail:
        raise ValueError("nothing works")
    time.sleep(cfg.slow)
    baseline = {"accuracy": 1.0, "size_mb": 4.0, "latency_ms": 4.0, "speedup": 1.0}
    last = {
        "accuracy": float("nan") if job == cfg.nan else 1 - cfg.x**2,
        "size_mb": 4 * (1 - cfg.x) * cfg.net.width,
        "latency_ms": 4 / cfg.y,
        "speedup": cfg.y * (1 + cfg.x),
    }
    rows = [{"stage": "baseline", **baseline}, {"stage": "prune", **last}]
    if cfg.gate and last["size_mb"] > cfg.budget.size_mb:
        rows = [{"size_mb": last["size_mb"]}]
        over = {"status": OVER_BUDGET, "error": "size_mb", "rows": rows, "seconds": 0.5}
        write_result(folder, {"overrides": [], **over})
        return
    write_result(folder, {"status": "FINISHED", "overrides": [], "rows": rows, "seconds": 8})


if __name__ == "__main__":
    with user_errors():
        main()
