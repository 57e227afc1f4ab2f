"""What a sweep costs beside its training, and what the store saves.

    python benchmarks/sweep_cost.py [override ...]

Fashion-MNIST, ResNet-18, four amounts, from a store that has the teacher and its answers: the whole
command's time against the sum of the four recoveries. Then one trial without a store, teacher and
all: trials an hour. `store.folder=` names a store where a teacher may be. Goals: at most 1.1
times the recoveries; at least 3 times the trials an hour.
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import ROOT, keep, setting

AMOUNTS = (0.1, 0.3, 0.5, 0.7)
ASKED = ("dataset=fashion_mnist", "technique=prune_quantize", "training.batch_size=128",
         "distill.views=8", "prune.epochs=5")  # fmt: skip
STORE, ALONE = "store.folder=", "prune.amount=0.3"
TOLD = re.compile(r"prune: \d+ epochs in ([\d.]+) s")


def run(folder: Path, *overrides: str) -> float:
    """Run a command whole; give its seconds."""
    tracking = f"tracking.uri=sqlite:///{folder}/mlflow.db"
    command = [sys.executable, str(ROOT / "run.py"), *overrides]
    start = time.monotonic()
    subprocess.run([*command, tracking], check=True, cwd=folder, capture_output=True)
    return time.monotonic() - start


def main() -> None:
    """Print and keep the two ratios."""
    about = setting()
    asked = [*ASKED, *(each for each in sys.argv[1:] if not each.startswith(STORE))]
    print(" ".join(asked), flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = [each for each in sys.argv[1:] if each.startswith(STORE)]
        store = given[0] if given else f"{STORE}{folder}/store"
        first = ["prune.amount=0.9", "prune.epochs=1", f"hydra.run.dir={folder}/teacher"]
        teacher = run(folder, *asked, store, *first)
        print(f"before, with the teacher if it was not there: {teacher:.1f} s", flush=True)
        amounts = f"prune.amount={','.join(map(str, AMOUNTS))}"
        sweep = run(folder, "-m", *asked, store, amounts, f"hydra.sweep.dir={folder}/sweep")
        logs = [file.read_text() for file in sorted(folder.glob("sweep/*/*.log"))]
        recoveries = [float(seconds) for text in logs for seconds in TOLD.findall(text)]
        assert len(recoveries) == len(AMOUNTS), recoveries
        told = ", ".join(f"{seconds:.1f}" for seconds in recoveries)
        print(f"sweep: {sweep:.1f} s; recoveries {told} s: {sweep / sum(recoveries):.3f} times")
        alone = run(folder, *asked, f"{STORE}off", ALONE, f"hydra.run.dir={folder}/alone")
    with_store, without = 3600 * len(AMOUNTS) / sweep, 3600 / alone
    print(f"trials an hour: {with_store:.1f} with the store, {without:.1f} without ({alone:.1f} s)")
    found = {
        "sweep_s": sweep,
        "recoveries_s": recoveries,
        "against_recoveries": sweep / sum(recoveries),
        "trials_an_hour": {"store": with_store, "no store": without},
        "more_trials": with_store / without,
    }
    keep("sweep_cost", {**about, "overrides": asked}, found)


if __name__ == "__main__":
    main()
