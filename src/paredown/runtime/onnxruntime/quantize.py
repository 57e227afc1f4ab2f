"""Turn a float32 .onnx file into one with integers, by any recipe of `Numerics`."""

import contextlib
import io
import platform
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from paredown.dataset import Dataset
from paredown.errors import RunError
from paredown.host import machine
from paredown.quantize.affine import affine, quantized
from paredown.runtime import Conversion, require_kept
from paredown.runtime.export import telling
from paredown.runtime.names import LAYERS, holders, rename, weights_of
from paredown.runtime.quiet import quiet
from paredown.variant import Numerics

if TYPE_CHECKING:
    import onnx
    from onnxruntime.quantization.calibrate import TensorsData

INTEGER_NODES = ("ConvInteger", "MatMulInteger", "DynamicQuantizeMatMul")
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
    """Turn a float32 file into one with integers.

    Args:
        source: A float32 .onnx file, with the weights' names that they have in the module.
        target: Where the new one goes.
        dataset: Its train split calibrates.
        numerics: The recipe.

    Raises:
        RunError: If no layer was converted.
    """
    import onnx

    schemes = {"static": _static, "dynamic": _dynamic, "weights": _weights}
    with (
        tempfile.TemporaryDirectory(prefix="paredown-") as scratch,
        quiet(),
        contextlib.redirect_stdout(io.StringIO()),  # ONNX Runtime's calibrators print
    ):
        prepared = prepare(source, Path(scratch))
        require_kept(numerics, [layer for _, layer in holders(onnx.load(prepared).graph)])
        with telling(f"ONNX Runtime cannot make {numerics.name} of the network"):
            schemes[numerics.scheme](prepared, target, dataset, numerics)
    found = count_converted(onnx.load(target))
    if found.integer == 0:
        raise RunError(
            f"{numerics.name} converted none of {found.layers} layers; the file is float32"
        )


def prepare(source: Path, folder: Path) -> Path:
    """Let ONNX Runtime fold what it can and find shapes; gives a new file in a folder.

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
    """Weights and activations as integers, in the QDQ format; ranges from training images."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.calibrate import save_tensors_data

    from paredown.runtime.onnxruntime.ranges import method_of, ranges

    chosen = formats(machine.instructions(), platform.machine())
    cache = prepared.with_name("ranges.json")  # of this file alone, and gone with it
    spans = ranges(prepared, dataset, numerics)
    save_tensors_data(spans, cache)
    quantize_static(
        str(prepared),
        str(target),
        calibration_cache_path=cache,
        calibrate_method=method_of(numerics),
        quant_format=QuantFormat.QDQ,
        per_channel=numerics.per_channel,
        reduce_range=chosen.reduce_range,
        activation_type=QuantType[chosen.activations],
        weight_type=QuantType[chosen.weights],
        nodes_to_exclude=[
            *_kept_with_neighbours(prepared, numerics),
            *_grouped(prepared),
            *_boundless(prepared, spans),
        ],
        extra_options={"ActivationSymmetric": numerics.symmetric},
    )


def _dynamic(prepared: Path, target: Path, dataset: Dataset, numerics: Numerics) -> None:
    """Linear layers alone, the activations' ranges taken at every inference; no convolution.

    ONNX Runtime could turn convolutions into ConvInteger, too, which its maintainers advise
    against (onnxruntime#12854).
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    kept = kept_nodes(prepared, numerics)
    kept += [f"{name}_MatMul" for name in kept]  # what it makes of a Gemm before it looks
    quantize_dynamic(
        str(prepared),
        str(target),
        op_types_to_quantize=["MatMul", "Gemm"],
        per_channel=numerics.per_channel,
        reduce_range=formats(machine.instructions(), platform.machine()).reduce_range,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=kept,
    )
    proto = onnx.load(target)  # a range is of all images that come at once: an answer depends on
    onnx.helper.set_model_props(proto, {"images": "one at a time"})  # the others, which it must not
    onnx.save(proto, target)


def _weights(prepared: Path, target: Path, dataset: Dataset, numerics: Numerics) -> None:
    """Weights stored as integers, turned into float32 by the engine; arithmetic stays float32."""
    import ml_dtypes
    import onnx
    from onnx import helper, numpy_helper

    proto = onnx.load(prepared)
    if numerics.bits == 4 and proto.opset_import[0].version < INT4_OPSET:
        proto = onnx.version_converter.convert_version(proto, INT4_OPSET)
    graph, kept = proto.graph, kept_nodes(prepared, numerics)
    stored = {tensor.name: tensor for tensor in graph.initializer}
    kind = {4: ml_dtypes.int4, 8: np.int8}[numerics.bits]
    nodes = []
    for node in graph.node:
        tensor = stored.get(node.input[1]) if node.op_type in LAYERS else None
        if tensor is not None and node.name not in kept:
            name = tensor.name
            weight, axis = numpy_helper.to_array(tensor), _channel_axis(node)
            over = tuple(at for at in range(weight.ndim) if at != axis or not numerics.per_channel)
            bound = np.abs(weight).max(axis=over, keepdims=True)
            step = affine(-bound, bound, numerics.bits, symmetric=True)
            whole = quantized(weight, step).astype(kind)
            graph.initializer.remove(tensor)
            del stored[name]
            scale = np.asarray(step.scale, np.float32).reshape(-1 if numerics.per_channel else ())
            graph.initializer.append(numpy_helper.from_array(whole, f"{name}_integer"))
            graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
            inputs = [f"{name}_integer", f"{name}_scale"]
            nodes.append(helper.make_node("DequantizeLinear", inputs, [name], axis=axis))
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(proto, target)


def _channel_axis(node: "onnx.NodeProto") -> int:
    """Find the axis of a weight that counts the outputs."""
    turned = any(one.name == "transB" and one.i for one in node.attribute)
    return 0 if node.op_type == "Conv" or turned else 1


def kept_nodes(file: Path, numerics: Numerics) -> list[str]:
    """List the nodes whose layers stay in float32."""
    import onnx

    graph = onnx.load(file).graph
    return [node.name for node, layer in holders(graph) if numerics.keeps_float(layer)]


def _grouped(file: Path) -> list[str]:
    """List the transposed convolutions in groups: ONNX Runtime takes one group's scales for all."""
    import onnx

    return [
        node.name
        for node in onnx.load(file).graph.node
        if node.op_type == "ConvTranspose"
        and any(one.name == "group" and one.i > 1 for one in node.attribute)
    ]


def _boundless(file: Path, spans: "TensorsData") -> list[str]:
    """List the nodes that read or give infinities, such as a mask: no integer step spans them."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(file).graph
    names = {
        name
        for name in spans.keys()  # noqa: SIM118, no mapping
        if not np.isfinite([np.asarray(end).min() for end in spans[name].range_value]).all()
    }
    names |= {
        tensor.name
        for tensor in graph.initializer
        if (values := numpy_helper.to_array(tensor)).dtype.kind == "f"
        and not np.isfinite(values).all()
    }
    return [node.name for node in graph.node if names & {*node.input, *node.output}]


def _kept_with_neighbours(file: Path, numerics: Numerics) -> list[str]:
    """List the nodes that stay in float32: kept layers, and what stands beside one of them.

    An addition or a pooling between layers is an integer one only if all the layers next to it
    are; else a network with one integer layer would still round at every addition.
    """
    import onnx

    graph, kept = onnx.load(file).graph, set(kept_nodes(file, numerics))
    layers = {node.name for node, _ in holders(graph)}
    made = {name: node for node in graph.node for name in node.output}
    used: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            used.setdefault(name, []).append(node)

    def beside(node: "onnx.NodeProto", up: bool, seen: set[str]) -> bool:
        """Tell whether the nearest layers in one direction include a kept one."""
        if up:
            near = [made[name] for name in node.input if name in made]
        else:
            near = [other for name in node.output for other in used.get(name, ())]
        for other in near:
            if other.name not in seen:
                seen.add(other.name)
                layer = other.name in layers
                if other.name in kept or (not layer and beside(other, up, seen)):
                    return True
        return False

    between = [node for node in graph.node if node.name not in layers]
    found = [node.name for node in between if any(beside(node, up, set()) for up in (True, False))]
    return [*kept, *found] if kept else []


def count_converted(proto: "onnx.ModelProto") -> Conversion:
    """Count the layers with weights whose weights are stored as integers, and all of them."""
    graph = proto.graph
    stored = {tensor.name for tensor in graph.initializer}
    integer = {
        output
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in stored
        for output in node.output
    }
    made = sum(node.op_type in INTEGER_NODES and node.input[1] in stored for node in graph.node)
    dequantized = sum(node.op_type in LAYERS and node.input[1] in integer for node in graph.node)
    return Conversion(dequantized + made, made + len(holders(graph)))
