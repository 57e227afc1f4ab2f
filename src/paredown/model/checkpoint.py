"""Checkpoints as training scripts write them: nested, with prefixes, in half precision."""

import logging
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paredown.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")
NESTS = (*AVERAGED, "state_dict", "model_state_dict", "model_state", "model", "net", "network")
COMPILED = "_orig_mod."  # which torch.compile puts before a part's names, anywhere
SETTINGS = (  # packages whose objects hold what a script was called with, beside the weights
    "lightning.", "lightning_fabric.", "pytorch_lightning.", "omegaconf.", "argparse.", "pathlib.",
    "typing.", "collections.", "builtins.",
)  # fmt: skip
COUNTER = "n_averaged"  # of torch's AveragedModel, besides the weights

State = Mapping[str, "Tensor"]

log = logging.getLogger(__name__)


class Settings:
    """Stand in for whatever a checkpoint keeps beside the weights: an empty mapping, no code."""

    def __new__(cls, *_: object) -> "OrderedDict[str, object]":  # type: ignore[misc]
        """Return the mapping, whatever the other class would have been called with."""
        return OrderedDict()


@contextmanager
def without_settings(file: Path) -> Iterator[None]:
    """Let torch read a checkpoint that keeps settings beside the weights, as Lightning's do.

    None of their classes is imported or called: each becomes an empty mapping. Code of anybody
    else stays refused.

    Args:
        file: As torch.save wrote it.
    """
    from torch import serialization

    try:
        named = serialization.get_unsafe_globals_in_checkpoint(file)
    except (ValueError, RuntimeError, OSError):  # of an older format, or damaged: loading says so
        named = []
    harmless = [name for name in named if name.startswith(SETTINGS)]
    stands_in: list[Any] = [(type("Settings", (Settings,), {}), name) for name in harmless]
    with serialization.safe_globals(stands_in):
        yield


def opened(content: Any, name: str) -> Any:
    """Return what a checkpoint keeps the weights in, mostly a mapping of tensors by name.

    Averaged weights come first, as timm takes them: those are what was validated.

    Args:
        content: Of the file.
        name: Of the file, for the log.
    """
    while isinstance(content, Mapping):
        nests = [nest for nest in NESTS if isinstance(content.get(nest), Mapping)]
        if not nests:
            break
        if len(nests) > 1:
            log.info(
                "weights: %s holds %s; %s is taken, to start from another save it alone",
                name, " and ".join(nests), nests[0],
            )  # fmt: skip
        content = content[nests[0]]
    if isinstance(content, Mapping):
        content = {key: value for key, value in content.items() if key != COUNTER}
    return content


def without_prefix(state: State, names: Collection[str]) -> State:
    """Strip what wrappers put before every name, such as `module.`, where no name fits.

    Args:
        state: That was read.
        names: Of the network's tensors.
    """
    if any(COMPILED in name for name in state) and not any(COMPILED in name for name in names):
        state = {name.replace(COMPILED, ""): tensor for name, tensor in state.items()}
        log.info("weights: %s is stripped from their names", COMPILED)
    whole = _with_all_of(state, names)
    if whole is not None:
        return whole
    prefix = ""
    while not any(name.removeprefix(prefix) in names for name in state):
        parts = {name.removeprefix(prefix).partition(".")[::2] for name in state}
        firsts = {first for first, _ in parts}
        if len(firsts) != 1 or not all(rest for _, rest in parts):
            return state  # nothing fits; the names are told as they are
        prefix += f"{firsts.pop()}."
    if prefix:
        log.info("weights: %s is stripped from their names", prefix)
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _with_all_of(state: State, names: Collection[str]) -> State | None:
    """Find the prefix under which all of a network's tensors are, beside tensors of others.

    A training module keeps its loss and its metrics beside the network: `model.0.weight`,
    `criterion.weight`. Averaged weights come first.

    Args:
        state: That was read.
        names: Of the network's tensors.

    Returns:
        The network's tensors; None if their names are as they are, or there is no such prefix.
    """
    needed = [name for name in names if not name.endswith("num_batches_tracked")]
    ends = f".{needed[0]}" if needed else ""
    prefixes = {name.removesuffix(needed[0]) for name in state if ends and name.endswith(ends)}
    whole = [prefix for prefix in prefixes if all(prefix + name in state for name in needed)]
    if not whole or all(name in state for name in needed):
        return None
    whole.sort(key=lambda prefix: ("ema" not in prefix, len(prefix), prefix))
    prefix, *others = whole
    own = {name: tensor for name, tensor in state.items() if name.startswith(prefix)}
    left_out = sorted(state.keys() - own.keys())
    log.info(
        "weights: %s is stripped from their names%s%s", prefix,
        f"; {len(left_out)} others are left out, such as {left_out[0]}" if left_out else "",
        f"; {' and '.join(others)} would fit too" if others else "",
    )  # fmt: skip
    return {name.removeprefix(prefix): tensor for name, tensor in own.items()}


def as_float32(state: State, own: State, weights: str) -> State:
    """Cast weights to the types that a network has.

    Args:
        state: That was read, with names that the network has.
        own: The network's.
        weights: As the user names them.

    Raises:
        ConfigError: If they are whole or complex numbers where the network has others.
    """
    others: set[str] = set()
    for name, tensor in state.items():
        kind = str(tensor.dtype).removeprefix("torch.")
        wanted = own[name].dtype
        fits = tensor.is_complex() == wanted.is_complex and not tensor.is_quantized
        if not fits or (wanted.is_floating_point and not tensor.is_floating_point()):
            raise ConfigError(
                f"weights must be floating-point numbers, got {weights} with {kind} in {name}; "
                "a quantized network is no start for training"
            )
        if tensor.dtype != wanted and wanted.is_floating_point:
            others.add(kind)
    if others:
        kinds = " and ".join(sorted(others))
        log.info("weights: %s holds %s, which becomes float32", weights, kinds)
    return {name: tensor.to(own[name].dtype) for name, tensor in state.items()}
