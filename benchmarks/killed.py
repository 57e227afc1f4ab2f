"""Kill a first run at many moments, and see that the same command goes on each time.

    python benchmarks/killed.py                 20 moments of the first three seconds
    python benchmarks/killed.py --moments 5 --within 3

Each time begins in an empty folder, without database and store. What is counted is how many second
commands end with exit code 0 and a result.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
SMALL = (
    "model=cnn4",
    "model.width=8",
    "technique=baseline",
    "training.epochs=1",
    "measure.processes=1",
    "measure.rounds=1",
    "store.folder=store",
    "hydra.run.dir=run",
)


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Start the command in a folder."""
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, str(ROOT / "run.py"), *SMALL], cwd=folder, stdout=log, stderr=log
        )


def goes_on(folder: Path, moment: float) -> bool:
    """Kill a first run after some seconds; tell whether the second ends with its result."""
    first = start(folder)
    time.sleep(moment)
    first.kill()
    first.wait()
    done = start(folder).wait() == 0
    result = folder / "run" / "result.json"
    return done and json.loads(result.read_text())["status"] == "FINISHED"


def moments(count: int, seconds: float) -> list[float]:
    """Spread moments evenly over the seconds in which the first run begins."""
    return [seconds * (at + 1) / count for at in range(count)]


def main() -> None:
    """Kill, go on, count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--within", type=float, default=3.0, help="seconds")
    asked = parser.parse_args()
    good = 0
    for moment in moments(asked.moments, asked.within):
        with tempfile.TemporaryDirectory() as folder:
            fine = goes_on(Path(folder), moment)
            made = sorted(path.name for path in Path(folder).iterdir())
            good += fine
            print(f"killed after {moment:.2f} s: {'goes on' if fine else 'FAILED'}  {made}")
            if not fine:
                print((Path(folder) / "log").read_text()[-2000:])
    print(f"{good} of {asked.moments} go on")
    raise SystemExit(good != asked.moments)


if __name__ == "__main__":
    main()
