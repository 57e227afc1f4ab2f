"""What quantization-aware training wins back of what few bits cost, over several seeds.

    python benchmarks/qat.py [override ...]      quantize.epochs= is for training's side alone

Two sweeps: the default path (distill, prune, quantize) with `quantize=static` and with
`quantize=qat`, in 4-bit weights (simulated), for seeds 0, 1 and 2. Goals: rounding afterwards loses
at least 3 points of the pruned student's accuracy, and training wins two thirds of that back.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import ROOT, setting

SEEDS = (0, 1, 2)


def sweep(folder: Path, technique: str, overrides: list[str]) -> list[dict]:
    """Run a technique with every seed; give the jobs' results."""
    asked = [
        f"seed={','.join(map(str, SEEDS))}",
        f"quantize={technique}",
        "quantize.bits=4",
        "quantize.ladder=[]",
        f"hydra.sweep.dir={folder}/{technique}",
        f"tracking.uri=sqlite:///{folder}/mlflow.db",
        *overrides,
    ]
    subprocess.run([sys.executable, ROOT / "run.py", "-m", *asked], check=True, cwd=folder)
    files = sorted(folder.glob(f"{technique}/*/result.json"))
    return [json.loads(file.read_text()) for file in files]


def main() -> None:
    """Print loss and gain by seed, and their spread."""
    setting()
    accuracies: dict[tuple[int, str], tuple[float, float]] = {}
    given = sys.argv[1:]
    untrained = [text for text in given if not text.startswith("quantize.epochs=")]
    with tempfile.TemporaryDirectory() as folder:
        for technique, overrides in (("static", untrained), ("qat", given)):
            for job in sweep(Path(folder), technique, overrides):
                asked = dict(text.split("=", 1) for text in job["overrides"])
                before, after = (row["accuracy"] for row in job["rows"][-2:])
                accuracies[int(asked["seed"]), technique] = before, after
    lost, won = [], []
    for seed in SEEDS:
        before, static = accuracies[seed, "static"]
        _, qat = accuracies[seed, "qat"]
        lost.append(100 * (before - static))
        won.append(100 * (qat - static))
        share = won[-1] / lost[-1] if lost[-1] else float("nan")
        print(
            f"seed {seed}: float32 {before:.2%}, 4 bits afterwards {static:.2%} "
            f"({lost[-1]:.2f} points lost), trained with them {qat:.2%} ({share:.0%} won back)"
        )
    share = statistics.fmean(won) / statistics.fmean(lost)
    print(
        f"mean of {len(SEEDS)} seeds: {statistics.fmean(lost):.2f} points lost "
        f"(sd {statistics.stdev(lost):.2f}), {statistics.fmean(won):.2f} won back "
        f"(sd {statistics.stdev(won):.2f}): {share:.0%}"
    )


if __name__ == "__main__":
    main()
