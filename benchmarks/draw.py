"""Tables and pictures of what the other benchmarks left in results/, for the README.

    python benchmarks/draw.py

Prints a Markdown table for each of headline and peers that has a result, and writes its picture,
docs/pictures/headline.png and peers.png.
"""

import json
from pathlib import Path
from typing import Any

from bench import RESULTS, ROOT

from paredown.pictures.labels import sides
from paredown.pictures.scale import widen_log
from paredown.pictures.sheet import logarithmic, save, sheet

PICTURES = ROOT / "docs" / "pictures"
OURS, THEIRS = "#1f5fbf", "#b04a00"
FAINT = "#77808c"
# name, MB (4 bytes per parameter where no bytes are stated), accuracy, offset of the label
PUBLISHED = (
    ("2 convolutions (hardmaru)", 0.4, 92.5, (-46, 8)),
    ("2 convolutions (Abel G.)", 0.45, 92.2, (-2, -16)),
    ("Isong 2025", 0.17, 89.0, (8, -3)),
    ("DenseNet-BC", 3.1, 95.4, (8, -3)),
    ("ResNet-18, more augmentation", 44.7, 94.9, (-82, 8)),
)  # the first two, DenseNet-BC and ResNet-18: Fashion-MNIST's page; Isong: arXiv 2501.15547
LEAST = 0.9  # accuracy that the picture of the peers begins at


def read(name: str) -> dict[str, Any] | None:
    """Read a result; None if there is none."""
    file = RESULTS / f"{name}.json"
    found: dict[str, Any] | None = json.loads(file.read_text()) if file.is_file() else None
    return found


def headline(found: dict[str, Any], file: Path) -> None:
    """Draw test accuracy by file size, with published networks; print the table of the seeds."""
    rows, means = found["seeds"], found["means"]
    figure, (axes,) = sheet("Fashion-MNIST: test accuracy by size of the file", 1, 7.6, 4.6)
    for name, size, accuracy, offset in PUBLISHED:
        axes.plot(size, accuracy, marker="o", fillstyle="none", color=FAINT, linestyle="")
        axes.annotate(
            name, (size, accuracy), offset, textcoords="offset points", fontsize=8, color=FAINT
        )
    peers = read("peers")
    files = [row for row in peers["found"] if row["who"].startswith("Paredown")] if peers else []
    front = [(row["size_mb"], 100 * row["accuracy"]) for row in files if row["on_front"]]
    smallest = rows[0]["size_mb"][1], means["accuracy"][0]
    front = [point for point in front if point[1] > smallest[1]]  # the others are dominated
    front = sorted([*front, smallest])
    axes.plot(*zip(*front, strict=True), marker="o", color=OURS, linewidth=1.6)
    teacher = rows[0]["size_mb"][0], means["teacher"][0]
    axes.plot(*teacher, marker="*", markersize=15, color=THEIRS, linestyle="")
    for text, place, offset, color in (
        ("ResNet-18,\nthe teacher: 44.7 MB", teacher, (-6, -34), THEIRS),
        (f"{means['smaller'][0]:.0f} times smaller,\n{means['faster'][0]:.0f} times faster,\n"
         f"{means['lost'][0]:.1f} points lost", smallest, (-62, -42), OURS),
        ("Paredown: files\nof that teacher", front[-1], (-30, -32), OURS),
    ):  # fmt: skip
        axes.annotate(text, place, offset, textcoords="offset points", fontsize=9, color=color)
    axes.set_xscale("log")
    axes.set_xlim(0.06, 160)
    axes.set_ylim(88.2, 96)
    logarithmic(axes.xaxis, axes.get_xlim())
    axes.set_xlabel("size of the file, MB, logarithmic")
    axes.set_ylabel("accuracy on the test split, %")
    save(figure, file)
    print("| | mean of three seeds [95 %] | seeds |\n|---|---|---|")
    told = {
        "teacher": "teacher, test, %",
        "accuracy": "picked variant, test, %",
        "lost": "points lost",
        "smaller": "times smaller",
        "faster": "times faster, same runtime",
        "faster_than_eager": "times faster than eager PyTorch",
    }
    for name, words in told.items():
        mean, low, high = means[name]
        own = ", ".join(f"{row[name]:.2f}" for row in rows)
        print(f"| {words} | {mean:.2f} [{low:.2f}, {high:.2f}] | {own} |")


def peers(rows: list[dict[str, Any]], file: Path) -> None:
    """Draw accuracy against size and against speed; print the table."""
    figure, panels = sheet("Fashion-MNIST: files of the same teacher, test split", 2, 5.8, 4.6)
    numbered = list(enumerate(rows, start=1))
    shown = [(number, row) for number, row in numbered if row["accuracy"] > LEAST]
    for axes, (key, label) in zip(
        panels, (("size_mb", "MB"), ("latency_ms", "ms, one image, one thread")), strict=True
    ):
        for own, color, marker, who in (
            (True, OURS, "o", "Paredown"),
            (False, THEIRS, "s", "peers"),
        ):
            some = [row for _, row in shown if row["who"].startswith("Paredown") == own]
            places = [row[key] for row in some], [100 * row["accuracy"] for row in some]
            fills = [color if row["on_front"] else "none" for row in some]
            axes.scatter(*places, marker=marker, facecolors=fills, edgecolors=color, s=46)
            axes.scatter([], [], marker=marker, color=color, label=f"{who}, on the front")
            axes.scatter([], [], marker=marker, facecolors="none", edgecolors=color,
                         label=f"{who}, dominated")  # fmt: skip
        low, high = widen_log([row[key] for _, row in shown])
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        axes.set_ylim(100 * LEAST, 93.3)
        logarithmic(axes.xaxis, (low, high))
        axes.set_xlabel(f"{label}, logarithmic")
        axes.set_ylabel("accuracy, %")
        below = [f"{number}: {row['accuracy']:.1%}" for number, row in numbered
                 if row["accuracy"] <= LEAST]  # fmt: skip
        if below:
            axes.set_title(f"below the axis: {', '.join(below)}", loc="left", fontsize=9)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    figure.draw_without_rendering()
    for axes, key in zip(panels, ("size_mb", "latency_ms"), strict=True):
        _number(axes, [(row[key], 100 * row["accuracy"], str(number)) for number, row in shown])
    save(figure, file)
    print("| | | accuracy, % [95 %] | MB | ms | times faster [95 %] | s | front |")
    print("|---|---|---|---|---|---|---|---|")
    for number, row in numbered:
        print(
            f"| {number} | {row['who']} | {row['accuracy']:.2%} [{row['accuracy_low']:.1%}, "
            f"{row['accuracy_high']:.1%}] | {row['size_mb']:.3f} | {row['latency_ms']:.3f} | "
            f"{row['speedup']:.1f} [{row['speedup_low']:.1f}, {row['speedup_high']:.1f}] | "
            f"{row['seconds']:.0f} | {'yes' if row['on_front'] else ''} |"
        )


def _number(axes: Any, points: list[tuple[float, float, str]]) -> None:
    """Write each point's number on the side of it that is free."""
    box, letter, radius = axes.get_window_extent(), 12.0, 6.0
    places = [tuple(axes.transAxes.inverted().transform(axes.transData.transform(each[:2])))
              for each in points]  # fmt: skip
    there = [(x * box.width, y * box.height) for x, y in places]
    texts = [text for *_, text in points]
    chosen = sides(there, texts, [], letter, radius, (box.width, box.height))
    for (x, y, text), (right, above) in zip(points, chosen, strict=True):
        axes.annotate(
            text, (x, y), (8 * right, 8 * above), textcoords="offset points", fontsize=9,
            ha="center", va="center",
        )  # fmt: skip


def main() -> None:
    """Draw and print what there is."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, draw in (("headline", headline), ("peers", peers)):
        result = read(name)
        if result is not None:
            print(f"\n{name}: {result['cpu']}, {result['cores']} cores\n")
            draw(result["found"], PICTURES / f"{name}.png")


if __name__ == "__main__":
    main()
