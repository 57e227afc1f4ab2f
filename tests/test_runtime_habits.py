"""Habits of real networks that lowering has to take, each a small network of its own."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from paredown.dataset import Dataset
from paredown.errors import ConfigError, RunError
from paredown.model.cnn4 import Cnn4
from paredown.quantize.affine import affine
from paredown.quantize.layers import running
from paredown.runtime.export import require_exportable
from paredown.runtime.failures import blame_network
from paredown.runtime.fold import fold_norms, same
from paredown.runtime.names import holders
from paredown.runtime.onnxruntime import FILE, OnnxRuntime
from paredown.runtime.program import baked, prepare
from paredown.variant import Numerics, Variant

SOURCE = Cnn4(width=32, name="cnn4")
RUNTIME = OnnxRuntime(threads=1, name="onnxruntime")
INT8 = Numerics("int8", calibration_images=8)
SHAPE = (3, 32, 32)


class Small(nn.Module):
    """A stem with a norm, `body`, and a Linear; parts are made by `make`."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 5, 4, bias=False), nn.BatchNorm2d(8)
        self.make()
        self.head = nn.Linear(8, 10)

    def make(self) -> None: ...

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(F.relu(self.norm(self.stem(images)))).mean((2, 3)))


class CalledTwice(Small):
    def make(self) -> None:
        self.conv, self.bn = nn.Conv2d(8, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8)

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn(self.conv(F.relu(self.bn(self.conv(x))))))


class ReadTwice(Small):
    """A convolution's output goes on with its norm and without."""

    def make(self) -> None:
        self.conv, self.bn = nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8)

    def body(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        return F.relu(y) + self.bn(y)


class OneWeight(Small):
    """Two convolutions share a weight; a norm follows one of them."""

    def make(self) -> None:
        self.a, self.b = nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(8, 8, 3, 1, 1)
        self.b.weight = self.a.weight
        self.bn = nn.BatchNorm2d(8)

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(F.relu(self.bn(self.a(x))))


class ReadsItsNorm(Small):
    """The norm's scale is used once more."""

    def make(self) -> None:
        self.conv, self.bn = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn(self.conv(x)) * self.bn.weight.view(1, -1, 1, 1)


class Upwards(Small):
    """Transposed convolutions, whole and in groups, each with a norm."""

    def make(self) -> None:
        self.a, self.n = nn.ConvTranspose2d(8, 8, 2, 2, bias=False), nn.BatchNorm2d(8)
        self.b, self.m = nn.ConvTranspose2d(8, 8, 2, 2, groups=4), nn.BatchNorm2d(8)

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return self.m(self.b(F.relu(self.n(self.a(x)))))


class Mixed(Small):
    """Norms without affine, on vectors, in one dimension, and on tokens, where nothing folds."""

    def make(self) -> None:
        self.conv, self.bare = nn.Conv2d(8, 8, 3, padding="same"), nn.BatchNorm2d(8, affine=False)
        self.line, self.flat = nn.Conv1d(8, 8, 1), nn.BatchNorm1d(8)
        self.gate, self.squashed = nn.Linear(8, 8), nn.BatchNorm1d(8)
        self.token, self.tokens = nn.Linear(49, 49), nn.BatchNorm1d(8)

    def body(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bare(self.conv(x))
        y = self.flat(self.line(x.flatten(2)))
        y = self.tokens(self.token(y)) * self.squashed(self.gate(y.mean(2)))[:, :, None]
        return y.view(x.shape)


class BatchNormed(Small):
    """A norm that looks at the batch, which nothing may fold."""

    def make(self) -> None:
        self.conv, self.bn = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8, track_running_stats=False)

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn(self.conv(x))


class Normed(Small):
    """Weights that are computed: weight norm in both of torch's ways, spectral norm in both."""

    def make(self) -> None:
        new, old = nn.utils.parametrizations, nn.utils
        self.a = new.weight_norm(nn.Conv2d(8, 8, 1))
        self.b = new.spectral_norm(nn.Conv2d(8, 8, 1))
        with pytest.warns(FutureWarning):
            self.c = old.weight_norm(nn.Conv2d(8, 8, 1))
        self.d, self.bn = old.spectral_norm(nn.Conv2d(8, 8, 1)), nn.BatchNorm2d(8)

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn(self.d(self.c(F.relu(self.b(self.a(x))))))


class Tokens(nn.Module):
    """Attention by hand over patches and a token of the class, which is asked for by `way`."""

    def __init__(self, way: str = "expand") -> None:
        super().__init__()
        self.patch, self.cls, self.way = (
            nn.Conv2d(3, 8, 8, 8),
            nn.Parameter(torch.ones(1, 1, 8)),
            way,
        )
        self.qkv, self.proj, self.head = nn.Linear(8, 24), nn.Linear(8, 8), nn.Linear(8, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.patch(images).flatten(2).transpose(1, 2)
        first = {
            "expand": lambda: self.cls.expand(x.shape[0], -1, -1),
            "len": lambda: self.cls.expand(len(x), -1, -1),
            "zeros": lambda: torch.zeros(x.size(0), 1, x.size(2)) + self.cls,
        }[self.way]()
        q, k, v = self.qkv(torch.cat([first, x], 1)).chunk(3, 2)
        return self.head(self.proj((q @ k.transpose(1, 2)).softmax(-1) @ v)[:, 0])


class Asking(Small):
    """A learned query attends to the places of the image, by torch's own attention."""

    def make(self) -> None:
        self.query = nn.Parameter(torch.ones(1, 1, 8))
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.stem(images)).flatten(2).transpose(1, 2)
        asked = self.query.repeat(len(images), 1, 1)
        return self.head(self.attend(asked, x, x, need_weights=False)[0][:, 0])


class Maximum(Small):
    """Norms, a maximum over axes and interpolation, which defeat symbolic shape inference."""

    def make(self) -> None:
        self.conv = nn.Conv2d(2, 8, 3, 1, 1)

    def body(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.cat([x.amax(1, keepdim=True), F.normalize(x, dim=1).mean(1, keepdim=True)], 1)
        y = self.conv(F.interpolate(y, scale_factor=2))
        return y / (torch.norm(y, dim=(2, 3), keepdim=True) + 1)


class HeadFirst(nn.Module):
    """Defined from the end, with a layer as wide as the classes in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 10)
        self.grow, self.squeeze = nn.Conv2d(10, 8, 1), nn.Conv2d(4, 10, 1)
        self.stem = nn.Conv2d(3, 4, 3, 2)
        self.unused = nn.Linear(8, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.grow(F.relu(self.squeeze(self.stem(images)))).mean((2, 3)))


class Odd(nn.Module):
    """Names that are none in Python."""

    def __init__(self) -> None:
        super().__init__()
        parts = {"a-b 1": nn.Conv2d(3, 8, 4, 4, bias=False), "é/ü": nn.BatchNorm2d(8)}
        self.parts = nn.ModuleDict({**parts, "conv_1": nn.Conv2d(8, 10, 1)})

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = images
        for part in self.parts.values():
            x = part(x)
        return x.mean((2, 3))


HABITS = {
    CalledTwice: 4,
    ReadTwice: 3,
    OneWeight: 4,
    ReadsItsNorm: 3,
    Upwards: 4,
    Mixed: 6,
    Normed: 6,
    Tokens: 4,
    lambda: Tokens("len"): 4,
    lambda: Tokens("zeros"): 4,
    Asking: 5,
    Maximum: 3,
    HeadFirst: 4,
    Odd: 2,
}
"""Networks, each with how often it computes with weights of its own."""
FLOAT = {Upwards: 1}  # of them, those that stay in float32


def warm(build: Callable[[], nn.Module]) -> nn.Module:
    """Build a network whose norms do something, and keep its gradients as training does."""
    torch.manual_seed(0)
    module = build()
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.affine:
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.uniform_(part.bias, -0.5, 0.5)
    module.train()(torch.rand(16, *SHAPE)).sum().backward()
    return module.eval()


def named(build: Callable[[], nn.Module]) -> str:
    return getattr(build, "__name__", "").replace("<lambda>", "Tokens")


@pytest.mark.parametrize("build", HABITS, ids=named)
def test_a_habit_is_lowered_right_with_the_names_of_its_layers(
    build: Callable[[], nn.Module], few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = warm(build)
    folders = {name: tmp_path / name for name in ("here", "float32", "int8", "weights")}
    for folder in folders.values():
        folder.mkdir()
    monkeypatch.chdir(folders["here"])
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    count = HABITS[build]
    assert RUNTIME.lower(Variant(module, SOURCE), few, folders["float32"]) == (0, count)
    graph = onnx.load(folders["float32"] / FILE).graph
    names = {layer for _, layer in holders(graph)}
    assert build is OneWeight or names == set(running(module, SHAPE).names)
    images = few.normalize(few.val.images[:5])
    with torch.no_grad():
        expected = module(torch.from_numpy(images)).numpy()
    found = RUNTIME.load(folders["float32"])(images)
    assert np.allclose(found, expected, atol=1e-4 * max(1, np.abs(expected).max()))
    for name, numerics in (("int8", INT8), ("weights", Numerics("weights", scheme="weights"))):
        made = Variant(module, SOURCE, numerics)
        whole = count - (FLOAT.get(build, 0) if name == "int8" else 0)
        assert RUNTIME.lower(made, few, folders[name], folders["float32"]) == (whole, count)
        error = np.abs(RUNTIME.load(folders[name])(images) - expected).max()
        assert error < 0.15 * np.abs(expected).max()
    assert all(torch.equal(tensor, before[key]) for key, tensor in module.state_dict().items())
    assert list(folders["here"].iterdir()) == []


@pytest.fixture(scope="module")
def float32(few: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Lower a network into float32; the same one once."""
    made: dict[type[nn.Module], Path] = {}

    def lower(build: type[nn.Module]) -> Path:
        if build not in made:
            made[build] = tmp_path_factory.mktemp("float32")
            RUNTIME.lower(Variant(warm(build), SOURCE), few, made[build])
        return made[build]

    return lower


@pytest.mark.parametrize("scheme", ["static", "dynamic", "weights"])
@pytest.mark.parametrize(
    ("build", "pattern", "kept"),
    [(Tokens, "qkv", 1), (Tokens, "p*", 2), (Asking, "attend", 2), (Asking, "attend*", 3)],
)
def test_layers_on_tokens_are_kept_in_float32_by_their_names(
    scheme: str,
    build: type[nn.Module],
    pattern: str,
    kept: int,
    few: Dataset,
    float32: Callable[..., Path],
    tmp_path: Path,
) -> None:
    whole = Numerics("int8", scheme, calibration_images=8)
    source, module, counts = float32(build), warm(build), []
    for numerics in (whole, replace(whole, keep_float=(pattern,))):
        folder = tmp_path / str(len(counts))
        folder.mkdir()
        counts.append(RUNTIME.lower(Variant(module, SOURCE, numerics), few, folder, source))
    linear = kept - (pattern == "p*" and scheme == "dynamic")  # which leaves convolutions alone
    assert counts[1].integer == counts[0].integer - linear


def test_a_pattern_that_keeps_nothing_of_the_lowered_network_is_refused(
    few: Dataset, tmp_path: Path
) -> None:
    asked = Numerics("int8", calibration_images=8, keep_float=("unused",))
    with pytest.raises(RunError, match=r"keep_float must match one of the 4 layers .* 'unused'"):
        RUNTIME.lower(Variant(warm(HeadFirst), SOURCE, asked), few, tmp_path)


@pytest.mark.parametrize(
    ("build", "whole"),
    [
        (CalledTwice, {"bn"}),
        (ReadTwice, {"bn"}),
        (OneWeight, {"bn"}),
        (ReadsItsNorm, {"bn"}),
        (BatchNormed, {"bn"}),
        (Upwards, {"m"}),
        (Mixed, {"tokens"}),
        (Small, set()),
    ],
)
def test_a_norm_is_folded_where_nothing_else_reads_what_it_reads(
    build: type[nn.Module], whole: set[str]
) -> None:
    module, images = warm(build), torch.rand(3, *SHAPE)
    folded = prepare(module)
    fold_norms(folded, SHAPE, 2)
    norms = dict(folded.named_modules())
    kinds = nn.modules.batchnorm._BatchNorm
    found = {name: part for name, part in norms.items() if isinstance(part, kinds)}
    left = {name for name, part in found.items() if part.forward != same}
    assert left == whole
    assert torch.allclose(folded(images), module(images), atol=1e-5)


def test_first_and_last_are_what_runs_first_and_what_the_logits_come_from() -> None:
    found = running(HeadFirst().eval(), SHAPE)
    assert found.names == ("stem", "squeeze", "grow", "head")
    assert (found.first, found.last) == (("stem",), ("head",))
    with torch.device("meta"):
        assert running(HeadFirst().eval(), SHAPE) == found


def test_a_network_that_cuts_the_gradient_is_taken_as_it_is_defined() -> None:
    class Cut(Small):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                return super().forward(images)

    found = running(Cut().eval(), SHAPE)
    assert (found.names, found.first, found.last) == (("stem", "head"), ("stem",), ("head",))


def test_baking_leaves_the_weights_of_the_network_that_was_copied() -> None:
    module = warm(Normed)
    images = torch.rand(2, *SHAPE)
    copy = baked(module)
    assert torch.allclose(copy(images), module(images), atol=1e-6)
    assert {"a.weight", "b.weight", "c.weight", "d.weight"} <= dict(copy.named_parameters()).keys()
    assert "a.weight" not in dict(module.named_parameters())


class FixedBatch(Small):
    def body(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(2, -1, 7, 7)


def test_what_cannot_be_exported_is_told_in_one_line_before_any_work() -> None:
    with torch.device("meta"):
        module = FixedBatch().eval()
        good = Tokens("len").eval()
    with pytest.raises(ConfigError, match=r"^model must be one that torch.export takes") as told:
        require_exportable(module, SHAPE)
    assert "\n" not in str(told.value)
    require_exportable(good, SHAPE)


def test_logits_of_another_shape_are_refused(few: Dataset, tmp_path: Path) -> None:
    class Wide(Small):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images)[:, :6]

    with pytest.raises(
        RunError, match=r"must return logits \(64, 10\), one per class, got \(64, 6\)"
    ):
        RUNTIME.lower(Variant(warm(Wide), SOURCE), few, tmp_path)


def test_a_full_memory_is_not_said_of_the_network(few: Dataset) -> None:
    for error in (MemoryError(), OSError(28, "No space left"), ConfigError("as it is")):
        with pytest.raises(type(error)), blame_network("ONNX", Small(), few):
            raise error


def test_a_bug_of_paredown_is_not_said_of_the_network(few: Dataset) -> None:
    with pytest.raises(TypeError), blame_network("ONNX", Small(), few):
        affine(None, None, 8, True)


def test_dynamic_ranges_are_of_one_image_whatever_comes_beside_it(
    few: Dataset, float32: Callable[..., Path], tmp_path: Path
) -> None:
    asked = Numerics("int8-dynamic", scheme="dynamic")
    RUNTIME.lower(Variant(warm(Tokens), SOURCE, asked), few, tmp_path)
    program = RUNTIME.load(tmp_path)
    images = (
        few.normalize(few.val.images[:8]) * np.arange(1, 9, dtype=np.float32)[:, None, None, None]
    )
    alone = np.concatenate([program(image[None]) for image in images])
    assert np.array_equal(program(images), alone)
