"""What the README and the pages say: their commands work, and the pages build."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from command import ROOT, SMALL, paredown
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from paredown.config import build_all, composed
from paredown.run.plan import plan

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
MY_NET = """
import torch


class Net(torch.nn.Sequential):
    def __init__(self, width, num_classes):
        super().__init__(torch.nn.Flatten(), torch.nn.LazyLinear(num_classes))
"""


def commands() -> list[str]:
    """List every command of Paredown in a block of code, as a shell takes it."""
    found = []
    for page in PAGES:
        for block in re.findall(r"^```\w*\n(.*?)^```", page.read_text(), re.S | re.M):
            lines = block.replace("\\\n", " ").splitlines()
            found += [line for line in lines if re.match(r"python (run|pick|report)\.py", line)]
    return sorted({shlex.join(shlex.split(line, comments=True)) for line in found})


def overrides(arguments: list[str]) -> list[str]:
    """Take the first job of a sweep; what a search samples stays as it is."""
    parsed = OverridesParser.create().parse_overrides(arguments)
    sampled = [each for each in parsed if each.is_interval_sweep()]
    kept = [each for each in parsed if each not in sampled]
    return BasicSweeper.split_arguments(kept, None)[0][0]


@pytest.mark.filterwarnings(r"ignore:\s*'hydra/launcher/")  # as commands.py does
@pytest.mark.parametrize("command", commands())
def test_every_command_of_the_pages_makes_a_plan(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_net.py").write_text(MY_NET)
    (tmp_path / "photos").mkdir()
    (tmp_path / "mine.safetensors").touch()
    _, script, *arguments = shlex.split(command)
    arguments = [each for each in arguments if each not in ("-m", "--help")]
    if script == "run.py":
        assert plan(composed(*overrides(arguments))).stages
    else:
        name = script.removesuffix(".py")
        assert name in build_all(composed(*arguments, primary=name), name)


def test_the_pages_have_commands() -> None:
    found = commands()
    assert len(found) > 25
    assert "python run.py -m prune.amount=0.1,0.3,0.5,0.7" in found
    assert "python pick.py budget.size_mb=1" in found


@pytest.mark.slow
def test_the_three_commands_of_the_readme_work_one_after_the_other(tmp_path: Path) -> None:
    swept = paredown(tmp_path, "-m", "prune.amount=0.1,0.3,0.5,0.7", *SMALL)
    assert swept.returncode == 0, swept.stderr
    for script, told in (("pick.py", "nothing: picked"), ("report.py", "report/report.html")):
        asked = ["budget.size_mb=1"] if script == "pick.py" else []
        command = [sys.executable, str(ROOT / script), *asked]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert told in done.stdout


def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr  # --strict: a warning is an error
    assert (tmp_path / "site" / "int8" / "index.html").is_file()
