"""What a network costs in every engine, in float32 and in int8, timed side by side.

    python benchmarks/runtimes.py [dataset ...] [override ...]      digits if left out

Trains (or takes from the store) ResNet-18 and MobileNetV2, lowers each into every engine that is
installed, in float32 and by `quantize=static`, and times all files of a network in turn, in five
processes. Goals, on a machine with VNNI: int8 within 0.5 points of float32 in every engine; in ONNX
Runtime at least 1.2 times faster than its own float32, and at most 0.30 of its bytes.
"""

import sys

from bench import planned, setting, walk
from rich.table import Table

from paredown.errors import ConfigError
from paredown.measure.latency import time_side_by_side
from paredown.report import show

ENGINES = {  # runtime -> its overrides; the first is what all are compared with
    "onnxruntime": [],
    "openvino": [],
    "executorch": [],
    "torch": ["runtime.compile=true"],
}
MODELS = ("resnet18", "mobilenet_v2")


def measure(dataset: str, model: str, overrides: list[str]) -> Table:
    """Lower one network everywhere, and time it."""
    rows, programs = [], []
    for engine, own in ENGINES.items():
        try:
            parts = planned(
                "technique=quantize", f"dataset={dataset}", f"model={model}",
                f"runtime={engine}", *own, *overrides,
            )  # fmt: skip
        except ConfigError as error:  # its engine is not installed
            print(f"left out: {error}")
            continue
        with parts.store.open() as store:
            path = walk(parts, store)
            for index, numerics in enumerate(("float32", "int8")):
                rows.append((engine, numerics, path.measured(index)))
                programs.append((parts.runtime, path.shipped(index)))
            image = path.dataset.example
    timed = time_side_by_side(programs, image, parts.timing)
    table = Table(title=f"{model} on {dataset}", title_justify="left")
    for name in ("runtime", "numerics", "layers", "accuracy, % [95 %]", "MB", "of float32",
                 "ms (p95)", "times ORT float32 [95 %]", "times own float32"):  # fmt: skip
        table.add_column(name, justify="right")
    own = (1.0, 1.0)
    for (engine, numerics, found), latency in zip(rows, timed, strict=True):
        if numerics == "float32":
            own = found["size_mb"], latency.speedup
        table.add_row(
            engine,
            numerics,
            f"{found['integer_layers']} of {found['layers']}",
            f"{found['accuracy']:.2%} [{found['accuracy_low']:.1%}, {found['accuracy_high']:.1%}]",
            f"{found['size_mb']:.3f}",
            f"{found['size_mb'] / own[0]:.2f}",
            f"{latency.latency_ms:.3f} ({latency.latency_ms_p95:.3f})",
            f"{latency.speedup:.2f} [{latency.speedup_low:.2f}, {latency.speedup_high:.2f}]",
            f"{latency.speedup / own[1]:.2f}",
        )
    return table


def main() -> None:
    """Measure every network on every data set that is named."""
    names = [text for text in sys.argv[1:] if "=" not in text] or ["digits"]
    overrides = [text for text in sys.argv[1:] if "=" in text]
    setting(*ENGINES, "nncf", "torchao")
    for dataset in names:
        for model in MODELS:
            show(measure(dataset, model, overrides))


if __name__ == "__main__":
    main()
