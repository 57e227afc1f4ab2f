"""Errors with a known reason, printed in one line. Imports nothing heavy."""

import difflib
import errno
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from paredown.printable import hide_passwords

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SEEDS = 2**32  # the limit of NumPy's generators
LAUNCHERS = ("joblib", "ray", "submitit")  # packages, each an extra and a plugin of Hydra

INSTALLED = Path(__file__).with_name("conf").is_dir()
"""Whether this is an installed package, which has conf/ inside, or a checkout."""


class ConfigError(ValueError):
    """An error that the user can fix: `<key> must <rule>, got <value>; <hint>`. Exit code 2."""


class RunError(RuntimeError):
    """A failure of a run with a known reason. Exit code 1."""

    code = 1


class BudgetError(RunError):
    """No variant meets the budget. Exit code 3."""

    code = 3


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, without passwords."""
    return hide_passwords(str(error).strip().partition("\n")[0]) or type(error).__name__


def worker_died(error: BaseException) -> bool:
    """Return whether an error is a launcher's report of a dead worker, and no error of a job."""
    return type(error).__module__.partition(".")[0] in LAUNCHERS


def require(ok: bool, key: str, rule: str, got: object, hint: str = "") -> None:
    """Raise ConfigError `<key> must <rule>, got <got>; <hint>` unless `ok`."""
    if not ok:
        hint = _percent_hint(rule, got) or hint
        raise ConfigError(f"{key} must {rule}, got {got!r}" + (f"; {hint}" if hint else ""))


def _percent_hint(rule: str, got: object) -> str:
    """Return the fraction for a percentage where a rule requires a fraction; else an empty text."""
    percent = isinstance(got, int | float) and not isinstance(got, bool) and 2 <= got <= 100
    fraction = re.search(r"\blie in [\[(]0, 1[\])]", rule)
    return f"{got / 100:g} is {got:g} %" if percent and fraction else ""  # type: ignore[operator]


def require_seed(key: str, seed: int) -> None:
    """Raise ConfigError unless every generator accepts a seed."""
    require(0 <= seed < SEEDS, key, f"lie in [0, {SEEDS})", seed)


def require_one_of(names: Iterable[str], key: str, got: object) -> None:
    """Raise ConfigError, listing the names and the nearest one, unless `got` is one of them."""
    valid = sorted(names)
    near = difflib.get_close_matches(str(got), valid, n=1)
    hint = f"did you mean {near[0]}?" if near else ""
    require(got in valid, key, f"be one of {', '.join(valid)}", got, hint)


def install_command(extra: str) -> str:
    """Return the command that installs an extra: from this checkout, else its packages.

    Paredown is not on PyPI, so pip would not find it by name.
    """
    if INSTALLED:
        from importlib.metadata import requires

        ends = re.compile(rf"""; extra == ["']{extra}["']$""")
        packages = [ends.sub("", line) for line in requires("paredown") or () if ends.search(line)]
        return "pip install " + shlex.join(packages)
    root = Path(__file__).parents[2]
    folder = "" if root == Path.cwd() else f"{root}/"
    pinned, itself = f"{folder}constraints.txt", f"{folder or '.'}[{extra}]"
    return shlex.join(["python", "-m", "pip", "install", "-c", pinned, "-e", itself])
