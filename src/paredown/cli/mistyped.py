"""What people type that no command takes, and what it would take in its place."""

import difflib
import re
import shlex
from collections.abc import Iterator, Sequence

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from paredown.cli.composition import CONF, composed
from paredown.errors import ConfigError, require_one_of

LINE = "the command line"
FORM = "write KEY=VALUE, and a mapping in quotes: 'model.kwargs={width: 32}'"
SHOWN = 3  # keys that are offered where several would do


def check_words(words: Sequence[str], primary: str) -> None:
    """Raise ConfigError for words that are neither KEY=VALUE nor flags of Hydra's.

    Args:
        words: Of the command line, as the shell split it.
        primary: What the command composes, in conf/.
    """
    from hydra._internal.utils import get_args_parser

    options, unknown = get_args_parser().parse_known_args(list(words))
    for word in unknown:
        if word.startswith("-"):
            raise ConfigError(_without_dashes(word, words, primary))
    if unknown:
        hint = f"put flags such as -m before all of them, {unknown[0]} included"
        raise ConfigError(
            f"{LINE} must have its KEY=VALUE words together, got flags between; {hint}"
        )
    if options.shell_completion:
        return
    for index, word in enumerate(options.overrides):
        rest = options.overrides[index:]
        whole = _joined(rest)
        if whole != word:
            got = " ".join(rest[: whole.count(" ") + 1])
            hint = f"put quotes around it: {shlex.quote(whole)}"
            raise ConfigError(f"{LINE} must have no spaces within a value, got {got}; {hint}")
        if "=" not in word and not word.startswith("~"):
            value = next((each for each in rest[1:] if each != "="), "VALUE")
            hint = f"did you mean {word}={value.removeprefix('=')}?"
            raise ConfigError(f"{LINE} must hold KEY=VALUE without spaces, got {word}; {hint}")
        if word.endswith((",", "=")) and len(rest) > 1 and "=" not in rest[1]:
            hint = f"did you mean {word}{rest[1]}?"
            raise ConfigError(f"{LINE} must hold KEY=VALUE without spaces, got {word}; {hint}")


def _joined(words: Sequence[str]) -> str:
    """Join words until the brackets of the first close; give it alone if they never do."""
    for count in range(1, len(words) + 1):
        whole = " ".join(words[:count])
        if all(whole.count(left) <= whole.count(right) for left, right in ("()", "[]", "{}")):
            return whole
    return words[0]


def _without_dashes(word: str, words: Sequence[str], primary: str) -> str:
    """Say that settings have no dashes, with the settings that may be meant."""
    name, _, value = word.lstrip("-").replace("-", "_").partition("=")
    after = words[list(words).index(word) + 1 :]
    if not value and after and "=" not in after[0] and not after[0].startswith("-"):
        value = after[0]
    keys = known_keys(primary)
    meant = [name] if name in keys else [key for key in keys if key.endswith(f".{name}")]
    meant = [key for key in meant if not key.startswith("hydra.")]
    meant = meant or difflib.get_close_matches(name, keys, n=1, cutoff=0.5)
    hint = " or ".join(f"{key}={value or 'VALUE'}" for key in meant[:SHOWN])
    told = f"{LINE} must hold KEY=VALUE without dashes, got {word}"
    return told + (f"; did you mean {hint}?" if hint else "")


def say_missing(path: str, options: Sequence[str]) -> str:
    """Return the line of an option that its group does not have, with the nearest one.

    Args:
        path: Of its yaml, in conf/.
        options: That the group has.
    """
    if path.startswith("model/"):
        from hydra_plugins.paredown_models._names import missing

        return str(missing(path, [file.stem for file in (CONF / "model").glob("*.yaml")]))
    group, _, name = path.rpartition("/")
    try:
        require_one_of(options, group or "the configuration", name)
    except ConfigError as clear:
        return str(clear)
    return f"{path} is not there"


def say_hydra(message: str, primary: str) -> str:
    """Say in one line what Hydra refuses, with the nearest key that there is."""
    ambiguous = re.search(r"Ambiguous value for argument '([^']+)'", message)
    if ambiguous:
        key, _, values = ambiguous.group(1).partition("=")
        return f"{key} must be one value, got {values}; with -m each of them is a run of its own"
    unknown = re.search(r"Could not override '([^'@]+)'", message)
    if unknown is None:
        plain = " ".join(message.partition("See https://hydra.cc")[0].split())
        return plain if plain == " ".join(message.split()) else f"{plain}; {FORM}"
    key = unknown.group(1)
    told = f"{key} is not a key of the configuration"
    others = " or ".join(options_with(key))
    if others:
        return f"{told}; it is a knob of {others}"
    near = difflib.get_close_matches(key, known_keys(primary), n=1, cutoff=0.5)
    return told + (f"; did you mean {near[0]}?" if near else "")


def options_with(key: str) -> list[str]:
    """List the options of a group of conf/ that have a key, as a person chooses them.

    Args:
        key: Such as dataset.size or student.width; that of a group's option begins with its place.
    """
    found = []
    for choice, group, place in _groups():
        name = key.removeprefix(f"{place}.")
        if name == key:
            continue
        for file in sorted((CONF / group).glob("*.yaml")):
            if _has(file.stem, choice, key):
                found.append(f"{choice}={file.stem}")
        if found:
            break
    return found


def _groups() -> Iterator[tuple[str, str, str]]:
    """List what chooses an option, its folder in conf/, and where in the configuration it lands."""
    defaults = OmegaConf.load(CONF / "config.yaml").defaults
    choices = [str(key) for entry in defaults if isinstance(entry, DictConfig) for key in entry]
    for choice in [*choices, "prune/criterion"]:
        group, _, place = choice.partition("@")
        if (CONF / group).is_dir() and group != "experiment":
            yield choice, group, place or group.replace("/", ".")


def _has(option: str, choice: str, key: str) -> bool:
    """Tell whether a configuration with an option has a key."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException

    GlobalHydra.instance().clear()
    try:
        cfg = composed(f"{choice}={option}")
        parent, _, leaf = key.rpartition(".")
        node = OmegaConf.select(cfg, parent)
        return isinstance(node, DictConfig) and leaf in node
    except (HydraException, OmegaConfBaseException):
        return False


def known_keys(primary: str) -> list[str]:
    """List every key of a primary configuration's defaults that an override can name."""
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    cfg = composed(primary=primary, hydra=True)
    keys: list[str] = []

    def walk(node: DictConfig, prefix: str) -> None:
        for name in node:
            key = f"{prefix}{name!s}"
            keys.append(key)
            child = node._get_node(str(name))
            if isinstance(child, DictConfig) and not child._is_interpolation():
                walk(child, key + ".")

    walk(cfg, "")
    return keys
