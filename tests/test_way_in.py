"""The first steps of a stranger: without the installation, with another Python, from a page."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
from command import ROOT

from paredown import errors

# as a user's shell starts it: `make test` hands its own flags on, such as -w
ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}


@pytest.mark.parametrize("verb", ["run", "pick", "report"])
def test_a_python_without_the_package_says_what_to_do_in_one_line(verb: str) -> None:
    command = [sys.executable, "-I", "-S", str(ROOT / f"{verb}.py")]  # without site-packages
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "has no paredown; run `make run` first" in done.stderr
    assert done.stderr.endswith(f".venv/bin/python {verb}.py\n")


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("old", ["venv", "python"])
def test_make_refuses_an_older_python_in_one_line_before_it_installs(
    old: str, tmp_path: Path
) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).symlink_to(ROOT / name)
    ancient = tmp_path / ("python3.9" if old == "python" else ".venv/bin/python")
    ancient.parent.mkdir(parents=True, exist_ok=True)
    ancient.write_text("#!/bin/sh\nexit 1\n")  # as it answers to the question for its version
    ancient.chmod(0o755)
    named = [f"PYTHON={ancient if old == 'python' else sys.executable}"]
    command = ["make", "run", *named]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRON, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "must be Python 3.11 or newer" in done.stderr
    assert done.stdout == ""


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(("index", "size"), [("", "7 GB"), ("INDEX", "3 GB")])
def test_make_says_how_much_it_installs_and_takes_torch_from_another_index(
    index: str, size: str, tmp_path: Path
) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).symlink_to(ROOT / name)
    command = ["make", "-n", "run", f"TORCH_INDEX={index}", f"PYTHON={sys.executable}"]
    done = subprocess.run(
        command, cwd=tmp_path, env=ENVIRON, capture_output=True, text=True, check=True
    )
    said, *steps = done.stdout.splitlines()
    assert size in said
    torch, rest = [step for step in steps if "pip install" in step]
    assert ("--no-deps --index-url INDEX" in torch) == bool(index)
    assert "--index-url" not in rest


@pytest.mark.parametrize("verb", ["paredown", "pick", "report"])
def test_every_example_of_the_help_can_be_pasted_with_its_comment(verb: str) -> None:
    text = (ROOT / f"conf/hydra/help/{verb}.yaml").read_text()
    examples = re.findall(r"^    (\$\{typed:\w+\}.*)$", text, re.M)
    assert len(examples) >= 3
    for example in examples:
        for word in shlex.split(example, comments=True)[1:]:
            assert "=" in word or word == "-m", example


def test_an_extra_is_installed_by_a_command_that_works_from_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert errors.install_command("timm") == "python -m pip install -c constraints.txt -e '.[timm]'"
    monkeypatch.chdir(tmp_path)
    *_, pinned, _, wanted = shlex.split(errors.install_command("timm"))
    assert (pinned, wanted) == (str(ROOT / "constraints.txt"), f"{ROOT}/[timm]")
    monkeypatch.setattr(errors, "INSTALLED", True)  # from a wheel: the packages themselves
    assert shlex.split(errors.install_command("timm")) == ["pip", "install", "timm>=1.0"]


def test_every_extra_that_a_message_names_is_one_of_the_package() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named: set[str] = set()
    for file in (ROOT / "src").rglob("*.py"):
        named |= set(re.findall(r"""install_command\(["'](\w+)["']\)""", file.read_text()))
        assert "paredown[" not in file.read_text(), file  # nobody's on PyPI
    assert {"timm", "s3", "postgresql"} <= named <= set(extras["optional-dependencies"])
    assert any("extra == " in line for line in requires("paredown") or ())
