"""Mistyped arguments: one line with what the command would take."""

from pathlib import Path

import pytest
from command import run_here
from PIL import Image

from paredown.cli.mistyped import options_with
from paredown.dataset.listing import another_level
from paredown.errors import ConfigError, require

HINTS = [
    (["prune.amount=50"], "prune.amount must lie in [0, 1), got 50; 0.5 is 50 %"),
    (["prune.amount=50%"], "prune.amount must be a number or null, got '50%'; 0.5 is 50%"),
    (["budget.accuracy=95"], "budget.accuracy must lie in [0, 1], got 95; 0.95 is 95 %"),
    (["--amount", "0.3"], "without dashes, got --amount; did you mean prune.amount=0.3?"),
    (
        ["--learning-rate=0.1"],
        "you mean training.learning_rate=0.1 or prune.learning_rate=0.1?",
    ),
    (["--model", "resnet18", "-m"], "got --model; did you mean model=resnet18?"),
    (["prune.amount", "0.3"], "did you mean prune.amount=0.3?"),
    (["prune.amount", "=", "0.3"], "did you mean prune.amount=0.3?"),
    (["-m", "prune.amount=0.1,", "0.3"], "did you mean prune.amount=0.1,0.3?"),
    (["prune.amount=0.1,0.3"], "prune.amount must be one value, got 0.1,0.3; with -m each of them"),
    (["seed=1", "-m", "prune.amount=0.1,0.3"], "put flags such as -m before all of them"),
    (
        ["model=custom", "model.kwargs={width:", "32}"],
        "got model.kwargs={width: 32}; put quotes around it: 'model.kwargs={width: 32}'",
    ),
    (["model.kwargs={width=32}"], "a mapping in quotes: 'model.kwargs={width: 32}'"),
    (
        ["model=custom", "model.kwargs=width:32", "model.kwargs=depth:4"],  # as bash expands {a,b}
        "model.kwargs must be arguments by name, got 'depth:4'; in quotes:",
    ),
    (["dataset.size=32"], "it is a knob of dataset=image_folder or dataset=imagenet"),
    (["+dataset.size=32"], "got 'size'; dataset.size is a knob of dataset=image_folder or"),
    (
        ["student.width=8"],
        "not a key of the configuration; it is a knob of model@student=cnn4",
    ),
    (["student=cnn4"], "got 'cnn4'; model@student=cnn4 chooses an option"),
    (["prune.criterion=l1"], "must be a part of its own, got 'l1'; prune/criterion=l1 chooses"),
]


@pytest.mark.parametrize(("words", "hint"), HINTS, ids=[" ".join(words) for words, _ in HINTS])
def test_what_people_type_is_answered_by_what_the_command_takes(
    words: list[str], hint: str, tmp_path: Path
) -> None:
    done = run_here(tmp_path, *words)
    assert done.returncode == 2, done.stderr
    assert hint in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_what_the_command_takes_is_not_in_the_way(tmp_path: Path) -> None:
    asked = ["--cfg", "job", "--package", "model", "model=custom", "model.kwargs={width: 32}"]
    done = run_here(tmp_path, *asked, "~prune", "store.folder=x")
    assert done.returncode == 0, done.stderr


def test_a_knob_of_an_own_option_and_one_of_nobody_name_no_other_option() -> None:
    assert options_with("quantize.epochs") == ["quantize=qat"]
    assert options_with("dataset.nobody") == []


@pytest.mark.parametrize(
    ("rule", "got", "hint"),
    [
        ("lie in [0, 1)", 50, "0.5 is 50 %"),
        ("lie in (0, 1]", 99.5, "0.995 is 99.5 %"),
        ("lie in [0, 1)", 1.5, "lower it"),  # nobody means 1.5 %
        ("lie in [0, 1)", 300, "lower it"),
        ("lie in [0, 1000)", 50, "lower it"),
        ("lie in [0, 1)", True, "lower it"),
    ],
)
def test_a_percentage_in_the_place_of_a_share_is_converted_in_the_hint(
    rule: str, got: object, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        require(False, "key", rule, got, "lower it")
    assert str(caught.value) == f"key must {rule}, got {got!r}; {hint}"


def test_a_folder_one_level_too_deep_or_too_high_gets_the_right_one_as_a_hint(
    tmp_path: Path,
) -> None:
    photos = tmp_path / "download" / "photos"
    for name in ("cat", "dog"):
        (photos / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(photos / name / "1.png")
    asked = ("dataset=image_folder", "dataset.size=8", f"dataset.cache={tmp_path / 'cache'}")
    for folder in (photos / "cat", photos.parent):
        done = run_here(tmp_path, *asked, f"dataset.folder={folder}")
        assert done.returncode == 2
        assert done.stderr.endswith(f": dataset.folder={photos}\n")
    assert another_level(photos) == ""
    assert another_level(tmp_path) == ""
