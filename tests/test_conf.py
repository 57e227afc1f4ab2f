"""Contracts that walk conf/: what stands on disk is found, built and kept honest here."""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from paredown.config import build_all, composed
from paredown.run.plan import plan

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
PARTS = sorted(
    path.relative_to(CONF)
    for path in (*CONF.glob("*/*.yaml"), *CONF.glob("*/*/*.yaml"))
    if path.relative_to(CONF).parts[0] not in ("technique", "experiment", "hydra")
)
FIXED = {  # knobs whose names the design fixes, where they exist so far
    "seed",
    "technique.stages",
    "training.epochs",
    "training.batch_size",
    "training.learning_rate",
    "distill.temperature",
    "distill.alpha",
    "prune.amount",
    "prune.round_to",
    "prune.steps",
    "prune.rewind",
    "prune.target",
    "quantize.bits",
    "quantize.per_channel",
    "quantize.calibration_images",
    "runtime.threads",
    "tracking.uri",
    "tracking.experiment",
    "store.folder",
    "budget.accuracy",
    "budget.size_mb",
    "budget.latency_ms",
    "pick.folder",
    "pick.sweep",
    "pick.tolerance",
    "pick.remeasure",
}


@pytest.mark.parametrize("part", PARTS, ids=str)
def test_the_keys_of_a_part_are_the_fields_of_its_dataclass(part: Path) -> None:
    node = yaml.safe_load((CONF / part).read_text())
    nested = [entry for entry in node.pop("defaults", []) if entry != "_self_"]
    cls = get_class(node.pop("_target_"))
    assert {*node, *(name for entry in nested for name in entry)} == {
        field.name for field in fields(cls)
    }
    assert cls.__dataclass_params__.frozen


@pytest.mark.parametrize("primary", ["config", "pick"])
def test_the_keys_of_a_part_of_its_own_are_the_fields_of_its_dataclass(primary: str) -> None:
    for key, node in composed(primary=primary).items():
        if isinstance(node, DictConfig) and "_target_" in node:
            cls = get_class(node["_target_"])
            assert set(node) - {"_target_"} == {field.name for field in fields(cls)}, key
            assert cls.__dataclass_params__.frozen


def test_run_and_pick_share_their_budget_and_their_tracking() -> None:
    run, pick = composed(), composed(primary="pick")
    build_all(pick)
    assert (run.budget, run.tracking) == (pick.budget, pick.tracking)


@pytest.mark.parametrize("part", PARTS, ids=str)
def test_every_part_builds_in_its_place(part: Path) -> None:
    group, option = part.parent.as_posix(), part.stem
    assert group.partition("/")[0] in build_all(composed(f"{group}={option}"))


@pytest.mark.parametrize("path", sorted((CONF / "technique").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_technique_makes_a_plan(path: Path) -> None:
    stages = list(plan(composed(f"technique={path.stem}")).stages)
    assert stages == ["baseline", *yaml.safe_load(path.read_text())["stages"]]


@pytest.mark.parametrize("path", sorted((CONF / "model").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_model_has_a_logit_a_class(path: Path) -> None:
    import torch

    if path.stem == "timm":
        pytest.importorskip("timm", reason="needs timm")
    model = build_all(composed(f"model={path.stem}"))["model"]
    network = model.build(7, (3, 32, 32)).eval()
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    assert model.name == {"custom": "MobileNetV2"}.get(path.stem, path.stem)


def test_options_of_a_group_share_the_names_of_their_knobs() -> None:
    known = set()
    for part in PARTS:
        node = yaml.safe_load((CONF / part).read_text())
        known |= {f"{part.parent.name}.{key}" for key in node}
    config = {**composed(primary="pick"), **composed()}
    known |= {"seed", "technique.stages"}
    for key in ("tracking", "store", "budget", "pick"):
        known |= {f"{key}.{name}" for name in config[key]}
    assert known >= FIXED


def test_every_folder_with_python_behind_it_has_a_twin() -> None:
    source = ROOT / "src" / "paredown"
    groups = {path.parts[0] for path in PARTS}
    assert groups <= {path.name for path in source.iterdir() if path.is_dir()}


def test_every_knob_is_explained_by_a_comment() -> None:
    plain = re.compile(r"^(_target_|name|student|training|model|defaults)\b")
    for part in PARTS:
        for line in (CONF / part).read_text().splitlines():
            if re.match(r"^\w+:", line) and not plain.match(line) and "${distill." not in line:
                assert "#" in line, f"{part}: {line}"


def test_building_every_part_imports_no_heavy_library() -> None:
    code = f"""
import sys
sys.path.insert(0, {str(ROOT / "src")!r})
from hydra import compose, initialize_config_dir
from paredown.run.plan import plan
with initialize_config_dir({str(CONF)!r}, version_base="1.3"):
    plan(compose("config"))
print(sorted({{"torch", "mlflow", "optuna", "onnxruntime", "torch_pruning"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_interpolations_do_not_lean_on_hydra() -> None:
    cfg = composed()
    assert "${hydra" not in OmegaConf.to_yaml(cfg)


def test_the_readme_lists_the_options_that_conf_has() -> None:
    readme = (ROOT / "README.md").read_text()
    groups = ("dataset", "model", "technique", "distill", "prune", "prune/criterion", "quantize")
    for group in (*groups, "runtime", "experiment"):
        (row,) = re.findall(rf"^\| `{group}=`.*\| (.*) \|$", readme, re.MULTILINE)
        assert row.split(", ") == sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def test_the_page_of_knobs_states_the_defaults_that_conf_has() -> None:
    cfg = {**composed(primary="pick"), **composed()}
    page = (ROOT / "docs" / "knobs.md").read_text()
    rows = re.findall(r"^\| `([a-z.]+\.[a-z_]+)` \| ([\d.]+) \|", page, re.M)
    assert len(rows) >= 5
    for key, value in rows:
        assert float(OmegaConf.select(OmegaConf.create(cfg), key)) == float(value), key
