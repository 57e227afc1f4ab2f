"""A study: the effect of distillation's temperature on the student, and the soft targets."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from paredown.errors import require
from paredown.measure.quality import predict
from paredown.measure.statistics import mean_margin
from paredown.pictures.sheet import save, sheet
from paredown.pictures.words import BARS
from paredown.runtime.torch import eager
from paredown.studies.contract import Job, OpenPath

SWEPT = "distill.temperature"
STAGES = {"distill": "float32", "quantize": "int8"}

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Temperature:
    """Draw the student's accuracy by temperature, and the entropy of the soft targets.

    Args:
        shown: Temperature of the map of confusions.
    """

    shown: float

    def check(self, settings: Sequence[Mapping[str, str]], stages: Sequence[str]) -> None:
        """Raise ConfigError unless temperatures are swept, and the students are quantized."""
        swept = [job.get(SWEPT) for job in settings]
        require(None not in swept, SWEPT, "be swept in this study", swept)
        require(set(STAGES) <= set(stages), "technique", "distill and quantize", list(stages))

    def __call__(self, jobs: Sequence[Job], open_path: OpenPath, folder: Path) -> str:
        """Write temperature.png, confusion.png and temperature.json."""
        groups: dict[float, list[Job]] = defaultdict(list)
        for job in sorted(jobs, key=lambda job: job.number(SWEPT)):
            groups[job.number(SWEPT)].append(job)
        students = {
            stage: {t: [job.row(stage)["accuracy"] for job in group] for t, group in groups.items()}
            for stage in STAGES
        }
        with open_path() as path:
            dataset = path.dataset
            logits = predict(eager(path.variant(0).module), dataset, dataset.train).astype(float)
        entropy = {t: entropies(soften(logits, t)) for t in groups}
        mass = confusion(soften(logits, self.shown), dataset.train.labels, len(dataset.classes))
        table = {
            "accuracy": students,
            "entropy_bits": {t: float(bits.mean()) for t, bits in entropy.items()},
            "classes": list(dataset.classes),
            "confusion": {"temperature": self.shown, "mean_probability": mass.tolist()},
        }
        (folder / "temperature.json").write_text(json.dumps(table, indent=1) + "\n")
        summary = _summary(students, entropy, mass, dataset.classes, self.shown)
        _draw(students, entropy, summary.partition("\n")[0], folder / "temperature.png")
        _draw_map(mass, dataset.classes, self.shown, folder / "confusion.png")
        return f"{summary}\nsee {folder / 'temperature.png'} and {folder / 'confusion.png'}"


def soften(logits: Numbers, temperature: float) -> Numbers:
    """Return softmax(logits / T), (N, classes)."""
    from scipy.special import softmax

    return np.asarray(softmax(logits / temperature, axis=1))


def entropies(shares: Numbers) -> Numbers:
    """Return -sum p log2 p per row, in bits; log2(classes) for a teacher that knows nothing."""
    logs = np.log2(shares, where=shares > 0, out=np.zeros_like(shares))
    return np.asarray(-(shares * logs).sum(axis=1))


def confusion(shares: Numbers, labels: NDArray[np.int64], classes: int) -> Numbers:
    """Return the mean shares per class of the image, (class, prediction); the diagonal is 0."""
    mass = np.stack([shares[labels == label].mean(axis=0) for label in range(classes)])
    np.fill_diagonal(mass, 0.0)
    return mass


def _summary(
    students: Mapping[str, Mapping[float, Sequence[float]]],
    entropy: Mapping[float, Numbers],
    mass: Numbers,
    classes: Sequence[str],
    shown: float,
) -> str:
    lines = []
    for stage, accuracies in students.items():
        means = {t: mean_margin(values) for t, values in accuracies.items()}
        best, worst = (choose(means, key=lambda t: means[t][0]) for choose in (max, min))
        gap = 100 * (means[best][0] - means[worst][0])
        margin = 100 * (means[best][1] + means[worst][1])
        verdict = (
            "more than their intervals"
            if gap > margin
            else "within their intervals: no effect seen"
        )
        lines.append(
            f"{STAGES[stage]}: T {best:g} is best with {means[best][0]:.2%}, T {worst:g} worst "
            f"with {means[worst][0]:.2%}; {gap:.2f} points apart, {verdict} ({margin:.2f})."
        )
    first, last = min(entropy), max(entropy)
    lines.append(
        f"The soft targets of the training images have {entropy[first].mean():.2f} bits at "
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
    figure, (accuracy, bits) = sheet(title, 2, 5.4, 4.0)
    for index, (stage, accuracies) in enumerate(students.items()):
        color, style = BARS[index], ("-o", "--s")[index]
        means = [mean_margin(values) for values in accuracies.values()]
        places = [t * (1 + 0.04 * (2 * index - 1)) for t in accuracies]  # beside each other
        accuracy.errorbar(
            places, [100 * mean for mean, _ in means], _bars(means),
            fmt=style, color=color, capsize=3, markersize=5, label=STAGES[stage],
        )  # fmt: skip
        for place, values in zip(places, accuracies.values(), strict=True):
            spots = [100 * value for value in values]
            accuracy.plot([place] * len(spots), spots, ".", color=color, alpha=0.5)
    seeds = len(next(iter(next(iter(students.values())).values())))
    accuracy.set_title(
        f"mean of {seeds} seeds and its 95 % interval; dots: the seeds", loc="left", fontsize=10
    )
    accuracy.set_ylabel("student's accuracy, validation split, %")
    accuracy.legend(frameon=False, fontsize=9)
    low, middle, high = (
        [float(np.percentile(row, share)) for row in entropy.values()] for share in (5, 50, 95)
    )
    bits.fill_between(list(entropy), low, high, color=BARS[0], alpha=0.2, linewidth=0)
    bits.plot(list(entropy), middle, "-o", color=BARS[0], markersize=5)
    bits.set_title("median image, 5 % to 95 % shaded", loc="left", fontsize=10)
    bits.set_ylabel("entropy of the soft targets, bits")
    for axes in (accuracy, bits):
        axes.set_xscale("log", base=2)
        axes.set_xticks(list(entropy), [f"{t:g}" for t in entropy])
        axes.set_xlabel("temperature")
    save(figure, file)


def _bars(means: Sequence[tuple[float, float]]) -> list[list[float]]:
    """Return the lengths of intervals below and above their means, in %, up to 100."""
    return [
        [100 * margin for _, margin in means],
        [100 * min(margin, 1 - mean) for mean, margin in means],
    ]


def _draw_map(mass: Numbers, classes: Sequence[str], shown: float, file: Path) -> None:
    side = 0.42 * len(classes) + 2.2
    title = f"mean soft targets per class, at temperature {shown:g}"
    figure, (axes,) = sheet(title, 1, side + 0.8, side)
    axes.grid(visible=False)
    image = axes.imshow(100 * mass, cmap="Greys", vmin=0)
    places = list(range(len(classes)))
    axes.set_xticks(places, classes, rotation=45, ha="right")
    axes.set_yticks(places, classes)
    axes.set_xlabel("prediction")
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
    figure.colorbar(image, ax=axes, label="mean probability, %", shrink=0.8)
    save(figure, file)
