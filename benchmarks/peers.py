"""Paredown beside what people do without it: the same teacher, data, epochs and machine.

    python benchmarks/peers.py [override ...]

Fashion-MNIST, one trained ResNet-18. Whatever trains afterwards has the same epochs (prune.epochs),
whatever is quantized the same 256 training images, and every file is timed in one thread, side by
side. (a) a textbook's recipe: MobileNetV2 distilled and fine-tuned by a plain loop, channel masks,
dynamic int8; (b) ONNX Runtime's static quantization of the teacher, as Olive runs it; (c) NNCF's
post-training int8 of the teacher, in OpenVINO; (d) Torch-Pruning's one-shot call with the same
fine-tuning as ours, in ONNX Runtime; (e) Paredown. Accuracy is of the test split.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch_pruning as tp
from bench import ENGINES, keep, planned, setting, walk
from rich.table import Table
from throughput import shown_as_in_textbooks, unpacked
from torch import nn, optim
from torch.nn.utils import prune
from torch.utils.data import DataLoader

from paredown.dataset import Dataset
from paredown.distill.loss import distillation_loss, soft_target_loss
from paredown.front import front
from paredown.measure import footprint, quality
from paredown.measure.latency import time_side_by_side
from paredown.model.torchvision import Torchvision
from paredown.report import show
from paredown.run.path import VariantPath
from paredown.runtime import Runtime, calibration_batches
from paredown.runtime.onnxruntime import FILE, OnnxRuntime
from paredown.runtime.openvino import OpenVino
from paredown.store.local import Store
from paredown.training.finetune import FineTuning
from paredown.training.loop import fit
from paredown.variant import Variant

OURS, THEIRS = (0.3, 0.5, 0.7, 0.8), (0.5, 0.7)
CALIBRATION, TEMPERATURE, ALPHA = 256, 4.0, 0.7


@dataclass
class Point:
    """A file of somebody's making."""

    who: str
    runtime: Runtime
    folder: Path
    seconds: float


@contextmanager
def clock() -> Iterator[Callable[[], float]]:
    """Tell the seconds since it was entered."""
    start = time.monotonic()
    yield lambda: time.monotonic() - start


def plain_loop(
    module: nn.Module, teacher: nn.Module, folder: Path, images: int, epochs: int
) -> None:
    """Train a student as a tutorial does: float32, contiguous, a DataLoader with two workers."""
    some = torch.utils.data.Subset(shown_as_in_textbooks(folder), range(images))
    batches = DataLoader(some, 128, shuffle=True, num_workers=2, drop_last=True)
    optimizer = optim.Adam(module.parameters(), lr=0.001)
    for _ in range(epochs):
        module.train()
        for pixels, labels in batches:
            with torch.no_grad():
                told = teacher(pixels)
            loss = distillation_loss(module(pixels), told, labels, TEMPERATURE, ALPHA)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    module.eval()


def textbook(teacher: nn.Module, dataset: Dataset, epochs: int, place: Path) -> Point:
    """Distill, mask 30 % of the channels, fine-tune, and quantize dynamically."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    source, runtime = Torchvision("mobilenet_v2"), OnnxRuntime(1, "onnxruntime")
    torch.manual_seed(0)
    student = source.build(10, dataset.input_shape)
    with clock() as seconds:
        files = place / "idx"
        unpacked(files)
        plain_loop(student, teacher, files, len(dataset.train), epochs)
        masked = [part for part in student.modules() if isinstance(part, nn.Conv2d)]
        for part in masked:
            prune.ln_structured(part, "weight", amount=0.3, n=2, dim=0)
        plain_loop(student, teacher, files, len(dataset.train), epochs)
        for part in masked:
            prune.remove(part, "weight")
        float32, shipped = place / "float32", place / "textbook"
        float32.mkdir()
        shipped.mkdir()
        runtime.lower(Variant(student, source), dataset, float32)
        quantize_dynamic(
            float32 / FILE,
            shipped / FILE,
            op_types_to_quantize=["MatMul", "Gemm"],
            weight_type=QuantType.QInt8,
        )
        return Point("textbook: masks, dynamic int8", runtime, shipped, seconds())


class Reader:
    """Calibration images, as ONNX Runtime asks for them."""

    def __init__(self, dataset: Dataset) -> None:
        self._batches = iter(calibration_batches(dataset, CALIBRATION))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Give the next batch; None at the end."""
        batch = next(self._batches, None)
        return None if batch is None else {"images": batch}


def onnxruntime_static(float32: Path, dataset: Dataset, place: Path) -> Point:
    """Quantize the teacher's file by ONNX Runtime's own call, as its guide for x86 says."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    folder = place / "ort_static"
    folder.mkdir()
    with clock() as seconds:
        quant_pre_process(float32 / FILE, place / "prepared.onnx")
        quantize_static(
            place / "prepared.onnx",
            folder / FILE,
            Reader(dataset),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return Point("ONNX Runtime static", OnnxRuntime(1, "onnxruntime"), folder, seconds())


def nncf_int8(teacher: Variant, dataset: Dataset, place: Path) -> Point:
    """Quantize the teacher in OpenVINO by NNCF's own call."""
    import nncf
    import openvino

    runtime, float32, folder = OpenVino(1, "openvino"), place / "ov_float32", place / "ov_int8"
    float32.mkdir()
    folder.mkdir()
    runtime.lower(teacher, dataset, float32)
    with clock() as seconds:
        model = openvino.Core().read_model(float32 / "model.xml")
        batches = calibration_batches(dataset, CALIBRATION)
        made = nncf.quantize(
            model,
            nncf.Dataset(batches),
            subset_size=len(batches),
            target_device=nncf.TargetDevice.CPU,
        )
        openvino.save_model(made, folder / "model.xml", compress_to_fp16=False)
        return Point("NNCF int8, OpenVINO", runtime, folder, seconds())


def torch_pruning(
    path: VariantPath, tuning: FineTuning, dataset: Dataset, amount: float, place: Path
) -> Point:
    """Prune by Torch-Pruning's own call, and fine-tune as we do."""
    training = replace(tuning.training, epochs=tuning.epochs, learning_rate=tuning.learning_rate)
    teacher = path.variant(0)
    module, runtime = deepcopy(teacher.module), OnnxRuntime(1, "onnxruntime")
    folder = place / f"tp{amount}"
    folder.mkdir()
    with clock() as seconds:
        tp.pruner.MagnitudePruner(
            module,
            (torch.zeros(1, *dataset.input_shape),),
            importance=tp.importance.MagnitudeImportance(p=2),
            pruning_ratio=amount,
            ignored_layers=[module.fc],
            round_to=16,
            in_channel_groups={},
            out_channel_groups={},
            num_heads={},
        ).step()
        assert tuning.views is not None, "ours uses stored soft targets, and so does this"
        soft_targets = path.soft_targets(tuning.views, training)
        loss = soft_target_loss(TEMPERATURE, ALPHA, training)
        fit(training, module, dataset, loss, 0, "Torch-Pruning", source=soft_targets)
        runtime.lower(Variant(module, teacher.source), dataset, folder)
        return Point(f"Torch-Pruning {amount}, float32", runtime, folder, seconds())


def ours(overrides: list[str], amount: float, dataset: Dataset, store: Store) -> Iterator[Point]:
    """Walk our path: pruned, and pruned in int8."""
    parts = planned(*overrides, f"prune.amount={amount}")
    path = walk(parts, store, dataset)
    path.shipped(0)
    with clock() as seconds:
        for index, told in ((1, "float32"), (2, "int8")):
            folder = path.shipped(index)
            yield Point(f"Paredown {amount}, {told}", parts.runtime, folder, seconds())


def points(overrides: list[str], place: Path) -> tuple[list[Point], Dataset]:
    """Make every file; the teacher's own is the first."""
    parts = planned(*overrides)
    dataset = parts.load()
    tuning: Any = parts.stages["prune"]
    epochs = tuning.epochs
    with parts.store.open() as store:
        path = walk(parts, store, dataset)
        with clock() as seconds:
            teacher, float32 = path.variant(0), path.shipped(0)
            made = [Point("teacher, float32", parts.runtime, float32, seconds())]
        for amount in OURS:
            made += ours(overrides, amount, dataset, store)
        made.append(onnxruntime_static(float32, dataset, place))
        made.append(nncf_int8(teacher, dataset, place))
        for amount in THEIRS:
            made.append(torch_pruning(path, tuning, dataset, amount, place))
        made.append(textbook(teacher.module, dataset, epochs, place))
    return made, dataset


def main() -> None:
    """Print and keep a row a file."""
    about = setting(*ENGINES, "openvino", "nncf")
    overrides = ["experiment=fashion", "prune.epochs=5", *sys.argv[1:]]
    print(" ".join(overrides), flush=True)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        made, dataset = points(overrides, Path(name))
        image = dataset.example
        timing = planned("measure.processes=5").timing
        timed = time_side_by_side([(each.runtime, each.folder) for each in made], image, timing)
        for each, latency in zip(made, timed, strict=True):
            program = each.runtime.load(each.folder)
            judged = quality.accuracy(program, dataset, dataset.test)
            size = footprint.size_mb(each.folder)
            more = {"size_mb": size, "seconds": each.seconds, **latency.metrics()}
            rows.append({"who": each.who, **judged, **more})
    goals = {"accuracy": "maximize", "size_mb": "minimize", "speedup": "maximize"}
    best = set(front(rows, goals))
    table = Table(title="test split of Fashion-MNIST", title_justify="left")
    for column in ("", "accuracy, % [95 %]", "MB", "ms", "times the teacher [95 %]", "s", "front"):
        table.add_column(column)
    for at, row in enumerate(rows):
        row["on_front"] = at in best
        table.add_row(
            row["who"],
            f"{row['accuracy']:.2%} [{row['accuracy_low']:.1%}, {row['accuracy_high']:.1%}]",
            f"{row['size_mb']:.3f}",
            f"{row['latency_ms']:.3f}",
            f"{row['speedup']:.2f} [{row['speedup_low']:.2f}, {row['speedup_high']:.2f}]",
            f"{row['seconds']:.0f}",
            "yes" if at in best else "",
        )
    show(table)
    keep("peers", {**about, "overrides": overrides}, rows)


if __name__ == "__main__":
    main()
