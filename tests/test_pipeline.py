import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from command import ROOT

from paredown.config import composed
from paredown.dataset import Dataset, Split
from paredown.report import show
from paredown.run import pipeline
from paredown.run.plan import plan
from paredown.store.local import Store

NET = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(nn.Flatten(), nn.Linear(3072, num_classes))
"""


def test_what_finished_before_is_told_by_images_network_and_version(
    tmp_path: Path, few: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same configuration each time."""
    file, store = tmp_path / "net.py", Store(tmp_path / "store")

    def made_of(text: str = NET, dataset: Dataset = few) -> str:
        file.write_text(text)
        cfg = composed("model=custom", f"model.target={file}:Net", "technique=baseline")
        return pipeline.made_of(plan(cfg).path(dataset, store))

    before = made_of()
    assert made_of() == before
    edited = NET.replace("nn.Flatten(), ", "nn.Flatten(), nn.ReLU(), ")
    pixels = few.train.images.copy()
    pixels[0, 0, 0, 0] ^= 1
    changed = replace(few, train=Split(pixels, few.train.labels))
    others = {made_of(edited), made_of(dataset=changed)}
    monkeypatch.setattr(pipeline, "version", lambda: "9.9-0")
    others.add(made_of())
    assert len(others) == 3
    assert before not in others


SHOW = """
import sys
from paredown.host.logs import open_streams
open_streams()
from paredown.report import show
show("x" * 100_000)
show("again")
print("done", file=sys.stderr)
"""


@pytest.mark.parametrize("out", ["> /dev/full", ">&-", "| true"])
def test_a_stdout_that_takes_nothing_costs_nothing_else(out: str) -> None:
    script = f'"{sys.executable}" -c "$SHOW" {out}; exit ${{PIPESTATUS[0]}}'
    environment = {**os.environ, "SHOW": SHOW, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.endswith("done\n")


def test_what_is_shown_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    show("a line")
    assert capsys.readouterr().out == "a line\n"


IGNORED = """
import os, signal
signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does for the background of a script
from paredown.cli.exits import user_errors
with user_errors():
    os.kill(os.getpid(), signal.SIGINT)
    raise SystemExit("it was ignored")
"""


def test_sigint_that_comes_ignored_ends_a_command_all_the_same() -> None:
    done = subprocess.run([sys.executable, "-c", IGNORED], capture_output=True, check=False)
    assert done.returncode == 130, done.stderr
