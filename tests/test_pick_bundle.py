"""The bundle: its files, and predict.py alone, without torch and without paredown."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paredown.budget import Budget
from paredown.dataset import Dataset
from paredown.errors import ConfigError
from paredown.host.machine import cpu_name
from paredown.pick import Pick
from paredown.pick.bundle import bundle_folder, predict
from paredown.pick.candidates import Candidate
from paredown.pick.card import one_line
from paredown.printable import in_markdown
from paredown.runtime import Runtime
from paredown.runtime.executorch import ExecuTorch
from paredown.runtime.onnxruntime import OnnxRuntime
from paredown.runtime.openvino import OpenVino
from paredown.runtime.torch import Torch
from paredown.store.hashing import sha256_of

ROOT = Path(__file__).parents[1]
ALONE = """
import runpy, sys
sys.modules["torch"] = sys.modules["paredown"] = None  # importing them fails
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
PARTS = [
    "SHA256SUMS", "answers.csv", "card.md", "model.onnx", "predict.py", "preprocess.json",
    "requirements.txt", "test.json",
]  # fmt: skip


@pytest.fixture(scope="module")
def picked(swept: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the smallest variants, picked as a user does, then copied elsewhere."""
    arguments = ["budget.size_mb=0.05", "pick.name=null", "pick.folder=bundle"]
    command = [sys.executable, str(ROOT / "pick.py"), *arguments]
    before = {path.name for path in swept.iterdir()}
    done = subprocess.run(command, cwd=swept, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in swept.iterdir()} - before == {"bundle"}
    copy = tmp_path_factory.mktemp("elsewhere") / "copy"
    shutil.copytree(swept / "bundle", copy)
    (copy.parent / "stdout").write_text(done.stdout)
    return copy


@pytest.fixture(scope="module")
def images(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test images as PNGs, in a folder a class."""
    folder = tmp_path_factory.mktemp("test")
    for number, (image, label) in enumerate(
        zip(digits.test.images, digits.test.labels, strict=True)
    ):
        place = folder / digits.classes[label]
        place.mkdir(exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(place / f"{number:04}.png")
    return folder


def alone(bundle: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", ALONE, str(bundle / "predict.py"), *map(str, arguments)]
    return subprocess.run(
        command, cwd=bundle.parent, capture_output=True, text=True, check=False, timeout=120
    )


def stated(bundle: Path) -> tuple[int, int]:
    """Read from the card how many of how many test images the file names rightly."""
    hits, count = re.findall(r"(\d+) of (\d+) images", (bundle / "card.md").read_text())[0]
    return int(hits), int(count)


def test_predict_alone_gives_exactly_the_stated_test_accuracy(picked: Path, images: Path) -> None:
    done = alone(picked, images, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    hits = sum(Path(answer["file"]).parent.name == answer["class"] for answer in answers)
    assert (hits, len(answers)) == stated(picked)
    assert all(0.1 <= answer["probability"] <= 1 for answer in answers)
    assert f"{hits / len(answers):.2%}" in (picked.parent / "stdout").read_text()


@pytest.mark.slow
def test_predict_in_a_fresh_environment_gives_exactly_the_stated_test_accuracy(
    picked: Path, images: Path, tmp_path: Path
) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    clean = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    install = [python, "-m", "pip", "install", "-q", "-r", str(picked / "requirements.txt")]
    subprocess.run(install, check=True, env=clean)
    command = [python, str(picked / "predict.py"), str(images), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=clean)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    hits = sum(Path(answer["file"]).parent.name == answer["class"] for answer in answers)
    assert (hits, len(answers)) == stated(picked)


def test_the_bundle_holds_its_parts_and_their_checksums(picked: Path) -> None:
    assert sorted(path.name for path in picked.iterdir()) == PARTS
    checked = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=picked, capture_output=True, text=True, check=True
    )
    assert checked.stdout.count(": OK") == len(PARTS) - 1
    packages = (picked / "requirements.txt").read_text().splitlines()
    assert [line.partition(">=")[0] for line in packages] == ["numpy", "pillow", "onnxruntime"]
    rules = json.loads((picked / "preprocess.json").read_text())
    assert (rules["size"], rules["channels"], len(rules["classes"])) == ([32, 32], 3, 10)


def test_the_bundle_says_of_every_test_image_and_class_what_was_answered(picked: Path) -> None:
    found = json.loads((picked / "test.json").read_text())
    with (picked / "answers.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    hits, count = stated(picked)
    assert len(lines) == found["images"] == count
    assert sum(line["class"] == line["answer"] for line in lines) == hits
    before = sum(line["class"] == line["baseline"] for line in lines)
    assert found["baseline_accuracy"] == before / count
    confusion = np.array(found["confusion"])
    for index, each in enumerate(found["classes"]):
        of_class = [line for line in lines if line["class"] == each["name"]]
        right = sum(line["answer"] == each["name"] for line in of_class)
        assert each["accuracy"] == right / each["images"]
        assert (confusion[index].sum(), confusion[index, index]) == (each["images"], right)
    assert hits / count <= found["top5"] <= 1
    card = (picked / "card.md").read_text()
    assert f"Top-5 accuracy: {found['top5']:.2%}" in card
    worst = min(found["classes"], key=lambda each: each["accuracy"])
    first = card.split("|---|---|---|---|\n")[1].splitlines()[0]
    assert first.startswith(f"| {worst['name']} | {worst['images']} | {worst['accuracy']:.1%} |")


def test_a_pick_tells_programs_in_json_what_it_made(
    swept: Path, picked: Path, tmp_path: Path
) -> None:
    def run(size: str) -> subprocess.CompletedProcess[str]:
        place = f"pick.folder={tmp_path / 'bundle'}"
        command = [sys.executable, str(ROOT / "pick.py"), size, "pick.name=null", place, "--json"]
        return subprocess.run(command, cwd=swept, capture_output=True, text=True, check=False)

    done = run("budget.size_mb=0.05")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["test"] == json.loads((picked / "test.json").read_text())
    assert found["figures"]["size_mb"] <= 0.05
    sums = (tmp_path / "bundle" / "SHA256SUMS").read_text()
    assert f"{found['sha256']['model.onnx']}  model.onnx\n" in sums
    missed = run("budget.size_mb=0.000001")
    assert missed.returncode == 3
    assert json.loads(missed.stdout)["picked"] is None


def test_the_card_says_how_it_was_made_and_what_it_is_worth(picked: Path) -> None:
    card = (picked / "card.md").read_text()
    for text in ("python run.py ", "prune.amount=0.", "model=cnn4", "onnxruntime, 1 threads",
                 "Against the float32 baseline", "size_mb at most 0.05", "validation accuracy",
                 "## Limits", "| MACs, millions |"):  # fmt: skip
        assert text in card
    assert "None" not in card
    assert str(ROOT) not in card


def test_predict_is_short_and_states_its_use(picked: Path) -> None:
    lines = (picked / "predict.py").read_text().splitlines()
    assert len(lines) < 90
    assert max(map(len, lines)) <= 100
    done = alone(picked, "--help")
    assert "FILE_OR_FOLDER" in done.stdout


def test_the_threads_that_were_measured_are_those_of_predict(tmp_path: Path) -> None:
    text = predict(OnnxRuntime(3, "onnxruntime"))
    compile(text, "predict.py", "exec")
    assert "open_onnx(Path(__file__).parent, 3)" in text


@pytest.mark.parametrize(
    "runtime",
    [OpenVino(2, "openvino"), ExecuTorch(2, "executorch", 1), Torch(2, "torch", compile=True)],
    ids=lambda runtime: runtime.name,
)
def test_predict_is_as_short_for_every_runtime(runtime: Runtime) -> None:
    text = predict(runtime)
    compile(text, "predict.py", "exec")
    assert len(text.splitlines()) < 90
    assert max(map(len, text.splitlines())) <= 100
    assert runtime.standalone is not None
    assert f"{runtime.standalone.open.__name__}(Path(__file__).parent, 2)" in text
    assert "paredown" not in text.partition('"""')[2].partition('"""')[2]


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """Files that a device meets."""
    folder = tmp_path / "odd"
    (folder / "empty").mkdir(parents=True)
    good = Image.new("RGB", (32, 32), (200, 10, 10))
    good.save(folder / "good.png")
    good.convert("L").save(folder / "grey.png")
    good.convert("RGBA").save(folder / "alpha.png")
    palette = good.convert("P")
    palette.info["transparency"] = bytes(256)
    palette.save(folder / "palette.png", transparency=bytes(256))
    good.convert("1").save(folder / "bits.png")
    good.convert("CMYK").save(folder / "cmyk.jpg")
    Image.new("RGB", (1, 1)).save(folder / "one.png")
    Image.new("RGB", (500, 3)).save(folder / "wide.BMP")
    Image.fromarray(np.full((32, 32), 40_000, np.uint16)).save(folder / "deep.png")
    Image.new("1", (10_000, 10_000)).save(folder / "huge.png")
    (folder / "text.png").write_text("not an image\n")
    (folder / "nothing.png").write_bytes(b"")
    (folder / "cut.png").write_bytes((folder / "good.png").read_bytes()[:60])
    (folder / "ghost.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (folder / "notes.txt").write_text("not looked at in a folder")
    (folder / "naïve ümlaut.png").write_bytes((folder / "good.png").read_bytes())
    return folder


ANSWERED = {"good.png", "grey.png", "alpha.png", "palette.png", "bits.png", "cmyk.jpg", "one.png",
            "wide.BMP", "naïve ümlaut.png"}  # fmt: skip
REFUSED = {
    "text.png": "cannot identify image file",
    "nothing.png": "cannot identify image file",
    "cut.png": "",
    "ghost.png": "cannot identify image file",
    "deep.png": "more than 8 bits a channel",
    "huge.png": "could be decompression bomb",
}


def test_odd_files_are_answered_or_refused_in_one_line_each_and_the_others_go_on(
    picked: Path, odd: Path
) -> None:
    done = alone(picked, odd, odd / "empty", odd / "notes.txt", odd / "missing.png", "--json")
    assert done.returncode == 2
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert {Path(answer["file"]).name for answer in answers} == ANSWERED
    told = {line.partition(": ")[0]: line for line in done.stderr.splitlines()}
    assert len(told) == done.stderr.count("\n") == len(REFUSED) + 3
    for name, reason in REFUSED.items():
        assert reason in told[str(odd / name)]
    assert told[str(odd / "empty")].endswith(": a folder without images")
    assert "cannot identify" in told[str(odd / "notes.txt")]
    assert "No such file" in told[str(odd / "missing.png")]


def test_no_path_at_all_is_refused_with_exit_code_2(picked: Path) -> None:
    done = alone(picked)
    assert done.returncode == 2
    assert "usage:" in done.stderr


@pytest.fixture
def candidate(swept: Path) -> Candidate:
    from paredown.pick.candidates import gather
    from paredown.tracking import Tracking

    tracker = Tracking(f"sqlite:///{swept}/mlruns/mlflow.db", "paredown", None, None).visit()
    return gather(tracker.finished(), cpu_name()).candidates[0]


def test_an_untouched_bundle_is_replaced_and_nothing_else_is(
    picked: Path, candidate: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    named = bundle_folder(None, candidate)
    assert named == tmp_path / "picked" / f"{candidate.run.name}-{candidate.stage}"
    assert not named.parent.exists()
    (tmp_path / "empty").mkdir()
    assert bundle_folder("empty", candidate) == tmp_path / "empty"
    shutil.copytree(picked, tmp_path / "again")
    assert bundle_folder("again", candidate) == tmp_path / "again"
    (tmp_path / "again" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"got .*again with notes\.txt; name another folder"):
        bundle_folder("again", candidate)
    (tmp_path / "again" / "notes.txt").unlink()
    card = tmp_path / "again" / "card.md"
    card.write_text(card.read_text() + "and my own words\n")
    with pytest.raises(ConfigError, match=r"with card\.md"):
        bundle_folder("again", candidate)
    with pytest.raises(ConfigError, match="must be a folder"):
        bundle_folder(str(card), candidate)


def test_a_second_pick_replaces_the_bundle_and_leaves_nothing_beside_it(
    swept: Path, picked: Path, tmp_path: Path
) -> None:
    from paredown.pick import command
    from paredown.tracking import Tracking
    from paredown.tracking.restore import RunRestorer

    tracker = Tracking(f"sqlite:///{swept}/mlruns/mlflow.db", "paredown", None, None).visit()
    bench, place = RunRestorer(tracker, tmp_path / "work"), tmp_path / "out" / "bundle"
    (tmp_path / "work").mkdir()
    field = command.gather(tracker.finished(), cpu_name())
    for size in (0.05, 1.0):
        budget = Budget(None, size, None)
        chosen = command.choose(field, budget, Pick(None, None, 0.0, False, None), bench)
        parts, program = bench.parts(chosen.run), bench.program(chosen)
        exam = command.evaluate_on_test(parts, program, bench.program(chosen.baseline))
        card = {"card.md": command.write_card(chosen, exam, parts, budget)}
        assert command.bundle.bundle_folder(str(place), chosen) == place
        command.bundle.write(place, program, parts.dataset, parts.runtime, card)
        assert sha256_of(place / "model.onnx") == chosen.sha256
        assert [path.name for path in place.parent.iterdir()] == ["bundle"]
        assert f"size_mb at most {size:g}" in (place / "card.md").read_text()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("<script>alert(1)</script>", r"\<script\>alert(1)\</script\>"),
        ("a\n\n# b\x1b[31m", r"a \# b \[31m"),
        ("one | two `three`", r"one \| two \`three\`"),
        ("caf\udce9", "caf"),
        (r"a\|b", r"a\\\|b"),  # a backslash of theirs does not undo ours
        ("![x](http://host/x.png)", r"!\[x\](http://host/x.png)"),
    ],
)
def test_what_others_wrote_is_harmless_in_a_card(text: str, line: str) -> None:
    assert in_markdown(one_line(text)) == line


def test_a_command_in_a_block_of_code_is_one_line_as_it_was(tmp_path: Path) -> None:
    assert one_line("run.py 'a=<b>|c'\nrm") == "run.py 'a=<b>|c' rm"
