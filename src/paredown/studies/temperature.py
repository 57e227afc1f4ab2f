"""A study: what the temperature of distillation does to the student, and what it reveals."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from paredown.dataset import Dataset
from paredown.errors import require
from paredown.measure.quality import BATCH
from paredown.measure.statistics import mean_margin
from paredown.pictures.words import BARS
from paredown.studies.contract import Job, OpenPath

SWEPT = "distill.temperature"
STAGES = {"distill": "float32", "quantize": "int8"}

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Temperature:
    """Draw the student's accuracy by temperature, and how soft the teacher's answers are.

    Args:
        shown: Temperature that the map of confusions is of.
    """

    shown: float

    def check(self, settings: Sequence[Mapping[str, str]], stages: Sequence[str]) -> None:
        """Raise ConfigError unless temperatures are swept, and what they make is quantized."""
        swept = [job.get(SWEPT) for job in settings]
        require(None not in swept, SWEPT, "be swept in this study", swept)
        require(set(STAGES) <= set(stages), "technique", "distill and quantize", list(stages))

    def __call__(self, jobs: Sequence[Job], open_path: OpenPath, folder: Path) -> str:
        """Write temperature.png, confusion.png and temperature.json."""
        by: dict[float, list[Job]] = defaultdict(list)
        for job in jobs:
            by[job.number(SWEPT)].append(job)
        students = {
            stage: {each: [job.row(stage)["accuracy"] for job in by[each]] for each in sorted(by)}
            for stage in STAGES
        }
        with open_path() as path:
            dataset = path.dataset
            logits = _answers(path.variant(0).module, dataset)
        entropy = {each: entropies(soften(logits, each)) for each in sorted(by)}
        mass = confusion(soften(logits, self.shown), dataset.train.labels, len(dataset.classes))
        found = {
            "accuracy": students,
            "entropy_bits": {each: float(of.mean()) for each, of in entropy.items()},
            "classes": list(dataset.classes),
            "confusion": {"temperature": self.shown, "mean_probability": mass.tolist()},
        }
        (folder / "temperature.json").write_text(json.dumps(found, indent=1) + "\n")
        told = _words(students, entropy, mass, dataset.classes, self.shown)
        _draw(students, entropy, told.partition("\n")[0], folder / "temperature.png")
        _draw_map(mass, dataset.classes, self.shown, folder / "confusion.png")
        return f"{told}\nsee {folder / 'temperature.png'} and {folder / 'confusion.png'}"


def soften(logits: Numbers, temperature: float) -> Numbers:
    """Give softmax(logits / T), (N, classes)."""
    scaled = logits / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def entropies(shares: Numbers) -> Numbers:
    """Give -sum p log2 p of every row, in bits; log2(classes) is a teacher that knows nothing."""
    logs = np.log2(shares, where=shares > 0, out=np.zeros_like(shares))
    return np.asarray(-(shares * logs).sum(axis=1))


def confusion(shares: Numbers, labels: NDArray[np.int64], classes: int) -> Numbers:
    """Average the shares over the images of each class: (class, answer); the diagonal is 0."""
    rows = [shares[labels == each].mean(axis=0) for each in range(classes)]
    mass = np.stack(rows)
    np.fill_diagonal(mass, 0.0)
    return mass


def _answers(module: "object", dataset: Dataset) -> Numbers:
    """Give the teacher's logits for the training images as they are, (N, classes)."""
    import torch

    images, parts = dataset.train.images, []
    with torch.inference_mode():
        for at in range(0, len(dataset.train), BATCH):
            batch = torch.from_numpy(dataset.normalize(images[at : at + BATCH]))
            parts.append(module(batch).double().numpy())  # type: ignore[operator]
    return np.concatenate(parts)


def _words(
    students: Mapping[str, Mapping[float, Sequence[float]]],
    entropy: Mapping[float, Numbers],
    mass: Numbers,
    classes: Sequence[str],
    shown: float,
) -> str:
    lines = []
    for stage, by in students.items():
        told = {each: mean_margin(values) for each, values in by.items()}
        best, worst = (pick(told, key=lambda each: told[each][0]) for pick in (max, min))
        gap = 100 * (told[best][0] - told[worst][0])
        margin = 100 * (told[best][1] + told[worst][1])
        verdict = (
            "more than their intervals"
            if gap > margin
            else "within their intervals: no effect seen"
        )
        lines.append(
            f"{STAGES[stage]}: T {best:g} is best with {told[best][0]:.2%}, T {worst:g} worst with "
            f"{told[worst][0]:.2%}; {gap:.2f} points apart, {verdict} ({margin:.2f})."
        )
    first, last = min(entropy), max(entropy)
    lines.append(
        f"The teacher's answers to training images have {entropy[first].mean():.2f} bits at "
        f"T {first:g} and {entropy[last].mean():.2f} at T {last:g}, of {np.log2(len(classes)):.2f}."
    )
    pairs = sorted(np.ndindex(*mass.shape), key=lambda place: -mass[place])[:3]
    named = ", ".join(f"{classes[i]} for {classes[j]} {mass[i, j]:.1%}" for i, j in pairs)
    lines.append(f"At T {shown:g} it confuses most: {named}.")
    return "\n".join(lines)


def _draw(
    students: Mapping[str, Mapping[float, Sequence[float]]],
    entropy: Mapping[float, Numbers],
    title: str,
    file: Path,
) -> None:
    from paredown.pictures.sheet import save, sheet

    figure, (accuracy, bits) = sheet(title, 2, 5.4, 4.0)
    for at, (stage, by) in enumerate(students.items()):
        told = [mean_margin(values) for values in by.values()]
        places = [each * (1 + 0.04 * (2 * at - 1)) for each in by]  # beside each other
        accuracy.errorbar(
            places, [100 * mean for mean, _ in told], _bars(told),
            fmt=("-o", "--s")[at], color=BARS[at], capsize=3, markersize=5, label=STAGES[stage],
        )  # fmt: skip
        for place, values in zip(places, by.values(), strict=True):
            spots = [100 * value for value in values]
            accuracy.plot([place] * len(spots), spots, ".", color=BARS[at], alpha=0.5)
    seeds = len(next(iter(next(iter(students.values())).values())))
    accuracy.set_title(
        f"mean of {seeds} seeds and its 95 % interval; dots: the seeds", loc="left", fontsize=10
    )
    accuracy.set_ylabel("student's accuracy, validation split, %")
    accuracy.legend(frameon=False, fontsize=9)
    low, middle, high = (
        [float(np.percentile(of, share)) for of in entropy.values()] for share in (5, 50, 95)
    )
    bits.fill_between(list(entropy), low, high, color=BARS[0], alpha=0.2, linewidth=0)
    bits.plot(list(entropy), middle, "-o", color=BARS[0], markersize=5)
    bits.set_title("median image, 5 % to 95 % shaded", loc="left", fontsize=10)
    bits.set_ylabel("entropy of the teacher's answer, bits")
    for axes in (accuracy, bits):
        axes.set_xscale("log", base=2)
        axes.set_xticks(list(entropy), [f"{each:g}" for each in entropy])
        axes.set_xlabel("temperature")
    save(figure, file)


def _bars(told: Sequence[tuple[float, float]]) -> list[list[float]]:
    """Give how far intervals reach below and above their means, in %, nowhere beyond 100."""
    return [
        [100 * margin for _, margin in told],
        [100 * min(margin, 1 - mean) for mean, margin in told],
    ]


def _draw_map(mass: Numbers, classes: Sequence[str], shown: float, file: Path) -> None:
    from paredown.pictures.sheet import save, sheet

    side = 0.42 * len(classes) + 2.2
    title = f"what the teacher takes a class for, at temperature {shown:g}"
    figure, (axes,) = sheet(title, 1, side + 0.8, side)
    axes.grid(visible=False)
    drawn = axes.imshow(100 * mass, cmap="Greys", vmin=0)
    places = list(range(len(classes)))
    axes.set_xticks(places, classes, rotation=45, ha="right")
    axes.set_yticks(places, classes)
    axes.set_xlabel("answer")
    axes.set_ylabel("class of the image")
    if len(classes) <= 12:
        top = 100 * mass.max()
        for i, j in np.ndindex(*mass.shape):
            if i != j:
                value = 100 * mass[i, j]
                axes.text(
                    j, i, f"{value:.1f}", ha="center", va="center", fontsize=7,
                    color="white" if value > 0.6 * top else "black",
                )  # fmt: skip
    figure.colorbar(drawn, ax=axes, label="mean probability, %", shrink=0.8)
    save(figure, file)
