"""A pick as data: the object of `pick.py --json`, and the bundle's test.json and answers.csv."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from paredown.budget import Budget
from paredown.dataset import Dataset
from paredown.pick.candidates import Candidate
from paredown.pick.test_result import TestResult
from paredown.run import cautions
from paredown.store.hashing import sha256_of


def pick_summary(
    candidate: Candidate, test: TestResult, dataset: Dataset, budget: Budget, folder: Path
) -> dict[str, Any]:
    """Describe the picked variant, its measurements and its bundle."""
    return {
        "picked": candidate.title,
        "run": candidate.run.id,
        "stage": candidate.stage,
        "budget": dict(budget.limits),
        "figures": candidate.reported_figures,
        "measured_on": candidate.measured,
        "test": summarize(test, dataset),
        "cautions": cautions.read(candidate.run.tags, candidate.stage),
        "bundle": str(folder),
        "sha256": {path.name: sha256_of(path) for path in sorted(folder.iterdir())},
    }


def summarize(test: TestResult, dataset: Dataset) -> dict[str, Any]:
    """Summarize a test result in plain numbers."""
    names = dataset.classes
    confusion = test.confusion(len(names))
    return {
        "images": test.count,
        "accuracy": test.accuracy,
        "interval": list(test.interval),
        "top5": test.top5_hits / test.count,
        "baseline_accuracy": test.baseline_hits / test.count,
        "only_baseline_right": test.only_baseline_correct,
        "only_variant_right": test.only_variant_correct,
        "p_value": test.p_value,
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


def result_files(test: TestResult, dataset: Dataset) -> dict[str, str]:
    """Return test.json, the summary, and answers.csv, one line per test image, by file name."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image", "class", "answer", "baseline"))
    names = dataset.classes
    triples = zip(test.labels, test.predictions, test.baseline_predictions, strict=True)
    for number, classes in enumerate(triples):
        writer.writerow((number, *(names[index] for index in classes)))
    return {
        "test.json": json.dumps(summarize(test, dataset), indent=1) + "\n",
        "answers.csv": text.getvalue(),
    }
