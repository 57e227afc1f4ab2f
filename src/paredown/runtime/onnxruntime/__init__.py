"""ONNX Runtime on the CPU: one self-contained .onnx file, float32 or quantized (QDQ)."""

import platform
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from paredown.dataset import Batch, Dataset
from paredown.host import machine
from paredown.runtime import RANGES, Abilities, Conversion, Engine, Logits, Program, Standalone
from paredown.runtime.export import export_onnx, require_same_logits
from paredown.runtime.failures import blame_network
from paredown.runtime.onnxruntime.nodes import count_converted
from paredown.runtime.onnxruntime.quantize import formats, quantize
from paredown.variant import Variant

FILE = "model.onnx"


def open_onnx(folder: Path, threads: int) -> "Program":
    """Open a session on `model.onnx`; program(images) -> logits."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    file, providers = str(folder / "model.onnx"), ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(file, options, providers=providers)
    if session.get_modelmeta().custom_metadata_map.get("images") == "one at a time":
        import numpy as np

        def one_by_one(images: "Batch") -> "Logits":
            return np.concatenate([session.run(None, {"images": row[None]})[0] for row in images])

        return one_by_one
    return lambda images: session.run(None, {"images": images})[0]


@dataclass(frozen=True)
class OnnxRuntime(Engine):
    """ONNX Runtime's CPU provider."""

    engine: ClassVar[str] = "onnxruntime"
    abilities: ClassVar[Abilities] = Abilities(
        schemes=("static", "dynamic", "weights"), ranges=RANGES, bits=(4, 8)
    )
    standalone: ClassVar[Standalone] = Standalone(open_onnx, ("onnxruntime",), (FILE,))

    @property
    def fingerprint(self) -> dict[str, str]:
        """Versions, and the integer formats for this CPU."""
        chosen = formats(machine.instructions(), platform.machine())
        packages = machine.versions("onnx", "onnxruntime", "onnxscript", "torch")
        return {**packages, "formats": str(tuple(chosen)), "isa": machine.int8_instructions()}

    def lower(
        self, variant: Variant, dataset: Dataset, folder: Path, source: Path | None = None
    ) -> Conversion:
        """Write `model.onnx` with a dynamic batch; see the Runtime contract."""
        import onnx

        if variant.numerics is None:
            self._lower_float32(variant, dataset, folder)
            return count_converted(onnx.load(folder / FILE))
        with tempfile.TemporaryDirectory(prefix="paredown-") as scratch:
            if source is None:
                source = Path(scratch)
                self._lower_float32(variant, dataset, source)
            quantize(source / FILE, folder / FILE, dataset, variant.numerics)
        return count_converted(onnx.load(folder / FILE)).require_integers(variant.numerics)

    def _lower_float32(self, variant: Variant, dataset: Dataset, folder: Path) -> None:
        export_onnx(variant.module, dataset, folder / FILE)
        with blame_network("ONNX Runtime", variant.module, dataset):
            program = self.load(folder)
        require_same_logits(program, variant.module, dataset)

    def load(self, folder: Path) -> Program:
        """Open a session on `model.onnx`."""
        return open_onnx(folder, self.threads)
