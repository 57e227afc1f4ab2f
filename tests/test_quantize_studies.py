"""The studies and techniques of quantization as a user types them."""

import json
from pathlib import Path

import pytest
from command import SMALL, run_here, runs_of

CNN4_LAYERS = ["0", "12", "17", "4", "8"]


def artifacts(folder: Path) -> Path:
    (run,) = runs_of(folder)
    return Path(run.info.artifact_uri.removeprefix("file://"))


def test_the_sensitivity_study_measures_every_layer_and_keeps_table_and_picture(
    tmp_path: Path,
) -> None:
    done = run_here(tmp_path, "experiment=quantize_sensitivity", *SMALL)
    assert done.returncode == 0, done.stderr
    found = json.loads((artifacts(tmp_path) / "study" / "sensitivity.json").read_text())
    assert sorted(cost["layer"] for cost in found) == CNN4_LAYERS
    assert all(0 <= cost["agreement"] <= 1 and cost["error"] > 0 for cost in found)
    errors = [cost["error"] for cost in found]
    assert errors == sorted(errors, reverse=True)
    assert f"{found[0]['layer']}: " in done.stdout
    assert f"quantize.keep_float=[{','.join(cost['layer'] for cost in found[:3])}]" in done.stdout
    picture = (artifacts(tmp_path) / "study" / "sensitivity.png").read_bytes()
    assert picture.startswith(b"\x89PNG")


def test_the_sensitivity_study_wants_a_stage_that_quantizes(tmp_path: Path) -> None:
    done = run_here(tmp_path, "experiment=quantize_sensitivity", "technique=prune", *SMALL)
    assert done.returncode == 2
    assert "technique.stages must end with quantize" in done.stderr
    assert not list(tmp_path.rglob("model.safetensors"))  # nothing was trained


@pytest.mark.parametrize(
    ("overrides", "name", "told"),
    [
        (["quantize.bits=4"], "cnn4-cnn4-prune0.50-int4-simulated", "quantize (simulated)"),
        (["quantize=dynamic"], "cnn4-cnn4-prune0.50-int8-dynamic", "quantize (dynamic)"),
        (["quantize=weights"], "cnn4-cnn4-prune0.50-int4-weights", "quantize (weights only)"),
        (["quantize=qat", "quantize.epochs=1"], "cnn4-cnn4-prune0.50-int8-qat", "│ quantize │"),
    ],
)
def test_every_technique_runs_and_every_table_says_what_it_is(
    tmp_path: Path, overrides: list[str], name: str, told: str
) -> None:
    done = run_here(tmp_path, *overrides, *SMALL)
    assert done.returncode == 0, done.stderr
    assert name in done.stdout
    assert told in done.stdout
    (run,) = runs_of(tmp_path)
    assert run.info.run_name == name
    assert run.data.metrics["quantize/layers"] == 5
    assert run.data.metrics["quantize/integer_layers"] == (1 if "dynamic" in name else 5)
    assert {"quantize/agreement", "quantize/drop"} <= run.data.metrics.keys()
    assert run.data.tags["quantize/recipe"]
    if "(" in told:
        assert told in run.data.tags["mlflow.note.content"]
