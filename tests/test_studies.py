"""The studies of sweeps: their arithmetic by hand, and each as a user types it."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from command import SMALL, run_here, runs_of

from paredown.measure.statistics import mean_margin
from paredown.studies import order, temperature, tradeoff
from paredown.studies.contract import Job, read_jobs

TINY = (
    *("model.width=8", "training.epochs=1", "prune.epochs=1", "prune.round_to=4"),
    *("measure.processes=2", "measure.rounds=2", "measure.eager=false", "hydra.sweep.dir=sweep"),
)
STUDIES = {
    "lab": (["lab.png", "lab.md", "lab.json"], [*SMALL[:4], *TINY, "measure.eager=true"]),
    "pruning_tradeoff": (["tradeoff.png", "tradeoff.json"], ["model=cnn4", *TINY]),
    "temperature_sweep": (
        ["temperature.png", "confusion.png", "temperature.json"],
        ["model=cnn4", "student.width=4", "seed=0,1", "distill.temperature=1,4", *TINY],
    ),
    "order": (
        ["order.png", "order.json"],
        [
            *("model@teacher.model=cnn4", "seed=0", "distill.epochs=1", "rehearse.epochs=1", *TINY),
            "technique.stages=[distill,prune,rehearse,quantize],[rehearse,prune,distill,quantize]",
        ],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_a_study_compares_its_jobs_and_keeps_what_it_found_on_the_sweeps_run(
    tmp_path: Path, name: str
) -> None:
    files, asked = STUDIES[name]
    done = run_here(tmp_path, f"experiment={name}", *asked)
    assert done.returncode == 0, done.stderr
    runs = runs_of(tmp_path)
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert parent.info.status == "FINISHED"
    kept = Path(parent.info.artifact_uri.removeprefix("file://")) / "study"
    assert sorted(file.name for file in kept.iterdir()) == sorted(files)
    for file in kept.glob("*.png"):
        assert file.read_bytes().startswith(b"\x89PNG")
    told = parent.data.tags["mlflow.note.content"]
    assert told.splitlines()[0] in done.stdout
    assert len(told) > 100


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["experiment=lab", "prune=structured"], "prune and quantize must have each once"),
        (["experiment=lab", "technique=prune_quantize"], "technique must be stack"),
        (["experiment=pruning_tradeoff", "prune.amount=0.1"], "comparison.amount must be swept"),
        (
            ["experiment=pruning_tradeoff", "prune=unstructured"],
            "prune in this study must be one of",
        ),
        (
            ["experiment=temperature_sweep", "technique=distill"],
            "technique must distill and quantize",
        ),
        (
            ["experiment=order", "technique.stages=[prune,quantize]"],
            "comparison.recipe must be one",
        ),
        (["experiment=lab", "hydra/sweeper=pareto"], "error: "),
    ],
)
def test_jobs_that_cannot_be_compared_are_refused_before_any_work(
    tmp_path: Path, asked: list[str], told: str
) -> None:
    done = run_here(tmp_path, *asked)
    assert done.returncode == 2
    assert told in done.stderr
    assert not (tmp_path / "store").exists()


def test_softened_answers_and_their_entropy_are_as_by_hand() -> None:
    logits = np.array([[math.log(4), 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert temperature.soften(logits, 1)[0] == pytest.approx([4 / 6, 1 / 6, 1 / 6])
    assert temperature.soften(logits, 2)[0] == pytest.approx([2 / 4, 1 / 4, 1 / 4])
    bits = temperature.entropies(temperature.soften(logits, 2))
    assert bits == pytest.approx([1.5, math.log2(3)])
    assert temperature.entropies(np.array([[1.0, 0.0]])) == pytest.approx([0])


def test_the_map_of_confusions_is_the_mean_answer_to_each_class_off_the_diagonal() -> None:
    shares = np.array([[0.5, 0.3, 0.2], [0.7, 0.1, 0.2], [0.1, 0.8, 0.1], [0.0, 0.4, 0.6]])
    mass = temperature.confusion(shares, np.array([0, 0, 1, 2]), 3)
    assert mass == pytest.approx(np.array([[0, 0.2, 0.2], [0.1, 0, 0.1], [0, 0.4, 0]]))


def test_the_margin_of_a_mean_is_student_t_of_its_values() -> None:
    mean, margin = mean_margin([1.0, 2.0, 3.0])
    assert mean == 2
    assert margin == pytest.approx(4.303 / math.sqrt(3), abs=1e-3)
    assert mean_margin([5.0]) == (5.0, 0.0)


def jobs_of(orders: dict[str, list[float]]) -> list[Job]:
    names = {"D": "distill", "P": "prune", "R": "rehearse"}
    return [
        Job(
            {
                "technique.stages": f"[{','.join(names[each] for each in short)},quantize]",
                "seed": str(seed),
            },
            [{"stage": "quantize", "accuracy": accuracy}],
            {},
        )
        for short, accuracies in orders.items()
        for seed, accuracy in enumerate(accuracies)
    ]


ORDER = order.Order(
    ["distill", "prune", "rehearse", "quantize"], {"distill": "D", "prune": "P", "rehearse": "R"}
)


def test_an_order_that_makes_no_difference_is_said_to_make_none(tmp_path: Path) -> None:
    told = ORDER(jobs_of({"DPR": [0.90, 0.92, 0.94], "RPD": [0.92, 0.91, 0.93]}), None, tmp_path)
    assert "no effect of the order is seen here" in told
    assert json.loads((tmp_path / "order.json").read_text())["RPD"] == {
        "0": 0.92,
        "1": 0.91,
        "2": 0.93,
    }


def test_an_order_that_is_worse_in_every_seed_is_told_with_its_margin(tmp_path: Path) -> None:
    told = ORDER(jobs_of({"DPR": [0.90, 0.92, 0.94], "RPD": [0.80, 0.82, 0.841]}), None, tmp_path)
    assert "DPR is better than RPD by 9.97 ± 0.14 points" in told
    assert "number 1 of 2" in told


def test_what_an_amount_saves_is_reconciled_in_words(tmp_path: Path) -> None:
    whole = {"stage": "baseline", "size_mb": 4.0, "macs": 100, "accuracy": 0.9, "zeros": 0.0}
    whole["params"] = 10
    row = {"stage": "prune", "accuracy": 0.8, "accuracy_low": 0.7, "accuracy_high": 0.85}
    cut = {**row, "size_mb": 1.0, "macs": 30, "speedup": 2.0, "sparsity": 0.75, "zeros": 0.0}
    mask = {**row, "size_mb": 4.0, "macs": 100, "speedup": 1.0, "sparsity": 0.0, "zeros": 0.75}
    mask["accuracy_high"] = 0.95
    asked = {"prune.amount": "0.5"}
    jobs = [
        Job({**asked, "prune": "structured"}, [whole, cut], {}),
        Job({**asked, "prune": "masked"}, [whole, mask], {}),
    ]
    told = tradeoff.Tradeoff(0.5)(jobs, None, tmp_path)
    assert "the file saves 75%, its MACs 70% and its latency 50%" in told
    assert "Latency falls 20 points less than MACs" in told
    assert "with 75% of the weights at zero, it saves 0% of the bytes and is 1.00 times" in told
    assert told.partition("\nsee")[0].endswith("by more than its bars: removed at 0.5.")
    assert (tmp_path / "tradeoff.png").is_file()


def test_a_jobs_settings_are_read_from_its_overrides() -> None:
    rows = [{"stage": "baseline", "accuracy": 0.5}, {"stage": "prune", "accuracy": 0.4}]
    (job,) = read_jobs(
        [{"overrides": ["prune.amount=0.5", "+x=a=b", "~y"], "rows": rows, "status": "FINISHED"}]
    )
    assert job.settings == {"prune.amount": "0.5", "x": "a=b"}
    assert job.number("prune.amount") == 0.5
    assert job.last["accuracy"] == 0.4
    assert job.row("baseline")["accuracy"] == 0.5
