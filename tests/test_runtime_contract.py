"""What every runtime promises, checked on each that conf/runtime has; see paredown.runtime."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from paredown.config import build, composed
from paredown.dataset import Dataset
from paredown.errors import ConfigError, RunError, install_command
from paredown.model.cnn4 import Cnn4
from paredown.run.plan import plan
from paredown.runtime import RANGES, SCHEMES, Conversion, Runtime, require_engine
from paredown.runtime.torch import Torch
from paredown.variant import Numerics, Variant

CONF = Path(__file__).parents[1] / "conf"
SOURCE = Cnn4(width=32, name="cnn4")
INT8 = Numerics("int8", calibration_images=32)
NAMES = [path.stem for path in sorted((CONF / "runtime").glob("*.yaml"))]
COMPILED = "torch runtime.compile=true"
WITH_INT8 = [name for name in NAMES if name != "torch"]
SLOW = [pytest.param(COMPILED, marks=pytest.mark.slow)]  # half a minute of C++ compiler a file
SLOWER = [pytest.param("executorch", marks=pytest.mark.slow)]  # four seconds a recipe
QUICK = [name for name in WITH_INT8 if name != "executorch"]

Lowered = tuple[Path, Conversion]
Lower = Callable[..., Lowered]


def built(name: str) -> Runtime:
    """Build a runtime as the command line does, or skip the test and say why."""
    runtime: Runtime = build(composed(*f"runtime={name}".split()), "runtime")
    try:
        require_engine(runtime, lowers=True, integers=True)
    except ConfigError as error:
        pytest.skip(str(error))
    return runtime


@pytest.fixture(scope="module", autouse=True)
def threads():
    """Loading a program sets torch's threads for the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def lower(few: Dataset, cnn4: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Lower:
    """Lower cnn4 into a runtime; the same thing is done once."""
    made: dict[tuple, Lowered] = {}

    def into(name: str, numerics: Numerics | None = None, again: bool = False) -> Lowered:
        key = name, numerics
        if again or key not in made:
            folder = tmp_path_factory.mktemp("lowered")
            source = None if numerics is None or again else into(name)[0]
            converted = built(name).lower(Variant(cnn4, SOURCE, numerics), few, folder, source)
            if again:
                return folder, converted
            made[key] = folder, converted
        return made[key]

    return into


def answers(name: str, folder: Path, dataset: Dataset, count: int = 64) -> np.ndarray:
    return built(name).load(folder)(dataset.normalize(dataset.val.images[:count]))


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("count", [1, 7])
@pytest.mark.parametrize("name", [*NAMES, *SLOW])
def test_float32_answers_as_the_module_for_a_batch_of(
    name: str, count: int, lower: Lower, cnn4: nn.Module, few: Dataset
) -> None:
    folder, converted = lower(name)
    with torch.no_grad():
        images = torch.from_numpy(few.normalize(few.val.images[:count]))
        expected = cnn4(images).numpy()
    found = answers(name, folder, few, count)
    assert found.shape == (count, 10)
    assert found.dtype == np.float32
    assert np.allclose(found, expected, atol=1e-4)
    assert converted == (0, 5)


@pytest.mark.parametrize("name", [*WITH_INT8, *SLOW])
def test_int8_converts_every_layer_is_smaller_and_names_the_same_classes(
    name: str, lower: Lower, few: Dataset
) -> None:
    float32, _ = lower(name)
    int8, converted = lower(name, INT8)
    assert converted == (5, 5)
    most = 0.8 if name == COMPILED else 0.35  # machine code takes half a megabyte of its own
    assert size(int8) <= most * size(float32)
    exact, found = answers(name, float32, few), answers(name, int8, few)
    assert not np.array_equal(found, exact)
    assert (found.argmax(axis=1) == exact.argmax(axis=1)).mean() >= 0.9
    assert np.abs(found - exact).mean() < 0.1 * np.abs(exact).mean()
    alone = answers(name, int8, few, 1)
    assert alone.argmax() == found[0].argmax()


@pytest.mark.parametrize("name", [*WITH_INT8, *SLOW])
def test_a_layer_that_is_kept_stays_in_float32(name: str, lower: Lower) -> None:
    _, converted = lower(name, replace(INT8, keep_float=("0",)))
    assert converted == (4, 5)


def recipes(runtime: Runtime) -> dict[str, Numerics]:
    """List the recipes that a runtime says it has, each a step from INT8."""
    able = runtime.abilities
    steps = {f"range={name}": {"range": name} for name in able.ranges if name != INT8.range}
    steps["symmetric"] = {"symmetric": True}
    steps["bits=4"] = {"bits": 4}  # the weights come rounded already: the engine takes them as 8
    if able.per_tensor:
        steps["per tensor"] = {"per_channel": False}
    if able.bias_correction:
        steps["bias correction"] = {"bias_correction": True}
    return {told: replace(INT8, **step) for told, step in steps.items()}


@pytest.mark.parametrize("name", [*QUICK, *SLOWER, *SLOW])
def test_every_recipe_that_a_runtime_says_it_has_is_lowered(
    name: str, lower: Lower, few: Dataset
) -> None:
    exact = answers(name, lower(name)[0], few)
    for told, numerics in recipes(built(name)).items():
        assert not built(name).abilities.refusal(numerics), told
        folder, converted = lower(name, numerics)
        found = answers(name, folder, few)
        assert converted == (5, 5), told
        assert (found.argmax(axis=1) == exact.argmax(axis=1)).mean() >= 0.8, told


@pytest.mark.parametrize("name", [*NAMES, COMPILED])
def test_what_a_runtime_does_not_have_is_refused_with_what_it_has(name: str) -> None:
    runtime: Runtime = build(composed(*f"runtime={name}".split()), "runtime")
    able = runtime.abilities
    assert set(able.schemes) <= set(SCHEMES)
    assert set(able.ranges) <= set(RANGES)
    assert "it has float32" in able.refusal(Numerics("odd", scheme="odd"))
    if "static" in able.schemes:
        assert able.refusal(INT8) == ""
        assert "quantize.range=odd" in able.refusal(replace(INT8, range="odd"))


@pytest.mark.parametrize("name", [*NAMES, *SLOW])
@pytest.mark.parametrize("numerics", [None, INT8], ids=["float32", "int8"])
def test_lowering_twice_gives_equal_bytes_with_a_source_and_without(
    name: str, numerics: Numerics | None, lower: Lower
) -> None:
    if numerics is not None and name == "torch":
        pytest.skip("has no int8")
    once, again = lower(name, numerics)[0], lower(name, numerics, again=True)[0]
    names = [path.name for path in sorted(once.iterdir())]
    assert names == [path.name for path in sorted(again.iterdir())]
    for each in names:
        assert (once / each).read_bytes() == (again / each).read_bytes(), each


@pytest.mark.parametrize("name", [*NAMES, *SLOW])
def test_lowering_leaves_the_module_as_it_was(name: str, lower: Lower, cnn4: nn.Module) -> None:
    before = {key: tensor.clone() for key, tensor in cnn4.state_dict().items()}
    lower(name)
    if name != "torch":
        lower(name, INT8)
    assert not cnn4.training
    assert cnn4[2].inplace
    assert cnn4[3].__class__ is nn.MaxPool2d
    assert cnn4[4].weight.is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(tensor, before[key]) for key, tensor in cnn4.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_the_files_tell_no_path_of_this_machine(name: str, lower: Lower) -> None:
    """Compiled machine code does: it names the headers of torch, for its error messages."""
    folder, _ = lower(name)
    for file in folder.rglob("*"):
        content = file.read_bytes()
        for place in (Path.cwd(), Path.home(), sys.prefix, folder.parent):
            assert str(place).encode() not in content, file.name


ALONE = """
import inspect, sys
from pathlib import Path
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ImportError(f"{{name}} is blocked")
sys.meta_path.insert(0, Blocked())
import numpy as np
{source}
program = {name}(Path(sys.argv[1]), 1)
np.save(sys.argv[3], program(np.load(sys.argv[2])))
"""


@pytest.mark.parametrize("numerics", [None, INT8], ids=["float32", "int8"])
@pytest.mark.parametrize("name", [*WITH_INT8, *SLOW])
def test_a_file_runs_in_its_engine_without_paredown_and_without_torch(
    name: str, numerics: Numerics | None, lower: Lower, few: Dataset, tmp_path: Path
) -> None:
    """Torch is blocked where a bundle does not ask for it: the engine of ExecuTorch's Python
    package is linked against torch, and a package of Inductor's is torch's own."""
    import inspect

    alone = built(name).standalone
    if alone is None:
        pytest.skip("its files do not run alone, and it says so")
    blocked = {"paredown"} | ({"torch"} - set(alone.packages))
    assert (blocked == {"paredown", "torch"}) == (name in ("onnxruntime", "openvino"))
    folder, _ = lower(name, numerics)
    images = few.normalize(few.val.images[:3])
    np.save(tmp_path / "images.npy", images)
    script = ALONE.format(
        blocked=blocked, source=inspect.getsource(alone.open), name=alone.open.__name__
    )
    places = [str(folder), str(tmp_path / "images.npy"), str(tmp_path / "logits.npy")]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *places], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    found = np.load(tmp_path / "logits.npy")
    assert np.allclose(found, answers(name, folder, few, 3), atol=1e-5)


class Odd(nn.Module):
    """Has a layer that neither ONNX nor ExecuTorch has an operator for."""

    class Bessel(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.special.bessel_j0(images)

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.odd, self.head = nn.Conv2d(3, 4, 3), self.Bessel(), nn.Linear(3600, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.odd(self.stem(images)).flatten(1))


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "executorch"])
def test_an_operator_that_an_engine_lacks_is_named_with_its_layer(
    name: str, few: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=r"cannot take the network: .*odd \(aten\.special_bessel_j0"):
        built(name).lower(Variant(Odd().eval(), SOURCE), few, tmp_path)


@pytest.mark.parametrize("first", ["paredown.measure.latency", "paredown.runtime.openvino"])
def test_openvino_sends_nothing_when_it_is_imported(first: str) -> None:
    built("openvino")
    asked = f"import sys, {first}, openvino, nncf; print('openvino_telemetry.main' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("name", "package", "role", "extra"),
    [
        ("openvino", "openvino", "engine", "openvino"),
        ("openvino", "nncf", "quantizer", "openvino"),
        ("executorch", "executorch", "engine", "executorch"),
        ("executorch", "torchao", "quantizer", "executorch"),
        (COMPILED, "torchao", "quantizer", "torch"),
    ],
)
def test_a_missing_extra_is_named_before_any_work(
    name: str, package: str, role: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    called = name.partition(" ")[0] + ("-compiled" if name == COMPILED else "")
    with pytest.raises(ConfigError) as told:
        plan(composed(*f"runtime={name}".split()))
    assert str(told.value) == (
        f"runtime {called} must have its {role} here, got no package {package}; "
        + install_command(extra)
    )


def test_float32_alone_needs_no_quantizer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    built("onnxruntime")
    assert plan(composed("runtime=openvino", "technique=prune")).runtime.name == "openvino"


def test_a_compiled_package_is_one_of_its_number_of_threads() -> None:
    one, other, two = (Torch(threads, "torch", compile=True) for threads in (1, 1, 2))
    assert one.fingerprint == other.fingerprint != two.fingerprint


def test_a_compiler_that_is_not_there_is_named_before_any_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match="must have a compiler here, got no no-such-compiler"):
        plan(composed("runtime=torch", "runtime.compile=true", "technique=prune"))


@pytest.mark.parametrize("batch", ["dynamic", "2"])
def test_executorch_refuses_any_batch_but_one(batch: str) -> None:
    with pytest.raises(ConfigError, match=r"runtime\.batch must be 1, got .*plans its memory"):
        plan(composed("runtime=executorch", f"runtime.batch={batch}"))
