"""The name of the weights that a network starts from: published ones, or a file of the user's."""

from pathlib import Path
from typing import NoReturn

from paredown.errors import ConfigError, require
from paredown.store.hashing import sha256_of

FILES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")


def is_file(weights: str) -> bool:
    """Return whether weights are a file of the user's, by its ending; others are published."""
    return weights.endswith(FILES)


def existing(weights: str) -> Path:
    """Return the path of a file with weights; raise ConfigError if there is none."""
    file = Path(weights).expanduser()
    require(file.is_file(), "weights", "be a file or the name of published weights", weights)
    return file


def fingerprint(weights: str | None) -> dict[str, str]:
    """Return what identifies weights: of a file its content, wherever it lies."""
    if weights is None:
        return {}
    if is_file(weights):
        return {"weights": sha256_of(existing(weights))}
    return {"published": weights}


def refuse_published(name: str, weights: str) -> NoReturn:
    """Raise ConfigError for a network that nobody has published weights of."""
    rule = f"end with {', '.join(FILES)}, or be null"
    raise ConfigError(f"weights of {name} must {rule}, got {weights!r}")
