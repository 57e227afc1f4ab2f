"""Checkpoints as training scripts write them: nested, with prefixes, in half precision."""

import logging
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from paredown.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")
NESTS = (*AVERAGED, "state_dict", "model_state_dict", "model_state", "model", "net", "network")
COMPILED = "_orig_mod."  # which torch.compile puts before a part's names, anywhere
COUNTER = "n_averaged"  # of torch's AveragedModel, besides the weights

State = Mapping[str, "Tensor"]

log = logging.getLogger(__name__)


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
