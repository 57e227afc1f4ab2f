from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from paredown.cli.composition import is_search
from paredown.config import CONF, composed
from paredown.errors import ConfigError
from paredown.run.plan import plan
from paredown.sweep import callback
from paredown.sweep.grid import _configuration, _require_distinct, check_jobs


class Composing:
    """Composes, and counts how often."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, overrides: list[str]) -> DictConfig:
        self.count += 1
        return compose("config", overrides=overrides)


@pytest.fixture
def composing() -> Iterator[Composing]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield Composing()


def test_jobs_of_one_shape_are_composed_once(composing: Composing) -> None:
    jobs = [
        [f"model={model}", f"prune.amount={amount}", f"seed={seed}"]
        for model in ("cnn4", "resnet18")
        for amount in (0.1, 0.2, 0.3)
        for seed in (0, 1)
    ]
    first = check_jobs(jobs, composing)
    assert composing.count == 2
    assert first == plan(compose("config", overrides=jobs[0]))


GRID = (
    ("seed=0", "seed=1"),
    ("prune.amount=0.25", "prune.amount=1e-1", "prune.amount=null"),
    ("dataset=digits", "dataset=cifar10"),
    ("prune=structured", "prune=masked"),
    ("+prune.more=1", "~report"),
    ("technique.stages=[prune]", "technique.stages=[distill,prune]"),
    ("store.folder='a b'", "store.folder=null", 'store.folder="x=${seed}"'),
    ("training.epochs=3", "training.precision=float32"),
    ("model@student=cnn4", "student.width=12"),
)


@pytest.mark.parametrize("texts", GRID, ids=lambda texts: texts[0])
def test_a_job_has_the_configuration_that_hydra_would_compose(
    composing: Composing, texts: tuple[str, ...]
) -> None:
    shapes: dict = {}
    for text in (*texts, *reversed(texts)):
        overrides = ["model=cnn4", "model@student=cnn4", "training.epochs=2", text]
        if text == "~report":
            overrides = overrides[:-1]
        parsed = OverridesParser.create().parse_overrides(overrides)
        found = _configuration(parsed, shapes, composing)
        assert OmegaConf.to_container(found, resolve=True) == OmegaConf.to_container(
            compose("config", overrides=overrides), resolve=True
        )


@pytest.mark.parametrize(
    "bad", ["prune.amount=2", "prune.amount=text", "seed=-1", "prune.round_to=0"]
)
def test_the_one_bad_job_of_many_is_refused_as_it_would_be_alone(
    composing: Composing, bad: str
) -> None:
    good = [["model=cnn4", f"prune.amount=0.{number}", "seed=0"] for number in range(1, 9)]
    own = ["model=cnn4", "prune.amount=0.5", "seed=0"]
    job = [bad if text.startswith(bad.partition("=")[0]) else text for text in own]
    job = job if bad in job else [*job, bad]
    with pytest.raises(Exception) as alone:
        plan(compose("config", overrides=job))
    with pytest.raises(type(alone.value)) as among:
        check_jobs([*good, job], composing)
    assert str(among.value) == str(alone.value)


EQUAL = [
    ("prune.amount=0.3", "prune.amount=0.30", "prune.amount=0.3 and prune.amount=0.30, which are"),
    ("prune.amount=0", "prune.amount=0.0", "prune.amount=0 and prune.amount=0.0, which are equal"),
    ("seed=1", "seed=1", "model=cnn4 seed=1 twice"),
    ("technique.stages=[prune]", "technique.stages=[ prune ]", "which are equal"),
    ("store.folder=a", "store.folder='a'", "which are equal"),
]


@pytest.mark.parametrize(("one", "other", "told"), EQUAL)
def test_two_equal_jobs_are_refused_however_they_are_written(
    composing: Composing, one: str, other: str, told: str
) -> None:
    with pytest.raises(ConfigError, match=r"^hydra\.sweeper must make each job once") as refused:
        check_jobs([["model=cnn4", one], ["model=cnn4", other]], composing)
    assert told in str(refused.value)
    assert composing.count == 0


def test_the_last_value_of_a_name_tells_jobs_apart(composing: Composing) -> None:
    jobs = [["model=cnn4", "seed=3", "seed=0"], ["model=cnn4", "seed=3", "seed=1"]]
    assert check_jobs(jobs, composing).seed == 0
    jobs = [["model=cnn4", "seed=3", "seed=0"], ["model=cnn4", "seed=2", "seed=0"]]
    with pytest.raises(ConfigError, match="got seed=3 and seed=2, which are equal; leave one out"):
        check_jobs(jobs, composing)


def test_values_of_other_types_are_other_jobs() -> None:
    jobs = [[f"x={value}"] for value in ("1", "true", "'1'", "null", "[1]", "{a: 1}", "1.5")]
    every = [OverridesParser.create().parse_overrides(job) for job in jobs]
    _require_distinct(jobs, every)
    with pytest.raises(ConfigError, match="must make each job once"):
        _require_distinct([*jobs, jobs[0]], [*every, every[0]])


def swept(folder: Path, sweeper: str = "BasicSweeper") -> DictConfig:
    return OmegaConf.create(
        {"hydra": {"sweep": {"dir": str(folder)}, "sweeper": {"_target_": f"hydra.{sweeper}"}}}
    )


def test_jobs_that_were_checked_are_not_composed_once_more() -> None:
    sweeper = get_class(callback.SWEEPER)(max_batch_size=None)
    sweeper.validate_batch_is_legal([["no.such.key=1"]])
    assert not is_search(swept(Path(), "GridSweeper").hydra)


@pytest.mark.parametrize("left", ["study.journal", "front.json"])
def test_a_grid_is_refused_in_the_folder_of_a_search(tmp_path: Path, left: str) -> None:
    callback._require_own_folder(swept(tmp_path))
    (tmp_path / left).touch()
    callback._require_own_folder(swept(tmp_path, "ParetoSweeper"))
    with pytest.raises(ConfigError, match=r"^hydra\.sweep\.dir must be a folder of its own"):
        callback._require_own_folder(swept(tmp_path))


NET = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(nn.Flatten(), nn.Linear(3072, num_classes))
"""


def test_a_search_does_not_go_on_with_another_network_or_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net.py").write_text(NET)
    target = f"model.target={tmp_path}/net.py:Net"
    parts = plan(composed("model=custom", target, "technique=baseline"))
    folder = tmp_path / "search"
    callback._require_same(parts, folder)
    (folder / "study.journal").touch()
    callback._require_same(parts, folder)
    (tmp_path / "net.py").write_text(NET + "# edited\n")
    with pytest.raises(ConfigError, match="in which the code or weights of a network was another"):
        callback._require_same(parts, folder)
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.setattr("paredown.run.keys.version", lambda: "9.9-0")
    with pytest.raises(ConfigError, match="in which Paredown was another"):
        callback._require_same(parts, folder)
    (folder / "made_of.json").unlink()  # as an older version left it
    with pytest.raises(ConfigError, match="in which Paredown was another"):
        callback._require_same(parts, folder)
