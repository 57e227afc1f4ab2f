"""Hints for arguments that no command takes: what the user probably meant."""

import difflib
import re
import shlex
from collections.abc import Iterator, Sequence

from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from paredown.cli.composition import CONF, composed
from paredown.errors import ConfigError, require_one_of

NO_SPACES = "the command line must hold KEY=VALUE without spaces, got"
FORM = "write KEY=VALUE, and a mapping in quotes: 'model.kwargs={width: 32}'"
HINTS = 3  # keys at most in one hint


def check_arguments(words: Sequence[str], primary: str) -> None:
    """Raise ConfigError for arguments that are neither KEY=VALUE nor flags of Hydra's."""
    from hydra._internal.utils import get_args_parser

    options, unknown = get_args_parser().parse_known_args(list(words))
    for word in unknown:
        if word.startswith("-"):
            raise ConfigError(_without_dashes(word, words, primary))
    if unknown:
        raise ConfigError(
            "the command line must have its KEY=VALUE words together, got flags between; "
            f"put flags such as -m before all of them, {unknown[0]} included"
        )
    if options.shell_completion:
        return
    for index, word in enumerate(options.overrides):
        _check_spaces(word, options.overrides[index:])


def _check_spaces(word: str, rest: Sequence[str]) -> None:
    """Raise ConfigError if the shell split an override, the first of the rest, at a space."""
    value = _up_to_closing_bracket(rest)
    if value != word:
        got = " ".join(rest[: value.count(" ") + 1])
        rule = f"the command line must have no spaces within a value, got {got}"
        raise ConfigError(f"{rule}; put quotes around it: {shlex.quote(value)}")
    if "=" not in word and not word.startswith("~"):
        value = next((other for other in rest[1:] if other != "="), "VALUE")
        meant = f"{word}={value.removeprefix('=')}"
        raise ConfigError(f"{NO_SPACES} {word}; did you mean {meant}?")
    if word.endswith((",", "=")) and len(rest) > 1 and "=" not in rest[1]:
        raise ConfigError(f"{NO_SPACES} {word}; did you mean {word}{rest[1]}?")


def _up_to_closing_bracket(words: Sequence[str]) -> str:
    """Join words until the brackets of the first are closed; return it alone if they never are."""
    for count in range(1, len(words) + 1):
        text = " ".join(words[:count])
        if all(text.count(left) <= text.count(right) for left, right in ("()", "[]", "{}")):
            return text
    return words[0]


def _without_dashes(word: str, words: Sequence[str], primary: str) -> str:
    """Return the message for a setting with dashes, with the settings that may be meant."""
    name, _, value = word.lstrip("-").replace("-", "_").partition("=")
    after = words[list(words).index(word) + 1 :]
    if not value and after and "=" not in after[0] and not after[0].startswith("-"):
        value = after[0]
    keys = known_keys(primary)
    meant = [name] if name in keys else [key for key in keys if key.endswith(f".{name}")]
    meant = [key for key in meant if not key.startswith("hydra.")]
    meant = meant or difflib.get_close_matches(name, keys, n=1, cutoff=0.5)
    hint = " or ".join(f"{key}={value or 'VALUE'}" for key in meant[:HINTS])
    message = f"the command line must hold KEY=VALUE without dashes, got {word}"
    return message + (f"; did you mean {hint}?" if hint else "")


def hydra_message(error: Exception, primary: str) -> str:
    """Return an error of Hydra's in one line, with the nearest key or option for an unknown one."""
    if isinstance(error, MissingConfigException):
        return _missing_option(str(error.missing_cfg_file), error.options or [])
    message = str(error)
    ambiguous = re.search(r"Ambiguous value for argument '([^']+)'", message)
    if ambiguous:
        key, _, values = ambiguous.group(1).partition("=")
        return f"{key} must be one value, got {values}; with -m each of them is its own run"
    unknown = re.search(r"Could not override '([^'@]+)'", message)
    if unknown is None:
        text, see_also, _ = message.partition("See https://hydra.cc")
        return " ".join(text.split()) + (f"; {FORM}" if see_also else "")
    key = unknown.group(1)
    message = f"{key} is not a key of the configuration"
    options = " or ".join(options_with(key))
    if options:
        return f"{message}; it is a knob of {options}"
    near = difflib.get_close_matches(key, known_keys(primary), n=1, cutoff=0.5)
    return message + (f"; did you mean {near[0]}?" if near else "")


def _missing_option(path: str, options: Sequence[str]) -> str:
    """Return the message for a path in conf/ that is none of its group's options."""
    if path.startswith("model/"):
        from hydra_plugins.paredown_models._names import missing

        return str(missing(path, [file.stem for file in (CONF / "model").glob("*.yaml")]))
    group, _, name = path.rpartition("/")
    try:
        require_one_of(options, group or "the configuration", name)
    except ConfigError as error:
        return str(error)
    return f"{path} does not exist"


def options_with(key: str) -> list[str]:
    """List the options that have a key, such as dataset.size, as on the command line."""
    for choice, group, package in _groups():
        if key.startswith(f"{package}."):
            files = sorted((CONF / group).glob("*.yaml"))
            options = [f"{choice}={file.stem}" for file in files]
            options = [option for option in options if _has_key(option, key)]
            if options:
                return options
    return []


def _groups() -> Iterator[tuple[str, str, str]]:
    """Yield what chooses an option, its folder in conf/, and its place in the configuration."""
    defaults = OmegaConf.load(CONF / "config.yaml").defaults
    choices = [str(key) for entry in defaults if isinstance(entry, DictConfig) for key in entry]
    for choice in [*choices, "prune/criterion"]:
        group, _, package = choice.partition("@")
        if (CONF / group).is_dir() and group != "experiment":
            yield choice, group, package or group.replace("/", ".")


def _has_key(option: str, key: str) -> bool:
    """Return whether the configuration with an option has a key."""
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    parent, _, leaf = key.rpartition(".")
    try:
        node = OmegaConf.select(composed(option), parent)
    except (HydraException, OmegaConfBaseException):
        return False
    return isinstance(node, DictConfig) and leaf in node


def known_keys(primary: str) -> list[str]:
    """List every key of a primary configuration's defaults that an override can name."""
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    return list(_keys_below(composed(primary=primary, hydra=True)))


def _keys_below(node: DictConfig, prefix: str = "") -> Iterator[str]:
    for name in map(str, node):
        yield f"{prefix}{name}"
        child = node._get_node(name)
        if isinstance(child, DictConfig) and not child._is_interpolation():
            yield from _keys_below(child, f"{prefix}{name}.")
