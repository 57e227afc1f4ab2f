"""Every knob of docs/knobs.md, through `python run.py` and through a session: one pipeline."""

import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from command import ROOT, SMALL, run_here, runs_of

from paredown.config import composed
from paredown.errors import ConfigError
from paredown.run.path import VariantPath
from paredown.run.plan import plan
from paredown.session import Session, Step

COMMON = [text for text in SMALL if not text.startswith("prune.")]
PRUNE = {"epochs": 1, "round_to": 8}
VALUES = {  # of every knob that changes a file, another one than its default
    "prune.amount": 0.25,
    "prune.target.params": "60%",
    "prune.target.macs": "90%",
    "prune.target.size_mb": 9,
    "prune.target.latency_ms": 100,
    "prune.round_to": 4,
    "prune.scope": "global",
    "prune.steps": 1,
    "prune.rewind": 0,
    "distill.temperature": 2.0,
    "distill.alpha": 0.25,
    "distill.views": 2,
    "training.epochs": 2,
    "training.batch_size": 32,
    "training.learning_rate": 0.001,
    "quantize.bits": 4,
    "quantize.calibration_images": 32,
    "quantize.range": "percentile",
    "quantize.per_channel": False,
    "quantize.symmetric": True,
    "quantize.bias_correction": False,
    "quantize.keep_float": ["first"],
    "quantize.max_drop": 0.5,
    "quantize.ladder": [],
    "runtime.threads": 2,
    "dataset.mean": [0.5],
    "dataset.std": [0.25],
    "dataset.crop": 1,
    "dataset.mixup": 0.1,
    "teacher.members": 2,
    "seed": 7,
}
ELSEWHERE = {  # what a run of the digits cannot be given, or what judges files and makes none
    "runtime.compile",
    "dataset.channels",
    "dataset.resize",
    "dataset.center",
    "dataset.interpolation",
    "dataset.flip",
    "model.weights",
    "budget.accuracy",
    "budget.size_mb",
    "budget.latency_ms",
    "pick.tolerance",
    "pick.sweep",
    "pick.folder",
    "pick.name",
    "pick.remeasure",
}


def documented() -> set[str]:
    """List the knobs of the page; `.size_mb` belongs to the knob before it."""
    knobs, first = set(), ""
    page = (ROOT / "docs" / "knobs.md").read_text().partition("## Knobs")[2]
    for line in page.splitlines():
        if not line.startswith("| `"):
            continue
        for name in re.findall(r"`([^`]+)`", line.split("|")[1]):
            if name.startswith("."):
                name = first.rpartition(".")[0] + name
            else:
                first = name
            knobs.add(name)
    return knobs | {"quantize.ladder"}


def test_every_knob_of_the_page_is_walked() -> None:
    assert documented() == VALUES.keys() | ELSEWHERE


def text(value: object) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(text, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def through_run(folder: Path, *overrides: str) -> VariantPath:
    """Return the path that run.py would walk."""
    planned = plan(composed(*COMMON, *overrides, f"store.folder={folder}"))
    with planned.store.open() as store:
        return planned.path(planned.dataset.load(), store)


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a session name its results, and make none of them."""
    monkeypatch.setattr(VariantPath, "variant", lambda *_: None)
    monkeypatch.setattr(VariantPath, "measured", lambda *_: {"accuracy": 1.0, "accuracy_low": 1.0})


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The key of the last file with every knob at its default."""
    folder = tmp_path_factory.mktemp("plain")
    fixed = (f"prune.{key}={number}" for key, number in PRUNE.items())
    return through_run(folder, *fixed).keys.program(3)


def stacked(session: Session, own: dict[str, dict[str, object]]) -> Step:
    """Distill, prune and quantize, each with its own settings."""
    student = session.distill("cnn4", **own.get("distill", {}))
    pruned = session.prune(student, **PRUNE, **own.get("prune", {}))
    return session.quantize(pruned, **own.get("quantize", {}))


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("knob", sorted(VALUES))
def test_a_knob_means_the_same_through_both(knob: str, plain: str, tmp_path: Path) -> None:
    value, store = VALUES[knob], f"store.folder={tmp_path}"
    group, _, name = knob.partition(".")
    settings: dict[str, object] = {name: value}
    overrides = [f"{knob}={text(value)}"]
    if knob in ("dataset.mean", "dataset.std"):
        overrides = [f"{key}={text(VALUES[key])}" for key in ("dataset.mean", "dataset.std")]
    if name.startswith("target."):
        settings = {"amount": None, "target": {name.removeprefix("target."): value}}
        overrides.append("prune.amount=null")
    fixed = [f"prune.{key}={number}" for key, number in PRUNE.items() if f"prune.{key}" != knob]
    expected = through_run(tmp_path, *fixed, *overrides).keys
    in_call = group in ("distill", "prune", "quantize")
    of_session = [] if in_call else overrides
    session = Session(*COMMON, *of_session, store)
    own = {group: settings} if in_call else {}
    if knob == "prune.round_to":
        student = session.distill("cnn4")
        step = session.quantize(session.prune(student, **{**PRUNE, "round_to": 4}))
    else:
        step = stacked(session, own)
    ours = step.path.keys
    assert [ours.program(index) for index in range(4)] == [
        expected.program(index) for index in range(4)
    ]
    assert [ours.seed(index) for index in range(4)] == [expected.seed(index) for index in range(4)]
    if knob not in ("prune.steps", "quantize.bias_correction", "runtime.threads"):  # no other file
        assert ours.program(3) != plain


def test_views_rewind_and_a_target_give_the_same_files_through_both(tmp_path: Path) -> None:
    own = ("distill.views=2", "prune.amount=null", "prune.target.params=60%", "prune.rewind=0")
    done = run_here(tmp_path, *SMALL, "student.width=8", *own)
    assert done.returncode == 0, done.stderr
    (run,) = runs_of(tmp_path)
    session = Session(*COMMON, "student.width=8", f"store.folder={tmp_path / 'other'}")
    student = session.distill("cnn4", views=2)
    settings = {**PRUNE, "amount": None, "target": {"params": "60%"}, "rewind": 0}
    pruned = session.prune(student, **settings)
    last = session.quantize(pruned)
    for step, name in ((student, "distill"), (pruned, "prune"), (last, "quantize")):
        session.lower(step, tmp_path / name)
        digests = [sha256(file.read_bytes()).hexdigest() for file in (tmp_path / name).iterdir()]
        assert run.data.tags[f"{name}/sha256"] == ",".join(digests)
    (row,) = session.measure(last=last)
    assert row["accuracy"] == pytest.approx(run.data.metrics["quantize/accuracy"])
    assert row["params"] == run.data.metrics["quantize/params"]


def refused(overrides: list[str]) -> str:
    with pytest.raises(ConfigError) as error:
        plan(composed(*COMMON, *overrides)).load()
    return str(error.value)


@pytest.mark.parametrize(
    ("overrides", "call"),
    [
        (["prune.amount=2"], lambda session: session.prune(session.distill("cnn4"), amount=2)),
        (["distill.alpha=2"], lambda session: session.distill("cnn4", alpha=2)),
        (["distill.views=-1"], lambda session: session.distill("cnn4", views=-1)),
        (["prune.rewind=99"], lambda session: session.prune(session.distill("cnn4"), rewind=99)),
        (
            ["quantize.bits=1", "technique=quantize"],
            lambda session: session.quantize(session.train("cnn4"), bits=1),
        ),
    ],
)
@pytest.mark.usefixtures("untrained")
def test_a_bad_value_is_refused_alike(
    overrides: list[str], call: Callable[[Session], Step], tmp_path: Path
) -> None:
    session = Session(*COMMON, f"store.folder={tmp_path}")
    with pytest.raises(ConfigError) as error:
        call(session)
    assert str(error.value) == refused(overrides)
