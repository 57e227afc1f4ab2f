"""Quantize a float32 .onnx file, by any recipe of `Numerics`."""

import platform
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from paredown.dataset import Dataset
from paredown.host import machine
from paredown.quantize.affine import affine, quantized
from paredown.runtime import require_float_layers
from paredown.runtime.failures import shorten_errors
from paredown.runtime.names import LAYERS, holders, rename, weights_of
from paredown.runtime.onnxruntime.nodes import excluded_nodes, float_nodes
from paredown.runtime.quiet import quiet
from paredown.variant import Numerics

if TYPE_CHECKING:
    import onnx

INT4_OPSET = 21  # the first whose DequantizeLinear takes 4 bits


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


def quantize(source: Path, target: Path, dataset: Dataset, numerics: Numerics) -> None:
    """Quantize a float32 .onnx file, whose weights are named as in the module."""
    import onnx

    schemes = {"static": _static, "dynamic": _dynamic, "weights": _weights}
    with tempfile.TemporaryDirectory(prefix="paredown-") as scratch, quiet():
        prepared = prepare(source, Path(scratch))
        require_float_layers(numerics, [layer for _, layer in holders(onnx.load(prepared).graph)])
        with shorten_errors(f"ONNX Runtime cannot quantize the network to {numerics.name}"):
            schemes[numerics.scheme](prepared, target, dataset, numerics)


def prepare(source: Path, folder: Path) -> Path:
    """Fold constants and infer shapes with ONNX Runtime; returns a new file in a folder.

    Its symbolic shape inference fails on a maximum over axes, norms and interpolation, and leaves
    files in the current folder then; ONNX's own finds what quantization needs.
    """
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = folder / "prepared.onnx"
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    proto = onnx.load(prepared)
    rename(proto.graph, weights_of(onnx.load(source).graph))
    stored = {tensor.name for tensor in proto.graph.initializer}
    shapes = [info for info in proto.graph.value_info if info.name not in stored]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(shapes)
    onnx.save(proto, prepared)
    return prepared


def _static(prepared: Path, target: Path, dataset: Dataset, numerics: Numerics) -> None:
    """Quantize weights and activations in the QDQ format, with ranges from training images."""
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.calibrate import save_tensors_data

    from paredown.runtime.onnxruntime.ranges import CALIBRATORS, ranges

    chosen = formats(machine.instructions(), platform.machine())
    cache = prepared.with_name("ranges.json")
    spans = ranges(prepared, dataset, numerics)
    save_tensors_data(spans, cache)
    quantize_static(
        str(prepared),
        str(target),
        calibration_cache_path=cache,
        calibrate_method=CalibrationMethod[CALIBRATORS[numerics.range][0]],
        quant_format=QuantFormat.QDQ,
        per_channel=numerics.per_channel,
        reduce_range=chosen.reduce_range,
        activation_type=QuantType[chosen.activations],
        weight_type=QuantType[chosen.weights],
        nodes_to_exclude=excluded_nodes(onnx.load(prepared).graph, numerics, spans),
        extra_options={"ActivationSymmetric": numerics.symmetric},
    )


def _dynamic(prepared: Path, target: Path, dataset: Dataset, numerics: Numerics) -> None:
    """Quantize linear layers alone, with the activations' ranges taken at every inference.

    ONNX Runtime could turn convolutions into ConvInteger, too, which its maintainers advise
    against (onnxruntime#12854).
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    excluded = float_nodes(onnx.load(prepared).graph, numerics)
    excluded += [f"{name}_MatMul" for name in excluded]  # what a Gemm becomes before exclusion
    quantize_dynamic(
        str(prepared),
        str(target),
        op_types_to_quantize=["MatMul", "Gemm"],
        per_channel=numerics.per_channel,
        reduce_range=formats(machine.instructions(), platform.machine()).reduce_range,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=excluded,
    )
    proto = onnx.load(target)  # ranges are of a whole batch: an image's logits must not depend on
    onnx.helper.set_model_props(proto, {"images": "one at a time"})  # the others in it
    onnx.save(proto, target)


def _weights(prepared: Path, target: Path, dataset: Dataset, numerics: Numerics) -> None:
    """Store weights as integers that the engine dequantizes; arithmetic stays float32."""
    import ml_dtypes
    import onnx
    from onnx import helper, numpy_helper

    proto = onnx.load(prepared)
    excluded = float_nodes(proto.graph, numerics)
    if numerics.bits == 4 and proto.opset_import[0].version < INT4_OPSET:
        proto = onnx.version_converter.convert_version(proto, INT4_OPSET)
    graph = proto.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    dtype = {4: ml_dtypes.int4, 8: np.int8}[numerics.bits]
    nodes = []
    for node in graph.node:
        tensor = stored.get(node.input[1]) if node.op_type in LAYERS else None
        if tensor is not None and node.name not in excluded:
            name, axis = tensor.name, _channel_axis(node)
            weight = numpy_helper.to_array(tensor)
            axes = tuple(i for i in range(weight.ndim) if i != axis or not numerics.per_channel)
            bound = np.abs(weight).max(axis=axes, keepdims=True)
            step = affine(-bound, bound, numerics.bits, symmetric=True)
            integers = quantized(weight, step).astype(dtype)
            scale = np.asarray(step.scale, np.float32).reshape(-1 if numerics.per_channel else ())
            graph.initializer.remove(stored.pop(name))
            graph.initializer.append(numpy_helper.from_array(integers, f"{name}_integer"))
            graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
            inputs = [f"{name}_integer", f"{name}_scale"]
            nodes.append(helper.make_node("DequantizeLinear", inputs, [name], axis=axis))
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(proto, target)


def _channel_axis(node: "onnx.NodeProto") -> int:
    """Return the axis of a weight that counts the outputs."""
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return 0 if node.op_type == "Conv" or transposed else 1
