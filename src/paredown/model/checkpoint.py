"""Checkpoints as training scripts write them: nested, with prefixes, in half precision."""

import logging
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, serialization

from paredown.errors import ConfigError

AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")
NESTS = (*AVERAGED, "state_dict", "model_state_dict", "model_state", "model", "net", "network")
COMPILED = "_orig_mod."  # torch.compile's prefix of a part's names, anywhere
SETTINGS = (  # packages whose objects hold a script's arguments, beside the weights
    "lightning.", "lightning_fabric.", "pytorch_lightning.", "omegaconf.", "argparse.", "pathlib.",
    "typing.", "collections.", "builtins.",
)  # fmt: skip
COUNTER = "n_averaged"  # of torch's AveragedModel, besides the weights

State = Mapping[str, Tensor]

log = logging.getLogger(__name__)


class Settings:
    """An empty mapping in the place of any object that a checkpoint has beside the weights."""

    def __new__(cls, *_: object) -> "OrderedDict[str, object]":  # type: ignore[misc]
        """Return the mapping, whatever the arguments."""
        return OrderedDict()


@contextmanager
def without_settings(file: Path) -> Iterator[None]:
    """Allow torch to load a checkpoint with settings beside the weights, as Lightning's have.

    None of their classes is imported or called: each becomes an empty mapping. All other code
    stays refused.
    """
    try:
        classes = serialization.get_unsafe_globals_in_checkpoint(file)
    except (ValueError, RuntimeError, OSError):  # of an older format, or damaged: loading fails
        classes = []
    harmless = [name for name in classes if name.startswith(SETTINGS)]
    stand_ins: list[Any] = [(type("Settings", (Settings,), {}), name) for name in harmless]
    with serialization.safe_globals(stand_ins):
        yield


def unnested(content: Any, name: str) -> Any:
    """Return the weights within a checkpoint, mostly a mapping of tensors by name.

    Averaged weights come first, as in timm: they are the ones that were validated.
    """
    while isinstance(content, Mapping):
        nests = [nest for nest in NESTS if isinstance(content.get(nest), Mapping)]
        if not nests:
            break
        if len(nests) > 1:
            log.info(
                "weights: %s holds %s; using %s, to start from another save it alone",
                name, " and ".join(nests), nests[0],
            )  # fmt: skip
        content = content[nests[0]]
    if isinstance(content, Mapping):
        content = {key: value for key, value in content.items() if key != COUNTER}
    return content


def without_prefix(state: State, names: Collection[str]) -> State:
    """Strip the prefix that wrappers put before every name, such as `module.`, if no name fits."""
    if any(COMPILED in name for name in state) and not any(COMPILED in name for name in names):
        state = {name.replace(COMPILED, ""): tensor for name, tensor in state.items()}
        log.info("weights: %s is stripped from their names", COMPILED)
    complete = _with_all_of(state, names)
    if complete is not None:
        return complete
    prefix = ""
    while not any(name.removeprefix(prefix) in names for name in state):
        parts = {name.removeprefix(prefix).partition(".")[::2] for name in state}
        firsts = {first for first, _ in parts}
        if len(firsts) != 1 or not all(rest for _, rest in parts):
            return state  # nothing fits; the error lists the names as they are
        prefix += f"{firsts.pop()}."
    if prefix:
        log.info("weights: %s is stripped from their names", prefix)
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _with_all_of(state: State, names: Collection[str]) -> State | None:
    """Select a network's tensors by the prefix that all of them have, beside other tensors.

    A training module has its loss and its metrics beside the network: `model.0.weight`,
    `criterion.weight`. Averaged weights come first. None if no prefix is needed, or none fits.
    """
    needed = [name for name in names if not name.endswith("num_batches_tracked")]
    ends = f".{needed[0]}" if needed else ""
    prefixes = {name.removesuffix(needed[0]) for name in state if ends and name.endswith(ends)}
    fitting = [prefix for prefix in prefixes if all(prefix + name in state for name in needed)]
    if not fitting or all(name in state for name in needed):
        return None
    fitting.sort(key=lambda prefix: ("ema" not in prefix, len(prefix), prefix))
    prefix, *others = fitting
    own = {name: tensor for name, tensor in state.items() if name.startswith(prefix)}
    left_out = sorted(state.keys() - own.keys())
    log.info(
        "weights: %s is stripped from their names%s%s", prefix,
        f"; {len(left_out)} others are left out, such as {left_out[0]}" if left_out else "",
        f"; {' and '.join(others)} would fit too" if others else "",
    )  # fmt: skip
    return {name.removeprefix(prefix): tensor for name, tensor in own.items()}


def as_float32(state: State, own: State, weights: str) -> State:
    """Cast weights to the types of a network's own.

    Raises:
        ConfigError: If they are integers or complex numbers where the network has others.
    """
    others: set[str] = set()
    for name, tensor in state.items():
        dtype = str(tensor.dtype).removeprefix("torch.")
        expected = own[name].dtype
        fits = tensor.is_complex() == expected.is_complex and not tensor.is_quantized
        if not fits or (expected.is_floating_point and not tensor.is_floating_point()):
            raise ConfigError(
                f"weights must be floating-point numbers, got {weights} with {dtype} in {name}; "
                "a quantized network is no start for training"
            )
        if tensor.dtype != expected and expected.is_floating_point:
            others.add(dtype)
    if others:
        dtypes = " and ".join(sorted(others))
        log.info("weights: %s holds %s, which becomes float32", weights, dtypes)
    return {name: tensor.to(own[name].dtype) for name, tensor in state.items()}
