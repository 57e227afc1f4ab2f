"""Paredown as a package: installed in three ways, its commands, and parts of somebody else's."""

import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from command import ROOT, SMALL

pytestmark = pytest.mark.slow


def stage_of_the_readme() -> str:
    """Give the technique in ten lines as the README has it, and what it imports."""
    text = (ROOT / "README.md").read_text()
    (code,) = re.findall(r"```python\n(import copy.*?)```", text, re.S)
    return code


def environment(folder: Path, how: str) -> Path:
    """Make an environment with the dependencies of this one and its own Paredown; give python."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    site = next((folder / "venv" / "lib").glob("python*/site-packages"))
    # a path in a .pth file; the .pth files there are not read
    paths = [sysconfig.get_path("purelib"), *([str(ROOT / "src")] if how == "checkout" else [])]
    (site / "dependencies.pth").write_text("\n".join(paths) + "\n")
    if how != "checkout":
        asked = ["-e", str(ROOT)] if how == "editable" else [str(ROOT)]
        command = [str(python), "-m", "pip", "install", "-q", "--no-deps", "--no-input", *asked]
        subprocess.run(command, check=True, cwd=folder, capture_output=True)
    return python


@pytest.mark.parametrize("how", ["checkout", "editable", "wheel"])
def test_hydra_finds_the_sweeper(how: str, tmp_path: Path) -> None:
    """In an environment that has the dependencies of this one, and not its Paredown."""
    python = environment(tmp_path, how)
    app = ROOT / "tests" / "tiny_app" / "app.py"
    asked = ["-m", "hydra/sweeper=pareto", "x=interval(0.1,0.9)", "hydra.sweeper.n_trials=1"]
    done = subprocess.run(
        [str(python), str(app), *asked], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "the front: 1 of 1 trials" in done.stdout
    told = "import paredown; print(paredown.__file__)"
    found = subprocess.run(
        [str(python), "-c", told], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert Path(found.stdout.strip()).is_relative_to(tmp_path) == (how == "wheel")
    assert sys.prefix not in found.stdout


def test_a_wheel_runs_without_the_checkout_with_parts_of_another_package(tmp_path: Path) -> None:
    python = environment(tmp_path, "wheel")
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    (site / "clipping.py").write_text(stage_of_the_readme())
    (tmp_path / "mine" / "prune").mkdir(parents=True)
    node = "_target_: clipping.Clipped\nlimit: 0.0\n"
    (tmp_path / "mine" / "prune" / "clipped.yaml").write_text(node)

    def paredown(*arguments: str) -> str:
        command = [str(python.with_name("paredown")), *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    asked = [each for each in SMALL if not each.startswith("prune.")]
    store = f"store.folder={tmp_path}/store"
    out = paredown("run", "--config-dir", "mine", "prune=clipped", *asked, store)
    assert "cnn4-cnn4-clipped-int8" in out
    (row,) = [line for line in out.splitlines() if "prune (shape unchanged)" in line]
    assert "10." in row.split("│")[2] or " 9." in row.split("│")[2]  # of ten classes
    picked = paredown("pick", "budget.size_mb=10")
    assert "nothing: picked" in picked
    card = next(tmp_path.glob("picked/*/card.md")).read_text()
    assert "paredown run" in card
    assert "report/report.html" in paredown("report")
    assert "paredown run" in paredown("run", "--help")
    nothing = subprocess.run([str(python.with_name("paredown"))], capture_output=True, text=True)
    assert nothing.returncode == 2
    assert [line.split()[1] for line in nothing.stdout.splitlines()[:3]] == [
        "run",
        "pick",
        "report",
    ]
