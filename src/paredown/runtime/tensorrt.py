"""TensorRT on an NVIDIA GPU: one engine built from the ONNX export, float32 or int8.

This file has never run: no machine of the project has an NVIDIA GPU. It follows the documentation
of TensorRT 10 (explicit quantization, strongly typed networks) and of cuda-python 12, and its
refusals are tested; the first who has a GPU tells whether the rest works.
"""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from paredown.dataset import Batch, Dataset
from paredown.errors import RunError, require
from paredown.host import machine
from paredown.runtime import Abilities, Conversion, Logits, Program
from paredown.runtime.export import export_onnx, require_same_logits
from paredown.runtime.quiet import quiet
from paredown.variant import Numerics, Variant

if TYPE_CHECKING:
    import tensorrt

FILE, LARGEST = "model.plan", 256  # images at once; an engine is built for a range of batches


@dataclass(frozen=True)
class TensorRt:
    """TensorRT's engine for the GPU of this machine; it runs on that kind of GPU only.

    Its int8 has ranges that are symmetric about 0, whether that is asked for or not.

    Args:
        threads: Of the host; the GPU has its own.
        name: As tables and runs name the engine.
    """

    engine: ClassVar[str] = "tensorrt"
    abilities: ClassVar[Abilities] = Abilities(
        schemes=("static",), ranges=("minmax", "percentile", "entropy", "mse"), nvidia=True
    )
    standalone: ClassVar[None] = None  # an engine file is of one GPU, and this was never run

    threads: int = field(metadata={"key": False})
    name: str

    def __post_init__(self) -> None:
        require(self.threads >= 1, "threads", "be at least 1", self.threads)

    @property
    def fingerprint(self) -> dict[str, str]:
        """Versions; TensorRT itself refuses an engine that another kind of GPU built."""
        return machine.versions("tensorrt", "onnx", "onnxruntime", "onnxscript", "torch")

    def lower(
        self, variant: Variant, dataset: Dataset, folder: Path, source: Path | None = None
    ) -> Conversion:
        """Write `model.plan`; see the Runtime contract. An engine of `source` holds no graph."""
        import onnx

        from paredown.runtime.onnxruntime.quantize import count_converted

        with tempfile.TemporaryDirectory(prefix="paredown-") as name:
            file = Path(name) / "model.onnx"
            export_onnx(variant.module, dataset, file)
            if variant.numerics is not None:
                file = _explicit(file, dataset, variant.numerics)
            (folder / FILE).write_bytes(_build(file, dataset))
            converted = count_converted(onnx.load(file))
        if variant.numerics is None:
            require_same_logits(self.load(folder), variant.module, dataset)
        elif converted.integer == 0:
            raise RunError(f"{variant.numerics.name} converted none of {converted.layers} layers")
        return converted

    def load(self, folder: Path) -> Program:
        """Load `model.plan` onto the GPU."""
        return TensorRtProgram((folder / FILE).read_bytes())


def _explicit(file: Path, dataset: Dataset, numerics: Numerics) -> Path:
    """Write quantize and dequantize into a graph as TensorRT takes them: signed, zero point 0."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.calibrate import save_tensors_data

    from paredown.runtime.onnxruntime.quantize import kept_nodes, prepare
    from paredown.runtime.onnxruntime.ranges import method_of, ranges

    target = file.with_name("explicit.onnx")
    with quiet():
        prepared = prepare(file, file.parent)
        save_tensors_data(ranges(prepared, dataset, numerics), file.with_name("ranges.json"))
        quantize_static(
            str(prepared),
            str(target),
            calibration_cache_path=file.with_name("ranges.json"),
            calibrate_method=method_of(numerics),
            quant_format=QuantFormat.QDQ,
            per_channel=numerics.per_channel,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=kept_nodes(prepared, numerics),
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,  # TensorRT takes biases in float32
            },
        )
    return target


def _build(file: Path, dataset: Dataset) -> bytes:
    """Let TensorRT choose its kernels; minutes for a large network.

    Raises:
        RunError: Naming the operator that TensorRT lacks.
    """
    import tensorrt as trt

    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(file.read_bytes()):
        told = "; ".join(str(parser.get_error(at)) for at in range(parser.num_errors))
        raise RunError(f"TensorRT cannot take the network: {told}")
    profile = builder.create_optimization_profile()
    one, most = (1, *dataset.input_shape), (LARGEST, *dataset.input_shape)
    profile.set_shape("images", one, one, most)
    config = builder.create_builder_config()
    config.add_optimization_profile(profile)
    built = builder.build_serialized_network(network, config)
    if built is None:
        raise RunError("TensorRT built no engine of the network; its log tells why")
    return bytes(built)


class TensorRtProgram:
    """An engine on the GPU behind the Program contract: images go there, logits come back."""

    def __init__(self, plan: bytes) -> None:
        import tensorrt as trt

        self._logger = trt.Logger(trt.Logger.ERROR)
        self._engine = trt.Runtime(self._logger).deserialize_cuda_engine(plan)
        self._context: tensorrt.IExecutionContext = self._engine.create_execution_context()
        self._stream = _checked("cudaStreamCreate")

    def __call__(self, images: Batch) -> Logits:
        """Map normalized images (N, C, H, W) to logits (N, classes)."""
        parts = [images[at : at + LARGEST] for at in range(0, len(images), LARGEST)]
        return np.concatenate([self._answer(np.ascontiguousarray(part)) for part in parts])

    def _answer(self, images: Batch) -> Logits:
        from cuda.bindings.runtime import cudaMemcpyKind as Way

        self._context.set_input_shape("images", images.shape)
        logits = np.empty(tuple(self._context.get_tensor_shape("logits")), np.float32)
        there = {}
        try:
            for name, array in (("images", images), ("logits", logits)):
                there[name] = _checked("cudaMalloc", array.nbytes)
                self._context.set_tensor_address(name, int(there[name]))
            to, back = Way.cudaMemcpyHostToDevice, Way.cudaMemcpyDeviceToHost
            _checked("cudaMemcpy", there["images"], images.ctypes.data, images.nbytes, to)
            self._context.execute_async_v3(int(self._stream))
            _checked("cudaStreamSynchronize", self._stream)
            _checked("cudaMemcpy", logits.ctypes.data, there["logits"], logits.nbytes, back)
        finally:
            for place in there.values():
                _checked("cudaFree", place)
        return logits


def _checked(call: str, *arguments: Any) -> Any:
    """Call CUDA's runtime, whose functions give an error code and what they made.

    Raises:
        RunError: If it failed.
    """
    from cuda.bindings import runtime

    code, *made = getattr(runtime, call)(*arguments)
    if int(code) != 0:
        raise RunError(f"{call} failed on the GPU: {code}")
    return made[0] if made else None
