import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from paredown.config import build
from paredown.distill.knowledge import Knowledge
from paredown.measure.latency import Timing
from paredown.model.cnn4 import Cnn4
from paredown.printable import hide_passwords
from paredown.prune.structured import Structured
from paredown.quantize.static import Static
from paredown.runtime.onnxruntime import OnnxRuntime
from paredown.store.hashing import describe, sha256_of
from paredown.training import Training
from paredown.training.baseline import Baseline


@pytest.fixture
def parts(training: Training, structured: Structured) -> dict[str, object]:
    small = Cnn4(4, "small")
    return {
        "model": small,
        "training": training,
        "baseline": Baseline(small, training),
        "distill": Knowledge(small, training, 4.0, 0.7, None),
        "prune": structured,
        "quantize": Static(8, True, False, "minmax", False, 64, [], 0.02, [{"range": "mse"}]),
        "runtime": OnnxRuntime(1, "onnxruntime"),
        "measure": Timing(2, 3, 1.5),
    }


@pytest.mark.parametrize("name", ["model", "training", "baseline", "distill", "prune", "quantize"])
def test_a_part_is_rebuilt_from_its_description_written_as_json(
    parts: dict[str, object], name: str
) -> None:
    part = parts[name]
    written = OmegaConf.create({"part": json.loads(json.dumps(describe(part)))})
    assert build(written, "part") == part


def test_a_description_names_the_class_and_every_field() -> None:
    target = "paredown.measure.latency.Timing"
    expected = {
        "_target_": target,
        "processes": 2,
        "rounds": 3,
        "turn_ms": 1.5,
        "latency": "now",
        "eager": True,
    }
    assert describe(Timing(2, 3, 1.5)) == expected


def test_a_key_leaves_out_what_changes_no_result_at_any_depth(training: Training) -> None:
    whole = describe(Baseline(Cnn4(4, "small"), training))["training"]
    key = describe(Baseline(Cnn4(4, "small"), training), key_only=True)["training"]
    assert whole.keys() - key.keys() == {"device", "threads"}
    assert describe(OnnxRuntime(1, "ort"), True) == describe(OnnxRuntime(2, "ort"), True)


def test_parts_inside_lists_and_dictionaries_are_described_too() -> None:
    inner = describe(Cnn4(4, "small"))
    assert describe({1: (Cnn4(4, "small"), None)}) == {"1": [inner, None]}


def test_sha256_is_the_published_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(tmp_path / "file") == expected


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("postgresql+psycopg://me:secret@host:5432/db", "postgresql+psycopg://me:***@host:5432/db"),
        (
            "uri: http://me:se%40cret@host\nother: s3://a/b",
            "uri: http://me:***@host\nother: s3://a/b",
        ),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("sqlite:///mlruns/mlflow.db", "sqlite:///mlruns/mlflow.db"),
        ("postgresql://me@host:5432/db", "postgresql://me@host:5432/db"),
        ("postgresql://me:p@ss@host/db", "postgresql://me:***@host/db"),
        ("redis://:secret@host", "redis://:***@host"),
        ("mysql://host/db?user=me&password=secret", "mysql://host/db?user=me&password=***"),
        (
            "s3://b?aws_secret_access_key=se/cret&region=x",
            "s3://b?aws_secret_access_key=***&region=x",
        ),
        ("http://host/?Api_Key=secret'", "http://host/?Api_Key=***'"),
        ("https://host/a?sslpassword=x#token=y", "https://host/a?sslpassword=***#token=y"),
        (
            "http://host/#/runs?viewStateShareKey=paredown",
            "http://host/#/runs?viewStateShareKey=paredown",
        ),
        ("http://me:p/ss@host/x", "http://me:***@host/x"),
        ("http://me:12@host:80/x", "http://me:***@host:80/x"),
        ("a http://u:p@h, http://v:q@k b", "a http://u:***@h, http://v:***@k b"),
        ("http://u:p/@h,http://v:q/@k", "http://u:***@h,http://v:***@k"),
        ("https://b/c?sig=ab%3D&sv=1", "https://b/c?sig=***&sv=1"),
        (
            "http://h?auth=a&key=b&pass=c&private_key=d",
            "http://h?auth=***&key=***&pass=***&private_key=***",
        ),
        ("http://h?jwt=a;passphrase=b", "http://h?jwt=***;passphrase=***"),
        ("http://h/?token='a b'&x=1", "http://h/?token=***&x=1"),
        ("http://h:5000?to=me@x.org", "http://h:5000?to=me@x.org"),
        ("http://h:80/a:b@c", "http://h:80/a:b@c"),
        ("http://[::1]:5000/x@y", "http://[::1]:5000/x@y"),
        ("http://h/?author=me&design=x&keyboard=y", "http://h/?author=me&design=x&keyboard=y"),
        ("at 12:30 me@host wrote", "at 12:30 me@host wrote"),
    ],
)
def test_passwords_of_urls_are_hidden_and_nothing_else(text: str, hidden: str) -> None:
    assert hide_passwords(text) == hidden
