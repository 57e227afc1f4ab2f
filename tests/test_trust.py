"""Whoever can write to a store or to a run may give false numbers, and runs no code."""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from omegaconf import DictConfig, OmegaConf

from paredown import model
from paredown.cli.exits import user_errors
from paredown.config import build, build_all, composed
from paredown.dataset import Dataset
from paredown.dataset.digits import Digits
from paredown.errors import ConfigError
from paredown.foreign import own_classes, rebuild
from paredown.model.cnn4 import Cnn4
from paredown.pick import command
from paredown.run.path import VariantPath
from paredown.run.plan import plan
from paredown.runtime.onnxruntime import OnnxRuntime
from paredown.runtime.torch import Torch
from paredown.store.entry import MANIFEST, find_fault
from paredown.store.hashing import describe, sha256_of
from paredown.store.local import Store
from paredown.sweep import latency
from paredown.tracking import Tracking
from paredown.tracking.run import UNSENT, Run, upload
from paredown.tracking.tags import STAGES
from paredown.tracking.tracker import Tracker
from paredown.training import Training
from paredown.training.baseline import Baseline
from paredown.trust import MOVED, allow, import_class, stays_within
from paredown.variant import Variant

DATA = Path(__file__).with_name("data")
EVIL = """
from dataclasses import dataclass
from pathlib import Path

CANARY = Path(__file__).with_name("canary")
CANARY.write_text("imported")


@dataclass(frozen=True)
class Evil:
    name: str = "evil"

    def __post_init__(self):
        CANARY.write_text("made")


def Net(num_classes=10):
    CANARY.write_text("built")
"""
FIGURES = {
    "accuracy": 0.9, "accuracy_low": 0.8, "accuracy_high": 0.95, "size_mb": 0.1,
    "latency_ms": 0.1, "latency_ms_p95": 0.1, "speedup": 1.0, "params": 1.0, "macs": 1.0,
}  # fmt: skip
RUNTIME = {
    "_target_": "paredown.runtime.onnxruntime.OnnxRuntime",
    "threads": 1,
    "name": "onnxruntime",
}
TIMING = {
    "_target_": "paredown.measure.latency.Timing",
    "processes": 1,
    "rounds": 1,
    "turn_ms": 1.0,
}
DIGITS = {
    "_target_": "paredown.dataset.digits.Digits",
    "split_seed": 0,
    "crop": 2,
    "mixup": 0.0,
}
PARTS = {"runtime": RUNTIME, "measure": TIMING, "dataset": DIGITS}


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a file that is written as soon as anything of a hostile module runs."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    (folder / "hostile.py").write_text(EVIL)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PAREDOWN_ALLOW", "")
    yield folder / "canary"
    sys.modules.pop("hostile", None)


@pytest.fixture(scope="module")
def lowered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny network that ships."""
    folder = tmp_path_factory.mktemp("lowered")
    source = Cnn4(4, "small")
    network = source.build(10, (3, 32, 32)).eval()
    OnnxRuntime(1, "onnxruntime").lower(
        Variant(network, source), Digits(split_seed=0, crop=2).load(), folder
    )
    return folder


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    folder = tmp_path_factory.mktemp("tracked")
    found = Tracking(f"sqlite:///{folder}/mlflow.db", "paredown", None, None)
    found.connect()
    return found


class Attacker:
    """Writes runs to a tracking store as anybody can who reaches it."""

    def __init__(self, tracker: Tracker, folder: Path) -> None:
        self.tracker, self.folder = tracker, folder

    def run(self, config: object, files: list[Path], name: str = "run") -> Run:
        """Log a finished run of one stage.

        Args:
            config: Of config.yaml.
            files: That its stage ships.
            name: Of the run.
        """
        dataset = Digits(split_seed=0, crop=2).load()
        tags = {
            STAGES: "baseline",
            "dataset": f"{dataset.name} {dataset.fingerprint}",
            "runtime": f"{name}, 1 threads",
            "cpu": "of the attacker",
        }
        with self.tracker.run(name, self.folder, tags=tags) as kept:
            kept.log(metrics={f"baseline/{key}": value for key, value in FIGURES.items()})
            kept.log_text(config if isinstance(config, str) else yaml.dump(config), "config.yaml")
            places = [kept.keep(file, "baseline", sha256_of(file)) for file in files]
            kept.log(tags={"baseline/file": ",".join(places)})
            kept.log(tags={"baseline/sha256": ",".join(map(sha256_of, files))})
        return kept


@pytest.fixture
def attacker(tracking: Tracking, tmp_path: Path) -> Iterator[Attacker]:
    tracker = tracking.visit()
    yield Attacker(tracker, tmp_path)
    for run in tracker.finished():
        tracker.client.delete_run(run.id)


def asked(tracking: Tracking, folder: Path, *overrides: str) -> DictConfig:
    return composed(
        *("budget.accuracy=0", "pick.name=null", f"pick.folder={folder}"),
        *(f"tracking.uri={tracking.uri}", *overrides),
        primary="pick",
    )


def refused(capsys: pytest.CaptureFixture[str], cfg: DictConfig) -> str:
    """Pick as the command does; give its one line."""
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYDRA_FULL_ERROR", "0")  # what user_errors sets is no other test's
        with pytest.raises(SystemExit) as ended, user_errors("pick"):
            command.run(cfg)
    line = capsys.readouterr().err
    assert ended.value.code == 2
    assert line.startswith("error: ")
    assert line.count("\n") == 1
    return line


def nested(part: dict[str, object]) -> dict[str, object]:
    return {**part, "name": {"_target_": "hostile.Evil"}}


HOSTILE = {
    "a class": lambda part: {"_target_": "hostile.Evil"},
    "a function": lambda part: {"_target_": "os.system", "command": "touch canary"},
    "another part of Paredown": lambda part: {"_target_": "paredown.store.StoreFolder"},
    "a network of the user's": lambda part: {
        "_target_": "paredown.model.custom.Custom",
        "name": "custom",
        "target": "hostile.Net",
        "kwargs": None,
    },
    "a nested class": nested,
    "a class in a list": lambda part: {**part, "name": [{"_target_": "hostile.Evil"}]},
    "a call of Hydra's": lambda part: {**part, "_partial_": True},
    "an interpolation": lambda part: {**part, "name": "${oc.env:HOME}"},
    "no part": lambda part: "hostile.Evil",
}


@pytest.mark.parametrize("key", PARTS)
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_part_of_a_run_s_configuration_runs_no_code(key: str, kind: str, canary: Path) -> None:
    with pytest.raises(ConfigError, match=rf"^{key} of a run|name in {key} of a run"):
        rebuild(HOSTILE[kind](PARTS[key]), key, "a run")
    assert not canary.exists()


@pytest.mark.parametrize("key", PARTS)
def test_pick_refuses_a_run_whose_configuration_names_code_and_says_what_allows_it(
    key: str,
    canary: Path,
    attacker: Attacker,
    lowered: Path,
    tracking: Tracking,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    attacker.run({**PARTS, key: {"_target_": "hostile.Evil"}}, [lowered / "model.onnx"])
    line = refused(capsys, asked(tracking, tmp_path / "bundle"))
    assert f"{key} of config.yaml of run" in line
    assert "got hostile.Evil; if you trust who wrote it, trust.allow=[hostile.Evil] runs it" in line
    assert not canary.exists()
    assert not (tmp_path / "bundle").exists()


def test_pick_builds_no_network_and_takes_the_runtime_s_own_files_alone(
    canary: Path, attacker: Attacker, lowered: Path, tracking: Tracking, tmp_path: Path
) -> None:
    stray = tmp_path / "json.py"
    stray.write_text(EVIL)
    mine = {"_target_": "paredown.model.custom.Custom", "target": "hostile.Net", "name": "mine"}
    config = {**PARTS, "model": mine, "baseline": {"_target_": "hostile.Evil"}}
    attacker.run(config, [lowered / "model.onnx", stray])
    attacker.run({**PARTS, "runtime": {"_target_": "hostile.Evil"}}, [lowered / "model.onnx"], "b")
    attacker.run(config, [lowered / "model.onnx", stray])  # the newest, which is picked
    command.run(asked(tracking, tmp_path / "bundle"))
    names = sorted(file.name for file in (tmp_path / "bundle").iterdir())
    assert names == ["SHA256SUMS", "answers.csv", "card.md", "model.onnx", "predict.py",
                     "preprocess.json", "requirements.txt", "test.json"]  # fmt: skip
    assert not canary.exists()


def test_every_part_that_a_run_of_the_version_before_logged_can_be_rebuilt(canary: Path) -> None:
    """The file is a run's own config.yaml, of the version whose modules stood in no rooms."""
    text = (DATA / "config_of_a_run_before_the_rooms.yaml").read_text()
    logged, moved = yaml.safe_load(text), text
    for old, new in MOVED.items():
        moved = moved.replace(f"_target_: {old}\n", f"_target_: {new}\n")
    assert [f"{logged[key]['_target_']}" for key in ("measure", "budget")] == [
        "paredown.timing.Timing",
        "paredown.front.Budget",
    ]
    parts = build_all(OmegaConf.create(moved))
    assert parts.keys() == {key for key, node in logged.items() if "_target_" in str(node)}
    for key in ("dataset", "model", "training", "quantize", "runtime", "measure"):
        assert rebuild(logged[key], key, "a run") == parts[key]
    for key in ("student", "budget", "trust", "tracking", "store"):  # conf/ has no option of theirs
        allow(parts[key].__class__.__module__ + "." + parts[key].__class__.__qualname__)
        assert rebuild(logged[key], key, "a run") == parts[key]


@pytest.mark.parametrize("target", MOVED.values())
def test_every_class_that_has_moved_is_where_the_table_says(target: str) -> None:
    assert import_class(target, "a key").__name__ == target.rpartition(".")[2]


@pytest.mark.parametrize("target", ["paredown.nowhere.Net", "paredown.model.cnn4.Cnn5"])
def test_an_entry_of_a_store_of_a_class_that_is_gone_is_refused_with_its_path(
    target: str, lowered: Path, tmp_path: Path
) -> None:
    source = Cnn4(4, "small")
    model.save(source.build(10, (3, 32, 32)), source, 10, (3, 32, 32), tmp_path)
    architecture(tmp_path, {"_target_": target})
    with pytest.raises(ConfigError, match=rf"must name a class that exists, got {target}: "):
        model.load(tmp_path)


def test_code_that_the_user_names_is_run(canary: Path) -> None:
    allow("hostile.Evil")
    assert rebuild({"_target_": "hostile.Evil"}, "runtime", "a run").name == "evil"
    assert canary.read_text() == "made"


def test_a_file_of_a_run_that_leaves_its_folder_is_refused(
    attacker: Attacker,
    lowered: Path,
    tracking: Tracking,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = attacker.run(PARTS, [lowered / "model.onnx"])
    run.log(tags={"baseline/file": f"runs:/{run.id}/../../../etc/passwd"})
    assert "must be a file of a run" in refused(capsys, asked(tracking, tmp_path / "bundle"))
    run.log(tags={"baseline/file": f"runs:/{run.id}/a,runs:/{run.id}/b"})
    assert "must name 1 files, got 2" in refused(capsys, asked(tracking, tmp_path / "bundle"))


def test_pick_refuses_in_one_line_a_run_of_images_whose_class_is_no_text(
    attacker: Attacker,
    lowered: Path,
    tracking: Tracking,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in (b"cafe", b"caf\xe9"):
        (tmp_path / "photos" / os.fsdecode(name)).mkdir(parents=True)
    source = build(composed("dataset=image_folder", f"dataset.folder={tmp_path}/photos"), "dataset")
    attacker.run({**PARTS, "dataset": describe(source)}, [lowered / "model.onnx"])
    line = refused(capsys, asked(tracking, tmp_path / "bundle"))
    assert r"hold class folders named in UTF-8, got 'caf\\xe9'; rename it" in line
    assert not (tmp_path / "bundle").exists()


def test_machine_code_of_others_is_loaded_only_if_the_user_says_so(
    canary: Path,
    attacker: Attacker,
    tracking: Tracking,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    package = tmp_path / "model.pt2"
    package.write_bytes(b"machine code")
    compiled = {"_target_": "paredown.runtime.torch.Torch", "threads": 1, "name": "torch",
                "compile": True}  # fmt: skip
    attacker.run({**PARTS, "runtime": compiled}, [package])
    cfg = asked(tracking, tmp_path / "bundle")
    monkeypatch.setattr(os, "getuid", lambda: 4242)  # somebody else's file then
    line = refused(capsys, cfg)
    assert "must hold no machine code of others, got model.pt2; " in line
    assert "trust.allow=[model.pt2] runs it" in line


def architecture(folder: Path, node: dict[str, object]) -> None:
    """Write another network into a folder's architecture, and mend the manifest around it."""
    file = folder / "architecture.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "model": node}))
    for manifest in (folder / MANIFEST, folder.parent / MANIFEST):
        if manifest.is_file():
            told = json.loads(manifest.read_text())
            name = file.relative_to(manifest.parent).as_posix()
            told["files"][name] = sha256_of(file)
            manifest.write_text(json.dumps(told))


NETWORKS = {
    "a class": {"_target_": "hostile.Evil"},
    "a target": {
        "_target_": "paredown.model.custom.Custom",
        "name": "custom",
        "target": "hostile.Net",
        "kwargs": None,
        "weights": None,
    },
}


@pytest.mark.parametrize("entry", ["weights", "program"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_an_entry_of_a_store_that_names_code_is_refused(
    entry: str, kind: str, canary: Path, few: Dataset, training: Training, tmp_path: Path
) -> None:
    def path() -> VariantPath:
        stages = {"baseline": Baseline(Cnn4(4, "small"), replace(training, epochs=0))}
        return VariantPath(stages, few, Torch(1, "torch"), Store(tmp_path / "store"), 0)

    first = path()
    folder = first.weights(0) if entry == "weights" else first.shipped(0)
    architecture(folder, NETWORKS[kind])
    with pytest.raises(ConfigError, match=r"^model of architecture.json of entry \w+ of the store"):
        _ = path().variant(0) if entry == "weights" else path().shipped(0)
    assert not canary.exists()


def test_an_entry_of_another_class_than_asked_for_is_refused(
    few: Dataset, training: Training, tmp_path: Path
) -> None:
    source = Cnn4(4, "small")
    model.save(source.build(10, (3, 32, 32)), source, 10, (3, 32, 32), tmp_path)
    node = {"_target_": "paredown.model.torchvision.Torchvision", "name": "resnet18"}
    architecture(tmp_path, node)
    with pytest.raises(ConfigError, match=r"Torchvision.*somebody else wrote it"):
        model.load(tmp_path, source)


@pytest.mark.parametrize("kind", NETWORKS)
def test_timing_the_files_of_a_sweep_afterwards_runs_no_code(
    kind: str, canary: Path, attacker: Attacker, tmp_path: Path
) -> None:
    source = Cnn4(4, "small")
    model.save(source.build(10, (3, 32, 32)), source, 10, (3, 32, 32), tmp_path)
    architecture(tmp_path, NETWORKS[kind])
    eager = {"_target_": "paredown.runtime.torch.Torch", "threads": 1, "name": "torch"}
    files = [tmp_path / name for name in ("architecture.json", "model.safetensors")]
    run = attacker.run({**PARTS, "runtime": eager}, files)
    (logged,) = attacker.tracker.finished()
    waiting = replace(logged, metrics={})
    with pytest.raises(ConfigError, match=r"trust\.allow=\[hostile\.(Evil|Net)\] runs it"):
        latency._time(latency.RunRestorer(attacker.tracker, tmp_path), waiting)
    assert run.id == waiting.id
    assert not canary.exists()


def test_what_a_command_itself_names_needs_no_more_consent(
    canary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "my_net.py"
    file.write_text(
        "from torch import nn\n\n\ndef Net(num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(3072, num_classes))\n"
    )
    source = {"_target_": "paredown.model.custom.Custom", "name": "mine", "kwargs": None}
    node = {**source, "target": f"{file}:Net", "weights": None}
    with pytest.raises(ConfigError, match="my_net"):
        rebuild(node, "model", "a run")
    plan(composed("model=custom", f"model.target={file}:Net", "technique=baseline"))
    assert rebuild(node, "model", "a run").target == f"{file}:Net"


@pytest.mark.parametrize("key", ["model", *PARTS])
def test_paredown_s_own_classes_are_those_that_conf_names(key: str) -> None:
    assert own_classes(key)
    assert all(name.startswith("paredown.") for name in own_classes(key))


@pytest.mark.parametrize(
    "override",
    ["store.folder=s3://bucket/folder", "measure.latency=deferred tracking.uri=http://host:5000"],
)
def test_a_shared_place_and_machine_code_do_not_go_together_without_consent(
    override: str, canary: Path
) -> None:
    compiled = ("runtime=torch", "runtime.compile=true", *override.split())
    with pytest.raises(ConfigError, match=r"trust\.allow=\[model\.pt2\] runs it"):
        plan(composed(*compiled))
    plan(composed(*compiled, "trust.allow=[model.pt2]"))


def test_what_waits_in_a_sweep_s_folder_sends_no_file_from_elsewhere(
    tracking: Tracking,
    attacker: Attacker,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = attacker.run(PARTS, [])
    secret = tmp_path / "secret"
    secret.write_text("of the user")
    (tmp_path / "job").mkdir()
    opening = {"do": "open", "uri": tracking.uri, "run_id": run.id}
    for name in ("../secret", "a/../../secret", str(secret)):
        event = {"do": "file", "file": name, "folder": ""}
        text = "".join(json.dumps(line) + "\n" for line in (opening, event))
        (tmp_path / "job" / UNSENT).write_text(text)
        if ".." in name:
            with pytest.raises(ConfigError, match="must name files beside it"):
                upload(tmp_path / "job", tracking.uri)
        else:  # it is looked for beside the log
            upload(tmp_path / "job", tracking.uri)
            assert "secret is gone" in caplog.text
    assert attacker.tracker.client.list_artifacts(run.id, "secret") == []
    assert {each.path for each in attacker.tracker.client.list_artifacts(run.id)} == {"config.yaml"}


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../up", "a/../../up", "..", ".", "", "a//b", "C:/x", "c:x", "a\\..\\b",
     "\\\\host\\x", "a\x00b", "a\nb", "\x1b[2J", None, 3, ["a"]],
)  # fmt: skip
def test_a_name_that_leaves_its_folder_is_told(name: object) -> None:
    assert not stays_within(name)


@pytest.mark.parametrize("name", ["model.onnx", "program/model.onnx", "..a/b..", "ä.png"])
def test_a_name_within_its_folder_is_taken(name: str) -> None:
    assert stays_within(name)


def test_a_manifest_that_names_what_lies_elsewhere_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "entry").mkdir()
    (tmp_path / "outside").write_text("mine")
    files = {"../outside": sha256_of(tmp_path / "outside")}
    (tmp_path / "entry" / MANIFEST).write_text(json.dumps({"files": files}))
    assert "names a file that is not within it" in find_fault(tmp_path / "entry")
