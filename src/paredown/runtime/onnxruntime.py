"""ONNX Runtime on the CPU: one self-contained .onnx file, float32 or static int8 (QDQ)."""

import contextlib
import copy
import logging
import platform
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from paredown import machine
from paredown.dataset import Dataset
from paredown.errors import RunError, require
from paredown.runtime import Program, Standalone
from paredown.variant import Numerics, Variant

if TYPE_CHECKING:
    import onnx
    from torch import nn

FILE = "model.onnx"
CHECKED_IMAGES = 64  # real ones, whose logits are compared with the module's
TOLERANCE = 1e-3  # of the largest logit; torchvision's classifiers agree to 1e-6


class Formats(NamedTuple):
    """The integer formats that are right and fast on a CPU."""

    activations: str
    weights: str
    reduce_range: bool


def formats(instructions: frozenset[str], architecture: str) -> Formats:
    """Choose formats as ONNX Runtime's quantization guide advises.

    Without VNNI, x86 adds pairs of u8*s8 products in 16 bits and saturates, so weights keep 7
    bits there. Its own default, signed activations, ran int8 ResNet-18 at 0.55 of float32's
    speed on an AVX-512 VNNI machine.

    Args:
        instructions: Of the CPU, as torch names them.
        architecture: As `platform.machine()` names it.
    """
    if architecture.lower() in ("aarch64", "arm64"):
        return Formats("QInt8", "QInt8", reduce_range=False)
    has_vnni = bool(instructions & {"avx512_vnni", "avx_vnni"})
    return Formats("QUInt8", "QInt8", reduce_range=not has_vnni)


def open_onnx(folder: Path, threads: int) -> "Program":
    """Open a session on `model.onnx`; program(images) -> logits."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    file, providers = str(folder / "model.onnx"), ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(file, options, providers=providers)
    return lambda images: session.run(None, {"images": images})[0]


@dataclass(frozen=True)
class OnnxRuntime:
    """ONNX Runtime's CPU provider.

    Args:
        threads: Of one inference.
        name: As tables and runs name the engine.
    """

    engine: ClassVar[str] = "onnxruntime"
    numerics: ClassVar[tuple[str, ...]] = ("float32", "int8")
    standalone: ClassVar[Standalone] = Standalone(open_onnx, ("onnxruntime",))

    threads: int = field(metadata={"key": False})
    name: str

    def __post_init__(self) -> None:
        require(self.threads >= 1, "threads", "be at least 1", self.threads)

    @property
    def fingerprint(self) -> dict[str, str]:
        """Versions, and the formats that int8 takes here."""
        chosen = formats(machine.instructions(), platform.machine())
        packages = machine.versions("onnx", "onnxruntime", "onnxscript", "torch")
        return {**packages, "formats": str(tuple(chosen)), "isa": machine.int8_instructions()}

    def lower(
        self, variant: Variant, dataset: Dataset, folder: Path, source: Path | None = None
    ) -> None:
        """Write `model.onnx` with a dynamic batch; see the Runtime contract."""
        target = folder / FILE
        if variant.numerics is None:
            _export(variant.module, dataset, target)
            self._check(variant.module, dataset, folder)
            return
        with tempfile.TemporaryDirectory() as scratch:
            if source is None:
                source = Path(scratch) / "float32"
                source.mkdir()
                _export(variant.module, dataset, source / FILE)
                self._check(variant.module, dataset, source)
            prepared = Path(scratch) / FILE
            _quantize(source / FILE, prepared, target, dataset, variant.numerics)

    def load(self, folder: Path) -> Program:
        """Open a session on `model.onnx`."""
        return open_onnx(folder, self.threads)

    def _check(self, module: "nn.Module", dataset: Dataset, folder: Path) -> None:
        """Compare the file's logits with the module's on real images."""
        import torch

        images = dataset.normalize(dataset.val.images[:CHECKED_IMAGES])
        with torch.inference_mode():
            expected = module(torch.from_numpy(images)).numpy()
        error = float(np.abs(self.load(folder)(images) - expected).max())
        limit = TOLERANCE * max(1.0, float(np.abs(expected).max()))
        if not error <= limit:
            raise RunError(
                f"the exported file's logits differ from the module's by {error:.2g}, more than "
                f"{limit:.2g}; the network does something that its ONNX export does not"
            )


def _export(module: "nn.Module", dataset: Dataset, target: Path) -> None:
    """Export to one file; the names and traces that the exporter leaves in it are dropped."""
    import onnx
    import torch

    images = torch.zeros(2, *dataset.input_shape)
    with _quiet():
        program = torch.onnx.export(
            _prepare(module),
            (images,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=["images"],
            output_names=["logits"],
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    _strip(proto)
    onnx.save(proto, target)


def _prepare(module: "nn.Module") -> "nn.Module":
    """Copy the network with batch norms folded and nothing in place: exported 2.5 times faster.

    Contiguous, since channels-last strides end up in the graph as an `as_strided` of six nodes.
    """
    import torch
    from torch.fx.experimental.optimization import fuse
    from torch.fx.proxy import TraceError

    try:
        module = fuse(module)
    except TraceError:  # control flow cannot be traced, but can be exported
        module = copy.deepcopy(module)
    for part in module.modules():
        if getattr(part, "inplace", False):
            part.inplace = False  # type: ignore[assignment]
    return module.to(memory_format=torch.contiguous_format)


def _strip(proto: "onnx.ModelProto") -> None:
    """Drop stack traces and other notes, so that equal weights give equal bytes anywhere."""
    graph = proto.graph
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    graph.ClearField("metadata_props")
    proto.ClearField("metadata_props")


def _quantize(
    source: Path, prepared: Path, target: Path, dataset: Dataset, numerics: Numerics
) -> None:
    """Turn a float32 file into a QDQ one, calibrated on training images.

    Raises:
        RunError: If no layer was converted.
    """
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Feeds the first training images, which are in random order of class, in batches."""

        def __init__(self) -> None:
            images = dataset.normalize(dataset.train.images[: numerics.calibration_images])
            self.batches = iter(np.array_split(images, -(-len(images) // 64)))

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self.batches, None)
            return None if batch is None else {"images": batch}

    chosen = formats(machine.instructions(), platform.machine())
    with _quiet():
        quant_pre_process(str(source), str(prepared))
        quantize_static(
            str(prepared),
            str(target),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=numerics.per_channel,
            reduce_range=chosen.reduce_range,
            activation_type=QuantType[chosen.activations],
            weight_type=QuantType[chosen.weights],
        )
    converted, layers = count_converted(onnx.load(target))
    if converted == 0:
        raise RunError(f"quantize converted none of {layers} layers; the file is not int8")
    logging.getLogger(__name__).info("int8: %d of %d layers", converted, layers)


def count_converted(proto: "onnx.ModelProto") -> tuple[int, int]:
    """Count the layers with weights whose weights are stored as integers, and all of them."""
    integer = {
        output
        for node in proto.graph.node
        if node.op_type == "DequantizeLinear"
        for output in node.output
    }
    layers = [node for node in proto.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    return sum(layer.input[1] in integer for layer in layers), len(layers)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporters' notes to their own developers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        previous = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(previous)
