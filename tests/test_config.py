import errno
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from paredown.cli.exits import user_errors
from paredown.config import build, build_all, check_type
from paredown.errors import ConfigError, RunError, require, require_one_of
from paredown.model.cnn4 import Cnn4
from paredown.training.baseline import Baseline

CNN4 = {"_target_": "paredown.model.cnn4.Cnn4", "width": 8, "name": "small"}
TRAINING = {
    "_target_": "paredown.training.Training",
    "epochs": 1,
    "batch_size": 16,
    "learning_rate": 0.003,
    "weight_decay": 0,
    "label_smoothing": 0.0,
    "schedule": "cosine",
    "precision": "auto",
    "device": "auto",
    "threads": None,
}


def test_a_broken_rule_is_reported_with_key_value_and_hint() -> None:
    with pytest.raises(ConfigError) as caught:
        require(False, "prune.amount", "lie in [0, 1)", 1.5, "0 keeps them all")
    assert str(caught.value) == "prune.amount must lie in [0, 1), got 1.5; 0 keeps them all"
    require(True, "prune.amount", "lie in [0, 1)", 0.5)


def test_a_misspelt_name_is_answered_by_the_choices_and_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        require_one_of(["prune", "distill"], "technique.stages", "prun")
    assert str(caught.value) == (
        "technique.stages must be one of distill, prune, got 'prun'; did you mean prune?"
    )


def test_a_name_like_no_other_is_answered_by_the_choices_alone() -> None:
    with pytest.raises(ConfigError, match=r"one of distill, prune, got 'xyz'$"):
        require_one_of(["prune", "distill"], "technique.stages", "xyz")


@pytest.mark.parametrize(
    ("value", "wanted", "fits"),
    [
        (1, int, True),
        (1, float, True),
        (1.0, float, True),
        (1.0, int, False),
        (True, int, False),
        (True, float, False),
        (1, bool, False),
        ("1", int, False),
        ("1", str, True),
        (1, str, False),
        (None, int | None, True),
        (None, int, False),
        ("x", int | None, False),
        (None, str | None, True),
    ],
)
def test_a_value_fits_its_type_and_no_other(value: object, wanted: type, fits: bool) -> None:
    if fits:
        check_type("key", value, wanted)
        return
    with pytest.raises(ConfigError, match=r"^key must be .*, got "):
        check_type("key", value, wanted)


def test_a_node_becomes_the_object_it_describes_with_its_parts() -> None:
    cfg = OmegaConf.create(
        {
            "model": CNN4,
            "training": TRAINING,
            "baseline": {
                "_target_": "paredown.training.baseline.Baseline",
                "model": "${model}",
                "training": "${training}",
            },
            "seed": 0,
        }
    )
    parts = build_all(cfg)
    assert parts.keys() == {"model", "training", "baseline"}
    assert parts["baseline"] == Baseline(parts["model"], parts["training"])
    assert build(cfg, "model") == Cnn4(8, "small")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"widht": 4},
            "a name in model must be one of name, weights, width, got 'widht'; did you mean width?",
        ),
        ({"width": "wide"}, "model.width must be a whole number, got 'wide'"),
        ({"width": 8.5}, "model.width must be a whole number, got 8.5"),
        ({"width": 0}, "model.width must lie in 1..1024 channels, got 0"),
        ({"name": None}, "model.name must be a text, got None"),
    ],
)
def test_a_node_that_cannot_be_built_is_refused_in_one_line_with_its_key(
    changes: dict[str, object], line: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        build(OmegaConf.create({"model": CNN4 | changes}), "model")
    assert str(caught.value) == line


def test_a_bad_value_of_an_inner_part_is_refused_with_its_own_key() -> None:
    node = {
        "_target_": "paredown.training.baseline.Baseline",
        "model": CNN4 | {"width": 0},
        "training": TRAINING,
    }
    with pytest.raises(ConfigError, match=r"^baseline\..*width must lie in 1\.\.1024"):
        build(OmegaConf.create({"baseline": node}), "baseline")


@pytest.mark.parametrize("node", [None, 3, {"width": 4}])
def test_a_key_without_a_target_is_refused(node: object) -> None:
    with pytest.raises(ConfigError, match=r"^model must be a node with a _target_"):
        build(OmegaConf.create({"model": node}), "model")


@pytest.mark.parametrize(
    ("target", "rest"),
    [
        ("paredown.nowhere.Net", ": No module named 'paredown.nowhere'"),
        ("my_net.Net", ": No module named 'my_net'"),
        ("paredown.model.cnn4.Cnn5", ": module 'paredown.model.cnn4' has no attribute 'Cnn5'"),
        ("paredown.timing.Timing", "; it is now paredown.measure.latency.Timing"),
        ("os.system", ", a builtin_function_or_method"),
    ],
)
def test_a_target_that_names_no_class_is_refused_with_its_path(target: str, rest: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        build(OmegaConf.create({"model": {"_target_": target}}), "model")
    assert str(refusal.value) == f"model._target_ must name a class that exists, got {target}{rest}"


@pytest.fixture
def quiet_hydra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what user_errors sets for Hydra."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")


@pytest.mark.usefixtures("quiet_hydra")
@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("seed must be at least 0, got -1"), 2, "seed must be at least 0, got -1"),
        (RunError("the loss became nan"), 1, "the loss became nan"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/etc/x"),
            2,
            "/etc/x: Permission denied; name a folder that can be written",
        ),
    ],
)
def test_a_known_failure_ends_in_one_line_and_an_exit_code(
    error: Exception, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end, user_errors():
        raise error
    assert end.value.code == code
    assert capsys.readouterr() == ("", f"error: {line}\n")


@pytest.mark.usefixtures("quiet_hydra")
@pytest.mark.parametrize("error", [ValueError, KeyError, FileNotFoundError])
def test_a_bug_keeps_its_traceback(error: type[Exception]) -> None:
    with pytest.raises(error), user_errors():
        raise error("a bug")


@pytest.mark.usefixtures("quiet_hydra")
def test_a_folder_that_cannot_be_made_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit), user_errors():
        (tmp_path / "file" / "folder").mkdir()
    assert f"error: {tmp_path}/file/folder: " in capsys.readouterr().err
