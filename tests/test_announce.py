"""Log lines of a job before and during its work, where no progress bar can be drawn."""

import logging
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from command import SMALL, run_here

from paredown.dataset import Dataset
from paredown.host.logs import Pulse
from paredown.model.cnn4 import Cnn4
from paredown.training import Training, progress
from paredown.training.loop import fit
from paredown.training.step import label_loss


@pytest.mark.parametrize(("terminal", "lines"), [(False, True), (True, False)])
def test_a_line_is_due_after_its_seconds_where_stderr_is_no_terminal(
    terminal: bool, lines: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    pulse = Pulse()
    assert pulse.due(0) == lines
    assert not pulse.due(60)


@pytest.mark.parametrize(("terminal", "count"), [(False, 2), (True, 0)])
def test_training_logs_one_line_per_epoch_where_no_bar_is_drawn(
    terminal: bool,
    count: int,
    training: Training,
    few: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(progress, "BETWEEN", 0.0)
    torch.manual_seed(0)
    network = Cnn4(4, "cnn4").build(10, (3, 32, 32))
    with caplog.at_level(logging.INFO):
        fit(replace(training, epochs=2), network, few, label_loss(0.0), 0, "prune")
    lines = [line for line in caplog.messages if ": epoch " in line]
    assert len(lines) == count
    if lines:
        assert lines[0].startswith("prune: epoch 1 of 2, loss ")
        assert lines[1].endswith(" images/s, 0 s left")


def test_the_first_line_names_stages_images_and_folders(
    tmp_path: Path,
) -> None:
    asked = ("technique=prune", "prune.epochs=0", "hydra.run.dir=here")
    done = run_here(tmp_path, *SMALL, *asked)
    assert done.returncode == 0, done.stderr
    first, second, *_ = done.stderr.splitlines()
    assert first == (
        "cnn4-prune0.50: baseline, prune on digits (1,078 train, 360 val, 359 test images; 10 "
        f"classes) for onnxruntime; results in {tmp_path}/here, networks in {tmp_path}/store"
    )
    assert "single job" not in second


def test_a_search_without_m_warns_of_a_single_job(tmp_path: Path) -> None:
    asked = ("experiment=pareto", "technique=baseline")
    done = run_here(tmp_path, *SMALL, *asked)
    assert done.returncode == 0, done.stderr
    warning = "this is a single job; to search, add -m: python run.py -m experiment=pareto"
    assert done.stderr.splitlines()[1] == warning
