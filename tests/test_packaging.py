"""The sweeper is found however Paredown is installed."""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from command import ROOT

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("how", ["checkout", "editable", "wheel"])
def test_hydra_finds_the_sweeper(how: str, tmp_path: Path) -> None:
    """In an environment that has the dependencies of this one, and not its Paredown."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    paths = [
        sysconfig.get_path("purelib")
    ]  # a path in a .pth file; the .pth files there are not read
    if how == "checkout":
        paths.append(str(ROOT / "src"))
    (site / "dependencies.pth").write_text("\n".join(paths) + "\n")
    if how != "checkout":
        asked = ["-e", str(ROOT)] if how == "editable" else [str(ROOT)]
        command = [str(python), "-m", "pip", "install", "-q", "--no-deps", "--no-input", *asked]
        subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
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
