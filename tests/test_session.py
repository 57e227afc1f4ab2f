"""Paredown from Python: the page's own script, and what a session refuses."""

import re
from pathlib import Path

import pytest
from command import ROOT
from torchvision.models import shufflenet_v2_x0_5

from paredown.dataset.digits import Digits
from paredown.errors import ConfigError
from paredown.session import Session


def test_the_script_of_the_page_runs_and_leaves_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (script,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.S)
    monkeypatch.chdir(tmp_path)
    found: dict = {}
    exec(compile(script, "python.md", "exec"), found)
    assert [row["stage"] for row in found["rows"]] == ["teacher", "student", "pruned", "int8"]
    teacher, student, pruned, int8 = found["rows"]
    assert teacher["speedup"] == 1
    assert teacher["params"] > 25 * student["params"]
    assert student["params"] > pruned["params"] == int8["params"]
    assert int8["size_mb"] < pruned["size_mb"] < student["size_mb"]
    assert min(row["accuracy"] for row in found["rows"]) > 0.2  # of ten classes
    assert (tmp_path / "int8" / "model.onnx").is_file()
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")
    dataset = found["session"].dataset
    logits = found["program"](dataset.normalize(dataset.val.images[:3]))
    assert logits.shape == (3, 10)
    assert found["session"].dataset.name == "arrays"


def test_a_session_refuses_as_the_command_does() -> None:
    with pytest.raises(ConfigError, match=r"prune\.amount must lie in \[0, 1\), got 2"):
        Session("prune.amount=2")
    with pytest.raises(ConfigError, match=r"take overrides as KEY=VALUE, got \['resnet18'\]; ses"):
        Session("resnet18")
    session = Session("training.epochs=0")
    with pytest.raises(
        ConfigError, match=r"training\.epochs must be above 0 where baseline begins"
    ):
        session.distill("cnn4")
    with pytest.raises(ConfigError, match=r"a name in distill must be one of"):
        session.distill("cnn4", heat=3)
    with pytest.raises(ConfigError, match="session must have a network"):
        session.baseline()


def test_a_session_warns_of_a_teacher_that_knows_nothing(caplog: pytest.LogCaptureFixture) -> None:
    digits = Digits(split_seed=0, crop=2).load().train
    network = shufflenet_v2_x0_5(num_classes=10)
    pair = digits.images[:200], digits.labels[:200]
    session = Session(network, pair, "training.epochs=1", "store.folder=off")
    session.distill("cnn4")
    assert "caution: baseline is near chance" in caplog.text
