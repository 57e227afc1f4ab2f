"""A stored result is served exactly when nothing that determines it has changed."""

from functools import cache
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from paredown.config import composed
from paredown.run.plan import plan
from paredown.store.local import Store

BASE = ("model=cnn4", "model@student=cnn4", "student.width=16")
ALL, NONE = ["baseline", "distill", "prune", "quantize"], []
OTHER = {  # another valid value of a field that is a name
    "allow": "[my_net.py:Net]",
    "schedule": "cosine",
    "precision": "bfloat16",
    "device": "cpu",
    "name": "other",
    "uri": "sqlite:///other/mlflow.db",
    "experiment": "other",
    "folder": "other",
    "parent": "other",
    "trial": 1,
    "threads": 2,
    "accuracy": 0.5,
    "size_mb": 1.0,
    "latency_ms": 1.0,
    "bits": 4,
    "range": "mse",
    "keep_float": "[first]",
    "ladder": "[]",
    "max_drop": 0.5,
    "params": "50%",
    "macs": "50%",
    "scope": "global",
    "rewind": 1,
    "views": 4,
    "latency": "deferred",
    "channels": 1,
    "mean": 0.5,
    "std": 0.5,
}
BESIDE = {  # what must be set beside a field
    "prune.target": ["prune.amount=null"],
    "dataset.mean": ["dataset.std=0.376"],
    "dataset.std": ["dataset.mean=0.305"],
}


load = cache(lambda source: source.load())  # Plan.load checks the networks too, which moves no key


def keys(folder: Path, *overrides: str) -> dict[str, str]:
    parts = plan(composed(*BASE, *overrides))
    path = parts.path(load(parts.dataset), Store(folder))
    found = {name: path.keys.program(index) for index, name in enumerate(path.names)}
    weights = {f"{name} weights": path.keys.weights(i) for i, name in enumerate(path.names)}
    return found | weights


def changed_stages(key: str) -> list[str]:
    """Say which stages' weights a field determines, as a person would."""
    part, _, field = key.partition(".")
    if part in ("budget", "measure", "store", "tracking", "trust", "runtime") or field in (
        "threads",
        "device",
    ):
        return NONE
    first = {"student": 1, "distill": 1, "teacher": 1, "prune": 2, "quantize": 3}.get(part, 0)
    return ALL[first:]


def changed_programs(key: str) -> list[str]:
    part, _, field = key.partition(".")
    if part == "runtime" and field != "threads":
        return ALL
    return changed_stages(key)


def fields(cfg: DictConfig, prefix: str = "") -> list[str]:
    found = []
    for name in cfg:
        if OmegaConf.is_interpolation(cfg, name) or name in ("_target_", "stages"):
            continue
        child = cfg._get_node(name)
        if isinstance(child, DictConfig):
            found += fields(child, f"{prefix}{name}.")
        else:
            found.append(prefix + str(name))
    return found


def other(key: str, value: object) -> object:
    name = key.rpartition(".")[2]
    if name in OTHER:
        return OTHER[name]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    assert isinstance(value, float), f"say in OTHER what else {key} can be"
    return value / 2 + 0.01


CFG = composed(*BASE)
REFUSED = ("quantize.bias_correction", "teacher.epochs", "tracking.version")  # with what is beside
APART = (*REFUSED, "teacher.model", "model.weights", "student.weights")  # tested below
FIELDS = [key for key in fields(CFG) if key not in APART]


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return keys(tmp_path_factory.mktemp("store"))


@pytest.mark.parametrize("key", FIELDS)
def test_a_field_changes_the_keys_of_what_it_determines_and_no_others(
    key: str, unchanged: dict[str, str], tmp_path: Path
) -> None:
    beside = next((own for name, own in BESIDE.items() if key.startswith(name)), [])
    found = keys(tmp_path, f"{key}={other(key, OmegaConf.select(CFG, key))}", *beside)
    differ = {name for name in unchanged if unchanged[name] != found[name]}
    weights = {f"{stage} weights" for stage in changed_stages(key)}
    assert differ == weights | set(changed_programs(key))


@pytest.mark.parametrize("metric", ["size_mb", "latency_ms", "params"])
def test_the_runtime_determines_the_weights_exactly_where_they_are_pruned_to_its_files(
    metric: str, tmp_path: Path
) -> None:
    target = ("prune.amount=null", f"prune.target.{metric}=90%")
    one, other = (keys(tmp_path, *target, f"runtime.name={name}") for name in ("one", "other"))
    differ = {name for name in one if one[name] != other[name] and name.endswith("weights")}
    assert differ == (set() if metric == "params" else {"prune weights", "quantize weights"})


def test_a_key_is_the_same_in_another_place(unchanged: dict[str, str], tmp_path: Path) -> None:
    assert keys(tmp_path, "hydra.run.dir=elsewhere") == unchanged


def test_a_stage_of_the_same_name_and_settings_after_another_stage_has_another_key(
    tmp_path: Path,
) -> None:
    after_distill = keys(tmp_path, "technique.stages=[distill,prune]")
    after_baseline = keys(tmp_path, "technique.stages=[prune]")
    assert after_distill["prune weights"] != after_baseline["prune weights"]
    assert after_distill["baseline weights"] == after_baseline["baseline weights"]


def saved(file: Path, seed: int, width: int = 32) -> Path:
    """Write weights of a cnn4, which anyone could have trained."""
    import torch
    from safetensors.torch import save_file

    from paredown.model.cnn4 import Cnn4

    torch.manual_seed(seed)
    save_file(Cnn4(width, "cnn4").build(10, (3, 32, 32)).state_dict(), file)
    return file


def test_weights_count_by_their_content_wherever_they_lie(
    unchanged: dict[str, str], tmp_path: Path
) -> None:
    first, second = (saved(tmp_path / f"{seed}.safetensors", seed) for seed in (1, 2))
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(first.read_bytes())
    one, again, other = (keys(tmp_path, f"model.weights={file}") for file in (first, moved, second))
    assert one == again
    assert not set(one.values()) & set(other.values())
    assert not set(one.values()) & set(unchanged.values())


def test_another_teacher_changes_what_learns_from_it_and_not_the_baseline(
    unchanged: dict[str, str], tmp_path: Path
) -> None:
    wide = ("model@teacher.model=cnn4", "teacher.model.width=48")
    weights = saved(tmp_path / "wide.safetensors", 1, 48)
    found = [
        keys(tmp_path, *wide),
        keys(tmp_path, *wide, "teacher.epochs=3"),
        keys(tmp_path, *wide, "teacher.members=2"),
        keys(tmp_path, *wide, f"teacher.model.weights={weights}"),
        unchanged,
    ]
    assert len({each["baseline weights"] for each in found}) == 1
    for stage in ("distill weights", "prune weights", "quantize"):
        assert len({each[stage] for each in found}) == len(found)


def test_the_code_of_a_user_s_file_counts_by_its_content(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    code = (
        "from torch import nn\n\n\ndef Net(num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(3072, num_classes))\n"
    )
    mine = ("model=custom", f"model.target={file}:Net", "technique=baseline")
    found = []
    for text in (code, code, code + "# changed\n"):
        file.write_text(text)
        found.append(keys(tmp_path, *mine)["baseline weights"])
    assert found[0] == found[1] != found[2]
