"""What a job says before and while it works, where no progress bar can be drawn."""

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
def test_training_says_a_line_an_epoch_where_no_bar_is_drawn(
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


def test_the_first_line_says_what_is_done_with_which_images_and_where_it_lies(
    tmp_path: Path,
) -> None:
    asked = ("technique=prune", "prune.epochs=0", "hydra.run.dir=here")
    done = run_here(tmp_path, *SMALL, *asked)
    assert done.returncode == 0, done.stderr
    first, second, *_ = done.stderr.splitlines()
    assert first == (
        "cnn4-prune0.50: baseline, prune on digits (1,078 to train, 360 to val, 359 to test; 10 "
        f"classes) for onnxruntime; the run lies in {tmp_path}/here, its networks in "
        f"{tmp_path}/store"
    )
    assert "no search" not in second


def test_a_search_without_m_is_said_to_be_one_job(tmp_path: Path) -> None:
    asked = ("experiment=pareto", "technique=baseline")
    done = run_here(tmp_path, *SMALL, *asked)
    assert done.returncode == 0, done.stderr
    told = "this is one job and no search, which begins with -m: python run.py -m experiment=pareto"
    assert done.stderr.splitlines()[1] == told
