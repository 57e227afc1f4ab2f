"""Run run.py with a fault at a marked point: python tests/faulty.py FAULT POINT [arguments].

FAULT is a signal's name, MemoryError, or slow (wait there until a file named go appears).
POINT is baseline, prune (in training's third step), calibration, export or manifest.
"""

import os
import runpy
import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def strike(fault: str) -> None:
    """Do the fault, here and now."""
    if fault == "MemoryError":
        raise MemoryError("no memory left")
    if fault == "slow":
        Path("waiting").touch()
        while not Path("go").exists():
            time.sleep(0.05)
        return
    os.kill(os.getpid(), getattr(signal, fault))
    time.sleep(5)  # a signal that Python handles is handled before this ends


def arm(fault: str, point: str) -> None:
    """Put the fault at its point."""
    import torch
    from onnxruntime import quantization

    from paredown.store import entry
    from paredown.training.progress import TrainingProgress

    def before(owner: object, name: str) -> None:
        inner = getattr(owner, name)

        def struck(*args: object, **kwargs: object) -> object:
            strike(fault)
            return inner(*args, **kwargs)

        setattr(owner, name, struck)

    if point == "calibration":
        before(quantization, "quantize_static")
    elif point == "export":
        before(torch.onnx, "export")
    elif point == "manifest":
        before(entry, "sha256_of")  # the files are there, their manifest is not
    else:
        step = TrainingProgress.step

        def counted(bar: TrainingProgress, loss: float) -> None:
            step(bar, loss)
            if bar.title == point and bar._step == 3:
                strike(fault)

        TrainingProgress.step = counted


if __name__ == "__main__":
    arm(sys.argv[1], sys.argv[2])
    sys.argv = [str(ROOT / "run.py"), *sys.argv[3:]]
    runpy.run_path(sys.argv[0], run_name="__main__")
