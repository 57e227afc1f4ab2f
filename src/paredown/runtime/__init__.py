"""The Runtime contract: lower a variant into the files that ship, and run them."""

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from paredown.dataset import Batch, Dataset
from paredown.errors import ConfigError, RunError, install_command, require
from paredown.variant import Numerics, Variant, is_layer

Logits = NDArray[np.float32]
Program = Callable[[Batch], Logits]
"""A loaded model: maps normalized images (N, C, H, W) to logits (N, classes)."""

# OpenVINO and NNCF send usage data when they are imported, unless this package is missing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

SCHEMES = ("static", "dynamic", "weights")
RANGES = ("minmax", "percentile", "entropy", "mse")


@dataclass(frozen=True)
class Standalone:
    """How a bundle runs a lowered model, on a device that has neither paredown nor torch.

    Args:
        open: `open(folder, threads) -> program`. Its source becomes part of the bundle's
            predict.py: a short function that imports the engine itself and uses nothing else
            outside it but Path and sys; other names in its annotations are quoted.
        packages: Required besides numpy and Pillow, as pip names them. Without torch among them,
            tests run it where torch is missing.
        files: Names of all that `lower` writes; nothing else goes into a bundle.
    """

    open: Callable[[Path, int], Program]
    packages: tuple[str, ...]
    files: tuple[str, ...]


class Conversion(NamedTuple):
    """How many of a network's layers with weights became integer."""

    integer: int
    layers: int

    def require_integers(self, numerics: Numerics) -> "Conversion":
        """Return it, or raise RunError if no layer became integer."""
        if self.integer == 0:
            count = f"none of {self.layers} layers"
            raise RunError(f"{numerics.name} converted {count}; the file is float32")
        return self


@dataclass(frozen=True)
class Abilities:
    """The numerics that a runtime can lower to, and what it needs for that.

    Args:
        schemes: Of `Numerics.scheme`; empty for float32 alone.
        ranges: Of `Numerics.range`.
        per_tensor: Whether a weight may have one scale for all its channels.
        bits: Of a stored weight, where the scheme is `weights`.
        quantizer: The package that quantizes; empty if the engine itself does.
        tool: A program that lowering calls, such as a C++ compiler; mostly empty.
    """

    schemes: tuple[str, ...] = ()
    ranges: tuple[str, ...] = ("minmax",)
    per_tensor: bool = True
    bias_correction: bool = False
    bits: tuple[int, ...] = (8,)
    quantizer: str = ""
    tool: str = ""

    def refusal(self, numerics: Numerics) -> str:
        """Return why the runtime cannot lower to these numerics; empty if it can."""
        has = ", ".join(("float32", *self.schemes))
        if numerics.scheme not in self.schemes:
            return f"it has no {numerics.scheme} quantization; it has {has}"
        if numerics.scheme == "static" and numerics.range not in self.ranges:
            return f"it has no quantize.range={numerics.range}; it has {', '.join(self.ranges)}"
        if numerics.bias_correction and not self.bias_correction:
            return "it has no bias correction"
        if not numerics.per_channel and not self.per_tensor:
            return "it has quantize.per_channel=true only"
        if numerics.scheme == "weights" and numerics.bits not in self.bits:
            return f"it stores weights of {' or '.join(map(str, self.bits))} bits"
        return ""


def calibration_batches(dataset: Dataset, count: int) -> list[Batch]:
    """Return the first training images, in random order of class, normalized, by 64 or fewer."""
    images = dataset.normalize(dataset.train.images[:count])
    rule = "be finite after normalization"
    require(bool(np.isfinite(images).all()), "calibration images", rule, "NaN or infinity")
    return np.array_split(images, -(-len(images) // 64))


def require_float_layers(numerics: Numerics, layers: Sequence[str]) -> None:
    """Raise RunError for a pattern of `keep_float` that matches no layer of the lowered network."""
    for pattern in numerics.keep_float:
        if not any(is_layer(layer, pattern) for layer in layers):
            some = ", ".join(layers[:3])
            raise RunError(
                f"quantize.keep_float must match one of the {len(layers)} layers of the lowered "
                f"network, got {pattern!r}; such as {some}"
            )


@dataclass(frozen=True)
class Engine:
    """The settings that the runtimes here share; see `Runtime`."""

    threads: int = field(metadata={"key": False})
    name: str

    def __post_init__(self) -> None:
        require(self.threads >= 1, "threads", "be at least 1", self.threads)


class Runtime(Protocol):
    """A node of conf/runtime: an engine for trained networks.

    `lower` may import torch; `load` and its program need the engine alone, as a device has it.
    """

    @property
    def name(self) -> str:
        """Of the engine, in tables and runs."""

    @property
    def threads(self) -> int:
        """CPU threads of one inference."""

    @property
    def engine(self) -> str:
        """The module that `load` imports; its package is named like the extra that installs it."""

    @property
    def abilities(self) -> Abilities:
        """The numerics that it can lower to, besides float32."""

    @property
    def standalone(self) -> Standalone | None:
        """How a bundle runs its files; None if they need paredown."""

    @property
    def fingerprint(self) -> dict[str, str]:
        """What on this machine determines the bytes that `lower` writes, and their logits."""

    def lower(
        self, variant: Variant, dataset: Dataset, folder: Path, source: Path | None = None
    ) -> Conversion:
        """Write the files that ship, and nothing else, into `folder`.

        Args:
            variant: Its module, and the requested numerics.
            dataset: Its train split calibrates; its val split checks the logits.
            folder: Exists and is empty.
            source: The folder of the same weights, already lowered in float32, if there is one.

        Raises:
            RunError: If the lowered model's logits differ from the module's, or no layer became
                integer although the numerics request it.
        """

    def load(self, folder: Path) -> Program:
        """Load the files that `lower` wrote."""


def require_engine(runtime: Runtime, lowers: bool = False, integers: bool = False) -> None:
    """Raise ConfigError if a runtime cannot work on this machine; its engine is not imported.

    It has to run files, to lower with `lowers`, and to quantize with `integers`.
    """
    abilities, extra = runtime.abilities, runtime.engine.partition(".")[0]
    packages = {"engine": extra} | ({"quantizer": abilities.quantizer} if integers else {})
    for role, package in packages.items():
        if package and find_spec(package) is None:
            raise ConfigError(
                f"runtime {runtime.name} must have its {role} here, got no package {package}; "
                f"{install_command(extra)}"
            )
    if lowers and abilities.tool and shutil.which(abilities.tool) is None:
        raise ConfigError(
            f"runtime {runtime.name} must have a compiler here, got no {abilities.tool}; install "
            "it, or name another in CXX"
        )
