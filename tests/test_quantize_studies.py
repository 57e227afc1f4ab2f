"""The studies and techniques of quantization as a user types them."""

import json
from pathlib import Path

import numpy as np
import pytest
from command import SMALL, run_here, runs_of

from paredown.studies.zero_point import signal_to_noise

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


def test_the_zero_point_study_shows_what_symmetric_ranges_cost(tmp_path: Path) -> None:
    done = run_here(tmp_path, "experiment=zero_point", *SMALL)
    assert done.returncode == 0, done.stderr
    found = json.loads((artifacts(tmp_path) / "study" / "zero_point.json").read_text())
    noise = {name: np.median(rows, axis=0) for name, rows in found["signal_to_noise_db"].items()}
    gain = noise["affine"] - noise["symmetric"]
    assert len(found["signal_to_noise_db"]["affine"]) == 4  # a ReLU each
    assert gain[-1] == pytest.approx(6, abs=1.5)
    assert "dB with a zero point" in done.stdout
    assert (artifacts(tmp_path) / "study" / "zero_point.png").is_file()


def test_signal_to_noise_of_a_uniform_value_is_as_by_hand() -> None:
    # error of a step s: s^2/12; of 0..1 in b bits: 20 log10(2^b - 1) + 10 log10(12/3)
    values = np.linspace(0, 1, 100_001)
    assert signal_to_noise(values, 8, symmetric=False) == pytest.approx(48.13 + 6.02, abs=0.05)
    assert signal_to_noise(values, 8, symmetric=True) == pytest.approx(42.08 + 6.02, abs=0.05)


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
