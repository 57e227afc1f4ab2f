import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import build_warm
from onnx import TensorProto, helper
from torch import nn
from torch.nn import functional as F

from paredown.dataset import Dataset
from paredown.errors import ConfigError, RunError
from paredown.model import layers
from paredown.model.cnn4 import Cnn4
from paredown.model.torchvision import Torchvision
from paredown.quantize.layers import resolved
from paredown.quantize.weights import rounded
from paredown.runtime.onnxruntime import FILE, OnnxRuntime
from paredown.runtime.onnxruntime.nodes import count_converted
from paredown.runtime.onnxruntime.quantize import Formats, formats
from paredown.runtime.onnxruntime.ranges import least_squares_range
from paredown.variant import Numerics, Variant

SOURCE = Cnn4(width=32, name="cnn4")
RUNTIME = OnnxRuntime(threads=1, name="onnxruntime")
INT8 = Numerics("int8", calibration_images=64)

Lower = Callable[[nn.Module, Numerics | None], Path]


@pytest.mark.parametrize(
    ("instructions", "architecture", "expected"),
    [
        ({"avx2"}, "x86_64", Formats("QUInt8", "QInt8", reduce_range=True)),
        ({"avx2", "avx512_f"}, "x86_64", Formats("QUInt8", "QInt8", reduce_range=True)),
        ({"avx2", "avx512_f", "avx512_vnni"}, "x86_64", Formats("QUInt8", "QInt8", False)),
        ({"avx2", "avx_vnni"}, "AMD64", Formats("QUInt8", "QInt8", reduce_range=False)),
        ({"dot", "i8mm"}, "aarch64", Formats("QInt8", "QInt8", reduce_range=False)),
        (set(), "arm64", Formats("QInt8", "QInt8", reduce_range=False)),
    ],
)
def test_int8_takes_the_formats_that_are_right_for_the_cpu(
    instructions: set[str], architecture: str, expected: Formats
) -> None:
    assert formats(frozenset(instructions), architecture) == expected


@pytest.fixture(scope="module")
def lower(few: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Lower:
    def into(module: nn.Module, numerics: Numerics | None = None) -> Path:
        folder = tmp_path_factory.mktemp("lowered")
        RUNTIME.lower(Variant(module, SOURCE, numerics), few, folder)
        return folder

    return into


@pytest.fixture(scope="module")
def float32(lower: Lower, cnn4: nn.Module) -> Path:
    return lower(cnn4)


@pytest.fixture(scope="module")
def int8(few: Dataset, cnn4: nn.Module, float32: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("int8")
    RUNTIME.lower(Variant(cnn4, SOURCE, INT8), few, folder, float32)
    return folder


def answers(folder: Path, dataset: Dataset, count: int) -> np.ndarray:
    return RUNTIME.load(folder)(dataset.normalize(dataset.val.images[:count]))


def expected(module: nn.Module, dataset: Dataset, count: int) -> np.ndarray:
    with torch.no_grad():
        return module(torch.from_numpy(dataset.normalize(dataset.val.images[:count]))).numpy()


@pytest.mark.parametrize("name", ["float32", "int8"])
def test_one_file_ships_and_it_holds_its_own_weights(
    name: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(name)
    assert [path.name for path in folder.rglob("*")] == [FILE]
    tensors = onnx.load(folder / FILE, load_external_data=False).graph.initializer
    assert all(tensor.data_location == TensorProto.DEFAULT for tensor in tensors)


def test_batch_norms_are_folded_into_convolutions(float32: Path) -> None:
    kinds = [node.op_type for node in onnx.load(float32 / FILE).graph.node]
    assert "BatchNormalization" not in kinds
    assert kinds.count("Conv") == 4


@pytest.mark.parametrize("name", ["float32", "int8"])
def test_the_file_tells_no_path_and_no_stack_trace(
    name: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(name)
    content = (folder / FILE).read_bytes()
    for told in (b"Traceback", b'File "', b"site-packages", b"stack_trace"):
        assert told not in content
    for place in (Path.cwd(), Path.home(), sys.prefix, sys.base_prefix, folder.parent):
        assert str(place).encode() not in content
    proto = onnx.load(folder / FILE)
    for tensor in proto.graph.initializer:
        tensor.ClearField("raw_data")  # random bytes can look like anything
    text = proto.SerializeToString()
    assert re.findall(rb"/[\w.-]+/[\w.-]+|\w:\\\w+|\.py\b", text) == []


def test_int8_answers_nearly_as_float32_does(int8: Path, float32: Path, few: Dataset) -> None:
    exact, found = (answers(folder, few, 64) for folder in (float32, int8))
    assert not np.array_equal(found, exact)
    assert np.abs(found - exact).mean() < 0.05 * np.abs(exact).mean()


def test_per_channel_keeps_one_scale_a_channel_and_per_tensor_one(
    few: Dataset, cnn4: nn.Module, float32: Path, int8: Path, tmp_path: Path
) -> None:
    RUNTIME.lower(Variant(cnn4, SOURCE, replace(INT8, per_channel=False)), few, tmp_path, float32)
    assert {1, 32, 64, 128, 256} <= scale_sizes(int8)
    assert scale_sizes(tmp_path) == {1}


def scale_sizes(folder: Path) -> set[int]:
    """List the lengths of the scales of weights and activations; biases have one a channel."""
    graph = onnx.load(folder / FILE).graph
    sizes = {tensor.name: max(1, *tensor.dims, 1) for tensor in graph.initializer}
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    dequantized = [node for node in graph.node if node.op_type == "DequantizeLinear"]
    return {
        sizes[node.input[1]]
        for node in dequantized
        if kinds.get(node.input[0]) != TensorProto.INT32
    }


class Gray(nn.Module):
    """Takes the mean of the colors."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(1)


def test_a_network_without_weights_is_not_called_int8(lower: Lower) -> None:
    with pytest.raises(RunError, match="converted none of 0 layers"):
        lower(nn.Sequential(nn.AdaptiveAvgPool2d((2, 5)), Gray(), nn.Flatten()).eval(), INT8)


def test_only_layers_with_integer_weights_count_as_converted() -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["weight", "scale"], ["real_weight"], "a"),
        helper.make_node("MatMul", ["images", "real_weight"], ["hidden"], "b"),
        helper.make_node("DequantizeLinear", ["integers", "scale"], ["real_images"], "c"),
        helper.make_node("MatMul", ["real_images", "float_weight"], ["logits"], "d"),
        helper.make_node("MatMul", ["hidden", "images"], ["attention"], "e"),
        helper.make_node("Relu", ["real_weight"], ["other"], "f"),
        helper.make_node("Transpose", ["float_weight"], ["turned"], "g"),
        helper.make_node("MatMul", ["images", "turned"], ["more"], "h"),
    ]
    stored = [
        helper.make_tensor("weight", TensorProto.INT8, [1, 1], [1]),
        helper.make_tensor("float_weight", TensorProto.FLOAT, [1, 1], [1]),
        helper.make_tensor("scale", TensorProto.FLOAT, [], [1]),
    ]
    graph = helper.make_graph(nodes, "made", [], [], stored)
    assert count_converted(helper.make_model(graph)) == (1, 3)


@pytest.mark.parametrize("way", ["percentile", "entropy", "mse"])
def test_another_way_to_take_ranges_gives_narrower_ones_and_nearly_the_same_answers(
    way: str, few: Dataset, cnn4: nn.Module, float32: Path, int8: Path, tmp_path: Path
) -> None:
    asked = replace(INT8, range=way)
    assert RUNTIME.lower(Variant(cnn4, SOURCE, asked), few, tmp_path, float32) == (5, 5)
    assert (tmp_path / FILE).read_bytes() != (int8 / FILE).read_bytes()
    exact, found = (answers(folder, few, 64) for folder in (float32, tmp_path))
    assert np.abs(found - exact).mean() < 0.1 * np.abs(exact).mean()
    steps = [activation_steps(folder) for folder in (tmp_path, int8)]
    assert sum(steps[0]) <= sum(steps[1]) * 1.001


def activation_steps(folder: Path) -> list[float]:
    """List the scales of the activations."""
    graph = onnx.load(folder / FILE).graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    return [
        float(onnx.numpy_helper.to_array(stored[node.input[1]]))
        for node in graph.node
        if node.op_type == "QuantizeLinear"
    ]


def test_the_range_of_least_squares_cuts_off_an_outlier_and_nothing_else() -> None:
    values = np.append(np.linspace(0, 1, 100_000), 20).astype(np.float32)
    counts, edges = np.histogram(values, bins=4096, range=(-20, 20))
    low, high = least_squares_range(counts, edges, 0.0, 20.0, symmetric=False, bits=4)
    assert low == 0
    assert high < 8
    counts, edges = np.histogram(values[:-1], bins=4096, range=(-1, 1))
    assert least_squares_range(counts, edges, 0.0, 1.0, symmetric=False)[1] > 0.97


def test_symmetric_activations_stand_for_zero_by_the_middle(
    few: Dataset, cnn4: nn.Module, float32: Path, int8: Path, tmp_path: Path
) -> None:
    RUNTIME.lower(Variant(cnn4, SOURCE, replace(INT8, symmetric=True)), few, tmp_path, float32)
    assert zero_points(tmp_path) <= {0, 127, 128}
    assert 0 in zero_points(int8)


def zero_points(folder: Path) -> set[int]:
    """List the zero points of the activations."""
    graph = onnx.load(folder / FILE).graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    return {
        int(onnx.numpy_helper.to_array(stored[node.input[2]]))
        for node in graph.node
        if node.op_type == "QuantizeLinear"
    }


def test_a_layer_that_is_kept_in_float_keeps_its_weights(
    few: Dataset, cnn4: nn.Module, float32: Path, tmp_path: Path
) -> None:
    asked = resolved(replace(INT8, keep_float=("first", "last")), cnn4, few.input_shape)
    assert RUNTIME.lower(Variant(cnn4, SOURCE, asked), few, tmp_path, float32) == (3, 5)
    kept = [tensor.name for tensor in onnx.load(tmp_path / FILE).graph.initializer]
    assert {"0.weight"} <= {name for name in kept if name.endswith(".weight")}


def test_what_stands_between_kept_layers_is_not_rounded_either(
    few: Dataset, tmp_path: Path
) -> None:
    network = build_warm(Torchvision("mobilenet_v2"), few)
    others = tuple(name for name in layers(network) if name != "features.3.conv.0.0")
    asked = replace(INT8, keep_float=others)
    RUNTIME.lower(Variant(network, SOURCE, asked), few, tmp_path)
    kinds = [node.op_type for node in onnx.load(tmp_path / FILE).graph.node]
    assert kinds.count("Add") == 10
    assert kinds.count("QuantizeLinear") == 2  # what the one layer is given, and what it gives


@pytest.mark.parametrize(("bits", "share"), [(4, 0.16), (8, 0.28)])
def test_stored_integers_shrink_the_file_and_answer_as_rounded_weights_do(
    bits: int, share: float, few: Dataset, cnn4: nn.Module, float32: Path, tmp_path: Path
) -> None:
    asked = Numerics("weights", scheme="weights", bits=bits)
    assert RUNTIME.lower(Variant(cnn4, SOURCE, asked), few, tmp_path, float32) == (5, 5)
    sizes = [(folder / FILE).stat().st_size for folder in (tmp_path, float32)]
    assert sizes[0] < share * sizes[1]
    found = answers(tmp_path, few, 16)
    assert np.allclose(found, expected(rounded(cnn4, asked), few, 16), atol=1e-3)


def test_dynamic_int8_turns_linear_layers_alone(
    few: Dataset, cnn4: nn.Module, float32: Path, tmp_path: Path
) -> None:
    asked = Numerics("int8-dynamic", scheme="dynamic")
    assert RUNTIME.lower(Variant(cnn4, SOURCE, asked), few, tmp_path, float32) == (1, 5)
    exact, found = (answers(folder, few, 64) for folder in (float32, tmp_path))
    assert np.abs(found - exact).mean() < 0.05 * np.abs(exact).mean()


def test_calibration_images_that_are_no_numbers_are_refused(
    few: Dataset, cnn4: nn.Module, float32: Path, tmp_path: Path
) -> None:
    broken = replace(few, std=(0.0, 1.0, 1.0))
    with (
        np.errstate(all="ignore"),
        pytest.raises(ConfigError, match=r"^calibration images must be finite"),
    ):
        RUNTIME.lower(Variant(cnn4, SOURCE, INT8), broken, tmp_path, float32)


class Noisy(nn.Module):
    """Answers otherwise each time."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 32 * 32, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return F.dropout(self.head(images.flatten(1)), 0.5, training=True)


def test_a_file_that_answers_otherwise_than_its_module_is_refused(lower: Lower) -> None:
    with pytest.raises(RunError, match="logits differ from the module's"):
        lower(Noisy().eval())


def test_a_program_runs_without_torch(float32: Path, few: Dataset, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", few.normalize(few.val.images[:3]))
    script = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from paredown.runtime.onnxruntime import OnnxRuntime\n"
        "program = OnnxRuntime(1, 'onnxruntime').load(Path(sys.argv[1]))\n"
        "print(program(np.load(sys.argv[2])).shape, 'torch' in sys.modules)"
    )
    asked = [sys.executable, "-c", script, str(float32), str(tmp_path / "images.npy")]
    told = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert told.stdout == "(3, 10) False\n"


def test_no_threads_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^threads must be at least 1, got 0"):
        OnnxRuntime(0, "onnxruntime")
