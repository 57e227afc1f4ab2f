"""PyTorch on the CPU: the module run op by op, or compiled ahead of time to machine code.

Eager is a model's cost before any runtime lowers it. Compiled, Inductor turns the graph, its
weights frozen in, into a shared library; the package runs on a CPU with the instructions of this
one, in the same version of torch.
"""

import os
import platform
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from paredown import model
from paredown.dataset import Batch, Dataset
from paredown.host import machine
from paredown.runtime import Abilities, Conversion, Engine, Logits, Program, Standalone, pt2e
from paredown.runtime.export import require_same_logits
from paredown.runtime.failures import blame_network
from paredown.runtime.quiet import quiet
from paredown.variant import Numerics, Variant

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

PACKAGE = "model.pt2"


def eager(module: "nn.Module") -> Program:
    """Return a program that runs a network op by op."""
    import torch

    def run(images: Batch) -> Logits:
        with torch.inference_mode():
            logits: Logits = module(torch.from_numpy(images)).numpy()
        return logits

    return run


def open_package(folder: Path, threads: int) -> "Program":
    """Load `model.pt2`, which takes one image at a time; program(images) -> logits."""
    import torch
    from torch._inductor import aoti_load_package

    torch.set_num_threads(threads)  # of the whole process
    run = aoti_load_package(str(folder / "model.pt2"))
    return lambda images: torch.cat([run(row[None]) for row in torch.from_numpy(images)]).numpy()


@dataclass(frozen=True)
class Torch(Engine):
    """The module itself, or with `compile` its package, whose name gets the suffix `-compiled`.

    Compiling needs a C++ compiler, and half a minute per network.
    """

    engine: ClassVar[str] = "torch"

    compile: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.compile and not self.name.endswith("-compiled"):  # figures of the two never mix
            object.__setattr__(self, "name", f"{self.name}-compiled")

    @property
    def abilities(self) -> Abilities:
        """Eager is float32 alone; Inductor's int8 kernels are for x86, with per-channel scales."""
        if not self.compile:
            return Abilities()
        compiler = os.environ.get("CXX", "g++")
        if platform.machine().lower() not in ("x86_64", "amd64"):
            return Abilities(tool=compiler)
        return replace(pt2e.ABILITIES, per_tensor=False, tool=compiler)

    @property
    def standalone(self) -> Standalone | None:
        """Weights are no program: they need paredown. A package needs torch alone."""
        return Standalone(open_package, ("torch",), (PACKAGE,)) if self.compile else None

    @property
    def fingerprint(self) -> dict[str, str]:
        """Versions; machine code depends on this CPU's instructions and the threads, too."""
        if not self.compile:
            return machine.versions("torch")
        return {
            **machine.versions("torch", "torchao"),
            "isa": " ".join([*sorted(machine.instructions()), f"{self.threads}_threads"]),
        }

    def lower(
        self, variant: Variant, dataset: Dataset, folder: Path, source: Path | None = None
    ) -> Conversion:
        """Write weights and architecture, or the package; see the Runtime contract."""
        if self.compile:
            return self._compile(variant, dataset, folder)
        classes, shape = len(dataset.classes), dataset.input_shape
        model.save(variant.module, variant.source, classes, shape, folder)
        return Conversion(0, len(model.layers(variant.module)))

    def _compile(self, variant: Variant, dataset: Dataset, folder: Path) -> Conversion:
        exported = pt2e.export_variant(variant, dataset, _quantizer)
        with blame_network("Inductor", variant.module, dataset):
            _package(exported, self.threads, folder / PACKAGE)
        if variant.numerics is None:
            require_same_logits(self.load(folder), variant.module, dataset)
        return pt2e.count_converted(exported.graph_module)

    def load(self, folder: Path) -> Program:
        """Load the files that `lower` wrote; sets torch's threads for the whole process."""
        if self.compile:
            return open_package(folder, self.threads)
        import torch

        torch.set_num_threads(self.threads)
        module, _ = model.load(folder)
        return eager(module)


def _quantizer(numerics: Numerics, float_layers: Sequence[str]) -> Any:
    """Return Inductor's quantizer for a recipe."""
    with quiet():
        from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    standard = x86.get_default_x86_inductor_quantization_config(reduce_range=not machine.has_vnni())
    quantizer = x86.X86InductorQuantizer().set_global(pt2e.recipe(numerics, standard))
    for layer in float_layers:
        quantizer.set_module_name_qconfig(layer, None)
    return quantizer


def _package(exported: "ExportedProgram", threads: int, target: Path) -> None:
    """Compile ahead of time, with the weights frozen into the code.

    Without `freezing`, and without `no_grad` around it, Inductor silently leaves a quantized graph
    in float32 (pytorch/ao#4566). The number of threads is that of the process that loads it; but
    weights are laid out for the number here, and another one lays them out anew at every
    inference: ResNet-18 then took 8.4 ms in one thread, and 2.4 ms laid out for one.
    """
    import torch
    from torch._inductor import aoti_compile_and_package

    configs = {
        "freezing": True,
        "cpp.dynamic_threads": True,
        "aot_inductor.enable_line_tables": False,  # for debuggers; a megabyte
    }
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with tempfile.TemporaryDirectory(prefix="paredown-") as scratch, quiet(), torch.no_grad():
            package = Path(scratch) / PACKAGE
            aoti_compile_and_package(exported, package_path=str(package), inductor_configs=configs)
            _strip(package, target)
    finally:
        torch.set_num_threads(before)


def _strip(package: Path, target: Path) -> None:
    """Copy a package without its C++ sources and its time stamp, which nothing runs."""
    with zipfile.ZipFile(package) as source, zipfile.ZipFile(target, "w") as copy:
        for name in sorted(source.namelist()):
            if not name.endswith((".cpp", "serialization_id")):
                copy.writestr(zipfile.ZipInfo(name), source.read(name))
