"""OpenVINO on the CPU: model.xml and model.bin, float32 or quantized by NNCF."""

import math
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from paredown.dataset import Dataset
from paredown.host import machine
from paredown.runtime import (
    Abilities,
    Conversion,
    Engine,
    Program,
    Standalone,
    calibration_batches,
    require_float_layers,
)
from paredown.runtime.export import export_onnx, require_same_logits
from paredown.runtime.failures import blame_network, shorten_errors
from paredown.runtime.names import free, layer_of
from paredown.runtime.quiet import quiet
from paredown.variant import Numerics, Variant

if TYPE_CHECKING:
    import openvino

FILE = "model.xml"
KINDS = ("Convolution", "GroupConvolution", "MatMul")  # operators that may hold weights


def open_openvino(folder: Path, threads: int) -> "Program":
    """Compile `model.xml` for batches, and once more for single images; images -> logits."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # it sends on import
    import openvino

    config: dict[str, object] = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    config |= {"ENABLE_CPU_PINNING": False, "INFERENCE_PRECISION_HINT": "f32"}  # not bfloat16
    models = [openvino.Core().read_model(folder / "model.xml") for _ in range(2)]
    models[1].reshape([1, *models[1].input().partial_shape[1:]])
    programs = [openvino.compile_model(model, "CPU", config) for model in models]
    return lambda images: programs[len(images) == 1](images)[0]


@dataclass(frozen=True)
class OpenVino(Engine):
    """OpenVINO's CPU engine, for one inference at a time."""

    engine: ClassVar[str] = "openvino"
    abilities: ClassVar[Abilities] = Abilities(
        schemes=("static",),
        ranges=("minmax", "percentile", "mse"),
        bias_correction=True,
        quantizer="nncf",
    )
    standalone: ClassVar[Standalone] = Standalone(
        open_openvino, ("openvino",), ("model.xml", "model.bin")
    )

    @property
    def fingerprint(self) -> dict[str, str]:
        """Versions, and the instructions that NNCF's ranges depend on."""
        packages = machine.versions("nncf", "onnx", "onnxscript", "openvino", "torch")
        return {**packages, "isa": machine.int8_instructions()}

    def lower(
        self, variant: Variant, dataset: Dataset, folder: Path, source: Path | None = None
    ) -> Conversion:
        """Write `model.xml` and `model.bin` with a dynamic batch; see the Runtime contract."""
        if variant.numerics is None:
            return self._lower_float32(variant, dataset, folder)
        with tempfile.TemporaryDirectory(prefix="paredown-") as scratch:
            if source is None:
                source = Path(scratch)
                self._lower_float32(variant, dataset, source)
            _save(_quantize(_read(source / FILE), dataset, variant.numerics), folder)
        return count_converted(_read(folder / FILE)).require_integers(variant.numerics)

    def _lower_float32(self, variant: Variant, dataset: Dataset, folder: Path) -> Conversion:
        from openvino import passes

        with tempfile.TemporaryDirectory(prefix="paredown-") as scratch:
            file = Path(scratch) / "model.onnx"
            export_onnx(variant.module, dataset, file)
            with blame_network("OpenVINO", variant.module, dataset):
                model = _read(file)
            _name_layers(model)
            # NNCF takes neither a weight nor a bias that is reshaped first
            passes.ConstantFolding().run_on_model(model)
            _save(model, folder)
        require_same_logits(self.load(folder), variant.module, dataset)
        return count_converted(model)

    def load(self, folder: Path) -> Program:
        """Compile `model.xml`."""
        return open_openvino(folder, self.threads)


def _read(file: Path) -> "openvino.Model":
    import openvino

    return openvino.Core().read_model(file)


def _name_layers(model: "openvino.Model") -> None:
    """Name operators after the layers whose weights they hold; NNCF needs unique names."""
    taken = {operator.get_friendly_name() for operator in model.get_ordered_ops()}
    for operator, weight in _layers(model):
        name = free(layer_of(weight.get_friendly_name()), taken)
        taken.add(name)
        operator.set_friendly_name(name)


def _save(model: "openvino.Model", folder: Path) -> None:
    """Write the two files, without indentation and without counters of the process in names."""
    import openvino

    layers = {operator.get_friendly_name() for operator, _ in _layers(model)}
    for number, operator in enumerate(model.get_ordered_ops()):
        name = operator.get_friendly_name()
        if name not in layers and re.search(r"_\d+$", name):
            operator.set_friendly_name(f"{operator.get_type_name()}_{number}")
    openvino.save_model(model, folder / FILE, compress_to_fp16=False)
    text = (folder / FILE).read_text()
    (folder / FILE).write_text(re.sub(r">\s+<", "><", text))  # a quarter of it is indentation


def _quantize(model: "openvino.Model", dataset: Dataset, numerics: Numerics) -> "openvino.Model":
    """Quantize weights and activations with NNCF."""
    with quiet():
        import nncf
        from nncf.quantization import advanced_parameters as advanced

        scheme = nncf.common.quantization.structs.QuantizationScheme
        ranges = nncf.quantization.range_estimator.RangeEstimatorParametersSet
        batches = calibration_batches(dataset, numerics.calibration_images)
        fix = advanced.OverflowFix.DISABLE if machine.has_vnni() else advanced.OverflowFix.ENABLE
        parameters = advanced.AdvancedQuantizationParameters(
            overflow_fix=fix,
            disable_bias_correction=not numerics.bias_correction,
            batchwise_statistics=True,
            weights_quantization_params=advanced.QuantizationParameters(
                per_channel=numerics.per_channel
            ),
            activations_quantization_params=advanced.QuantizationParameters(
                # what is never negative gets 0..max all the same: its CPU plugin has no other
                mode=scheme.SYMMETRIC if numerics.symmetric else scheme.ASYMMETRIC,
            ),
            activations_range_estimator_params={
                "minmax": ranges.MINMAX,
                "percentile": ranges.MEAN_QUANTILE,  # 99.99 %, the mean over batches
                "mse": ranges.HISTOGRAM,
            }[numerics.range],
        )
        ignored = nncf.IgnoredScope(names=_float_operators(model, numerics))
        with shorten_errors(f"NNCF cannot quantize the network to {numerics.name}"):
            return nncf.quantize(
                model,
                nncf.Dataset(batches),
                preset=nncf.QuantizationPreset.MIXED,
                target_device=nncf.TargetDevice.CPU,
                subset_size=len(batches),
                ignored_scope=ignored,
                advanced_parameters=parameters,
            )


def _float_operators(model: "openvino.Model", numerics: Numerics) -> list[str]:
    """List the operators whose layers stay in float32."""
    names = [operator.get_friendly_name() for operator, _ in _layers(model)]
    require_float_layers(numerics, list(map(layer_of, names)))
    return [name for name in names if numerics.keeps_float(layer_of(name))]


def count_converted(model: "openvino.Model") -> Conversion:
    """Count the layers whose weights are stored as integers, and all with weights."""
    types = [weight.get_element_type().get_type_name() for _, weight in _layers(model)]
    return Conversion(sum(kind in ("i8", "u8", "i4", "u4") for kind in types), len(types))


def _layers(model: "openvino.Model") -> list[tuple[Any, Any]]:
    """List the operators with weights, each with the constant that its weight comes from."""
    layers = []

    def size(constant: Any) -> int:
        return math.prod(constant.output(0).get_shape())

    for operator in model.get_ordered_ops():
        if operator.get_type_name() in KINDS:
            sources = _sources(operator.input_value(1).get_node())
            if all(source.get_type_name() == "Constant" for source in sources):
                largest = max(sources, key=size)  # not a scale or a zero point
                layers.append((operator, largest))
    return layers


def _sources(node: Any) -> list[Any]:
    """List the nodes without inputs that a node is computed from, itself included.

    The search ends at the images: then the node holds no weight.
    """
    queue, visited, sources = [node], set(), []
    while queue:
        operator = queue.pop()
        if operator.get_friendly_name() not in visited:
            visited.add(operator.get_friendly_name())
            inputs = [value.get_node() for value in operator.input_values()]
            queue.extend(inputs)
            if not inputs:
                sources.append(operator)
            if operator.get_type_name() == "Parameter":
                break
    return sources
