"""What a pick says to programs: `pick.py --json`, and the bundle's test.json and answers.csv."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from paredown.budget import Budget
from paredown.dataset import Dataset
from paredown.pick.candidates import Candidate
from paredown.pick.exam import Exam
from paredown.run import cautions
from paredown.store.hashing import sha256_of


def picked(
    chosen: Candidate, exam: Exam, dataset: Dataset, budget: Budget, place: Path
) -> dict[str, Any]:
    """Describe what was picked, what it was measured at, and where its bundle lies."""
    figures = dict(chosen.figures)
    if not chosen.comparable:  # a pick without a limit on latency compares none
        figures["latency_ms"] = chosen.logged_ms
    return {
        "picked": chosen.title,
        "run": chosen.run.id,
        "stage": chosen.stage,
        "budget": dict(budget.limits),
        "figures": figures,
        "measured_on": chosen.measured,
        "test": summary(exam, dataset),
        "cautions": cautions.read(chosen.run.tags, chosen.stage),
        "bundle": str(place),
        "sha256": {path.name: sha256_of(path) for path in sorted(place.iterdir())},
    }


def summary(exam: Exam, dataset: Dataset) -> dict[str, Any]:
    """Sum up the answers to the test split, as plain numbers."""
    names = dataset.classes
    confusion = exam.confusion(len(names))
    return {
        "images": exam.count,
        "accuracy": exam.accuracy,
        "interval": list(exam.interval),
        "top5": exam.top5 / exam.count,
        "baseline_accuracy": exam.baseline_hits / exam.count,
        "only_baseline_right": exam.lost,
        "only_variant_right": exam.won,
        "p_value": exam.p,
        "classes": [
            {
                "name": name,
                "images": int(row.sum()),
                "accuracy": float(row[index] / row.sum()) if row.sum() else None,
            }
            for index, (name, row) in enumerate(zip(names, confusion, strict=True))
        ],
        "confusion": confusion.tolist(),
    }


def papers(exam: Exam, dataset: Dataset) -> dict[str, str]:
    """Write test.json, the summary, and answers.csv, a line for each image of the test split."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image", "class", "answer", "baseline"))
    names = dataset.classes
    every = zip(exam.labels, exam.answers, exam.before, strict=True)
    for number, (label, answer, before) in enumerate(every):
        writer.writerow((number, names[label], names[answer], names[before]))
    return {
        "test.json": json.dumps(summary(exam, dataset), indent=1) + "\n",
        "answers.csv": text.getvalue(),
    }
