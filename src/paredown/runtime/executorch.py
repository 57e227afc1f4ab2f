"""ExecuTorch with XNNPACK on the CPU: one .pte file that takes one image at a time.

The file runs in ExecuTorch's C++ runtime on a phone without Python. Its Python package, with which
it is measured here, is linked against torch's libraries and imports torch, so a bundle needs
torch, too.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from paredown.dataset import Dataset
from paredown.errors import require
from paredown.host import machine
from paredown.runtime import Abilities, Conversion, Engine, Program, Standalone, pt2e
from paredown.runtime.export import require_same_logits
from paredown.runtime.failures import blame_network, shorten_errors
from paredown.runtime.quiet import quiet
from paredown.variant import Numerics, Variant

if TYPE_CHECKING:
    from torch.export import ExportedProgram

log = logging.getLogger(__name__)

FILE = "model.pte"


def open_executorch(folder: Path, threads: int) -> "Program":
    """Load `model.pte`, which takes one image at a time; program(images) -> logits."""
    import torch
    from executorch.extension.pybindings import portable_lib

    if portable_lib._threadpool_get_thread_count() != threads:  # of the whole process
        portable_lib._unsafe_reset_threadpool(threads)  # unsafe for programs loaded before
    run = portable_lib._load_for_executorch(str(folder / "model.pte"))
    rows = torch.from_numpy
    # copied, since it takes memory as it lies and ignores strides
    return lambda images: torch.cat([run([row[None]])[0] for row in rows(images.copy())]).numpy()


@dataclass(frozen=True)
class ExecuTorch(Engine):
    """ExecuTorch's CPU engine, XNNPACK; its threads are those of the whole process.

    Args:
        batch: Images that the file takes at once: 1, since ExecuTorch plans its memory ahead.
    """

    engine: ClassVar[str] = "executorch.runtime"
    abilities: ClassVar[Abilities] = pt2e.ABILITIES
    standalone: ClassVar[Standalone] = Standalone(open_executorch, ("executorch", "torch"), (FILE,))

    batch: int | str

    def __post_init__(self) -> None:
        super().__post_init__()
        why = "ExecuTorch plans its memory ahead, and the program loops over larger batches"
        require(self.batch == 1, "batch", "be 1", self.batch, why)

    @property
    def fingerprint(self) -> dict[str, str]:
        """Versions, and the instructions that XNNPACK chooses its kernels by."""
        packages = machine.versions("executorch", "torch", "torchao")
        return {**packages, "isa": machine.int8_instructions()}

    def lower(
        self, variant: Variant, dataset: Dataset, folder: Path, source: Path | None = None
    ) -> Conversion:
        """Write `model.pte`; see the Runtime contract. A .pte file of `source` holds no graph."""
        numerics = variant.numerics
        exported = pt2e.export_variant(variant, dataset, _quantizer)
        with blame_network("ExecuTorch", variant.module, dataset):
            float_layers = _write(exported, folder / FILE)
        if numerics is None:
            require_same_logits(self.load(folder), variant.module, dataset)
        else:
            with shorten_errors(f"ExecuTorch cannot run {numerics.name} of the network"):
                self.load(folder)(dataset.example)
        converted = pt2e.count_converted(exported.graph_module)
        return converted._replace(integer=converted.integer - float_layers)

    def load(self, folder: Path) -> Program:
        """Load `model.pte`; sets ExecuTorch's number of threads for the whole process."""
        with quiet(), _without_stderr():
            return open_executorch(folder, self.threads)


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Silence what ExecuTorch's C++ code writes about threads and missing files."""
    stderr = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _quantizer(numerics: Numerics, float_layers: Sequence[str]) -> Any:
    """Return XNNPACK's quantizer for a recipe.

    A layer that is called twice stays in float32: XNNPACK refuses to load two of one weight.
    """
    with quiet():
        from executorch.backends.xnnpack.quantizer import xnnpack_quantizer as xnnpack

    standard = xnnpack.get_symmetric_quantization_config(is_per_channel=numerics.per_channel)
    quantizer = xnnpack.XNNPACKQuantizer().set_global(pt2e.recipe(numerics, standard))
    return quantizer.set_filter_function(
        lambda node: not (pt2e.is_of(node, float_layers) or pt2e.is_shared(node))
    )


def _write(exported: "ExportedProgram", target: Path) -> int:
    """Partition for XNNPACK, write the file, and count integer layers that compute in float32."""
    with quiet():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        edge = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
        left, float_layers = pt2e.left_out(edge.exported_program().graph_module)
        target.write_bytes(edge.to_executorch().buffer)
    if left:
        log.warning("XNNPACK leaves to ExecuTorch's portable operators: %s", ", ".join(left))
    return float_layers
