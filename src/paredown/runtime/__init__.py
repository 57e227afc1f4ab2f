"""The Runtime contract: lower a variant into the files that ship, and run them."""

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from paredown.dataset import Batch, Dataset
from paredown.errors import ConfigError, RunError, install_command, require
from paredown.host import machine
from paredown.variant import Numerics, Variant, is_layer

Logits = NDArray[np.float32]

# OpenVINO and NNCF send usage data when they are imported, unless this package is missing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

SCHEMES = ("static", "dynamic", "weights")
RANGES = ("minmax", "percentile", "entropy", "mse")


class Program(Protocol):
    """What a runtime runs: `program(images) -> logits`."""

    def __call__(self, images: Batch) -> Logits:
        """Map normalized images (N, C, H, W) to logits (N, classes)."""
        ...


@dataclass(frozen=True)
class Standalone:
    """How a bundle runs what a runtime lowered, on a device that has neither paredown nor torch.

    Args:
        open: `open(folder, threads) -> program`. Its source becomes a part of the bundle's
            predict.py, so it is a short function that imports the engine itself and knows
            nothing else outside it but Path and sys; other names in its annotations are quoted.
        packages: What it needs besides numpy and Pillow, as pip names them. That torch is none
            of them is tested: it then runs where torch is not.
        files: Names of all that `lower` writes; nothing else goes into a bundle.
    """

    open: Callable[[Path, int], Program]
    packages: tuple[str, ...]
    files: tuple[str, ...]


class Conversion(NamedTuple):
    """How many of a network's layers that hold weights became integer when it was lowered."""

    integer: int
    layers: int


@dataclass(frozen=True)
class Abilities:
    """What a runtime lowers besides float32, and what it needs for that.

    Args:
        schemes: Of `Numerics.scheme`; empty if it is float32 alone.
        ranges: Of `Numerics.range`.
        per_tensor: Whether a weight may have one scale for all its channels.
        bias_correction: Whether it corrects biases.
        bits: Of a stored weight, where the scheme is `weights`.
        quantizer: The package that makes integers; empty if the engine itself does.
        tool: A program that lowering calls, such as a C++ compiler; mostly empty.
        nvidia: Whether it runs on an NVIDIA GPU only.
    """

    schemes: tuple[str, ...] = ()
    ranges: tuple[str, ...] = ("minmax",)
    per_tensor: bool = True
    bias_correction: bool = False
    bits: tuple[int, ...] = (8,)
    quantizer: str = ""
    tool: str = ""
    nvidia: bool = False

    def refusal(self, numerics: Numerics) -> str:
        """Say what of the numerics the runtime lacks, and what it has; empty if it has all."""
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
    """Give the first training images, which are in random order of class, in batches.

    Args:
        dataset: Its train split.
        count: Images in all; all there are if it has fewer.

    Returns:
        Normalized images, (N, C, H, W), N at most 64.

    Raises:
        ConfigError: If one holds what is no number.
    """
    images = dataset.normalize(dataset.train.images[:count])
    rule = "be finite after normalization"
    require(bool(np.isfinite(images).all()), "calibration images", rule, "NaN or infinity")
    return np.array_split(images, -(-len(images) // 64))


def require_kept(numerics: Numerics, layers: Sequence[str]) -> None:
    """Check that every pattern of layers that stay in float32 keeps one.

    Args:
        numerics: Resolved.
        layers: Names of those that hold weights in the network as it is lowered.

    Raises:
        RunError: Naming the pattern that keeps none.
    """
    for pattern in numerics.keep_float:
        if not any(is_layer(layer, pattern) for layer in layers):
            some = ", ".join(layers[:3])
            raise RunError(
                f"quantize.keep_float must match one of the {len(layers)} layers of the lowered "
                f"network, got {pattern!r}; such as {some}"
            )


class Runtime(Protocol):
    """A node of conf/runtime: an engine for trained networks.

    `lower` may import torch; `load` and its program need the engine alone, as a device has it.
    """

    @property
    def name(self) -> str:
        """As tables and runs name the engine."""
        ...

    @property
    def threads(self) -> int:
        """Of one inference."""
        ...

    @property
    def engine(self) -> str:
        """The module that `load` imports; its package is named as the extra that brings it."""
        ...

    @property
    def abilities(self) -> Abilities:
        """What it lowers besides float32."""
        ...

    @property
    def standalone(self) -> Standalone | None:
        """Say how a bundle runs its files; None if they do not run without paredown."""
        ...

    @property
    def fingerprint(self) -> dict[str, str]:
        """Say what of this machine decides the bytes that `lower` writes, and their answers."""
        ...

    def lower(
        self, variant: Variant, dataset: Dataset, folder: Path, source: Path | None = None
    ) -> Conversion:
        """Write the files that ship, and nothing else, into `folder`.

        Args:
            variant: Its module, and the numerics that are asked for.
            dataset: Its train split calibrates; its val split checks the logits.
            folder: Exists and is empty.
            source: The folder of the same weights, already lowered in float32, where there is
                one.

        Returns:
            How many layers became integer, of those that hold weights.

        Raises:
            RunError: If the lowered model does not answer as the module does, or nothing became
                integer though that was asked for.
        """
        ...

    def load(self, folder: Path) -> Program:
        """Load what `lower` wrote."""
        ...


def require_engine(runtime: Runtime, lowers: bool = False, integers: bool = False) -> None:
    """Refuse a runtime that cannot work on this machine; nothing of it is imported for that.

    Args:
        runtime: Built, and not used yet.
        lowers: Whether it has to lower, rather than only run what it lowered.
        integers: Whether it has to make integers, too.

    Raises:
        ConfigError: Naming what is missing, and the extra that brings it.
    """
    able, extra = runtime.abilities, runtime.engine.partition(".")[0]
    also = "an NVIDIA GPU and " if able.nvidia else ""
    needed = {"engine": extra} | ({"quantizer": able.quantizer} if integers else {})
    for role, package in needed.items():
        if package and find_spec(package) is None:
            raise ConfigError(
                f"runtime {runtime.name} must have {also}its {role} here, got no package "
                f"{package}; {install_command(extra)}"
            )
    if able.nvidia and not machine.has_nvidia_gpu():
        reason = "got none; another runtime= runs on this CPU"
        raise ConfigError(f"runtime {runtime.name} must have an NVIDIA GPU here, {reason}")
    if lowers and able.tool and shutil.which(able.tool) is None:
        reason = "install it, or name another in CXX"
        raise ConfigError(
            f"runtime {runtime.name} must have a compiler here, got no {able.tool}; {reason}"
        )
