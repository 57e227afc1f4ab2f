"""Who teaches: the baseline, another network, or several."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from command import SMALL, run_here
from torch import nn

from paredown.dataset import Dataset
from paredown.distill.ensemble import Ensemble
from paredown.distill.knowledge import Knowledge
from paredown.distill.teacher import Teacher
from paredown.errors import ConfigError
from paredown.model.cnn4 import Cnn4
from paredown.run.path import VariantPath
from paredown.runtime.torch import Torch
from paredown.store.local import Store
from paredown.training import Training
from paredown.training.baseline import Baseline

Lay = Callable[..., VariantPath]


@pytest.fixture
def path(few: Dataset, training: Training, tmp_path: Path) -> Lay:
    """Lay a path for a teacher over one store."""
    stages = {
        "baseline": Baseline(Cnn4(8, "large"), training),
        "distill": Knowledge(Cnn4(4, "small"), training, 4.0, 0.7, None),
    }

    def lay(model: Cnn4 | None = None, epochs: int | None = None, members: int = 1) -> VariantPath:
        teacher = Teacher(model, training, epochs, members)
        return VariantPath(stages, few, Torch(1, "torch"), Store(tmp_path / "store"), 0, teacher)

    return lay


def equal(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


def test_the_baseline_teaches_unless_another_is_named(path: Lay) -> None:
    lone = path()
    assert lone._teacher() is lone.variant(0).module


def test_another_network_is_trained_once_and_the_baseline_stays(
    path: Lay, images: torch.Tensor
) -> None:
    one = path(Cnn4(16, "larger"))
    teacher = one._teacher()
    assert teacher[0].out_channels == 16
    assert equal(path(Cnn4(16, "larger"))._teacher(), teacher)
    assert one.keys.weights(0) == path().keys.weights(0)
    assert one.keys.weights(1) != path().keys.weights(1)


def test_a_teacher_that_is_the_baseline_in_all_but_name_is_not_trained_again(path: Lay) -> None:
    twin = path(Cnn4(8, "large"))
    assert twin._tutors[0].keys.weights(0) == twin.keys.weights(0)


def test_no_epochs_leave_the_teacher_s_weights_as_they_are(path: Lay, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    torch.manual_seed(3)
    good = Cnn4(16, "larger").build(10, (3, 32, 32))
    save_file(good.state_dict(), tmp_path / "good.safetensors")
    given = Cnn4(16, "larger", str(tmp_path / "good.safetensors"))
    assert equal(path(given, epochs=0)._teacher(), good)


def test_several_teach_with_the_mean_of_their_logits(path: Lay, images: torch.Tensor) -> None:
    three = path(members=3)
    teacher = three._teacher()
    with torch.no_grad():
        each = [member(images) for member in teacher.members]
        assert torch.allclose(teacher(images), sum(each) / 3, atol=1e-6)
    assert equal(teacher.members[0], three.variant(0).module)
    assert not equal(teacher.members[1], teacher.members[2])
    keys = {path(members=count).keys.weights(1) for count in (1, 2, 3)}
    assert len(keys) == 3


def test_a_mean_of_one_is_that_one(images: torch.Tensor, cnn4: nn.Module) -> None:
    with torch.no_grad():
        assert torch.equal(Ensemble([cnn4])(images), cnn4(images))


def test_a_student_of_another_teacher_learns_something_else(path: Lay) -> None:
    first, second = path().variant(1).module, path(Cnn4(16, "larger")).variant(1).module
    assert not equal(first, second)


@pytest.mark.parametrize(
    ("epochs", "members", "line"),
    [(None, 0, "members must"), (-1, 1, "epochs must be at"), (3, 1, "epochs must be null where")],
)
def test_a_value_that_cannot_work_is_refused_by_name(
    training: Training, epochs: int | None, members: int, line: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{line}"):
        Teacher(None, training, epochs, members)
    if epochs == 3:
        assert Teacher(Cnn4(4, "a"), training, 3, 1).stage.training == replace(training, epochs=3)


def test_a_run_tells_its_teacher_s_accuracy_and_keeps_its_weights(tmp_path: Path) -> None:
    given = ("model@teacher.model=cnn4", "teacher.model.width=12", "teacher.epochs=2")
    done = run_here(tmp_path, *SMALL, *given, "technique=distill")
    assert done.returncode == 0, done.stderr
    assert "teacher cnn4: accuracy" in done.stderr
    made = [json.loads(file.read_text())["about"] for file in tmp_path.rglob("manifest.json")]
    weights = [about["stage"] for about in made if about["kind"] == "weights"]
    assert sorted(weights) == ["baseline", "distill", "teacher"]


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("teacher.model.width=0", "teacher.model.width must lie in 1..1024"),
        ("teacher.model.width=abc", "teacher.model.width must be a whole number, got 'abc'"),
        ("teacher.model.weights=nowhere.pt", "weights must be a file or the name"),
        ("teacher.members=0", "teacher.members must lie in 1..32, got 0"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_2(tmp_path: Path, argument: str, line: str) -> None:
    done = run_here(tmp_path, *SMALL, "model@teacher.model=cnn4", argument)
    assert done.returncode == 2
    assert line in done.stderr
    assert done.stderr.count("\n") == 1
