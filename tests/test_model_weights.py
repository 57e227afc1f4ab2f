import hashlib
import logging
import os
import sys
import types
import urllib.request
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import nn

from paredown.dataset import Dataset
from paredown.errors import ConfigError
from paredown.model.cnn4 import Cnn4
from paredown.model.loading import build_with_weights, read
from paredown.model.torchvision import Torchvision
from paredown.model.weights import fingerprint
from paredown.training import Training
from paredown.training.baseline import Baseline
from paredown.variant import Context

SHAPE = (3, 32, 32)
SMALL = Cnn4(4, "cnn4")


def state(seed: int = 1, classes: int = 10, source: Cnn4 = SMALL) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return source.build(classes, SHAPE).state_dict()


def equal(module: nn.Module, wanted: dict[str, torch.Tensor], but: tuple[str, ...] = ()) -> bool:
    own = module.state_dict()
    assert own.keys() == wanted.keys()
    return all(torch.equal(own[name], wanted[name]) for name in own if name not in but)


WRITERS: dict[str, Callable[[dict[str, torch.Tensor], Path], None]] = {
    "a.safetensors": save_file,
    "a.pt": torch.save,
    "a.pth": lambda tensors, file: torch.save({"state_dict": tensors, "epoch": 3}, file),
    "b.pt": lambda tensors, file: torch.save(
        {f"module.{name}": tensor for name, tensor in tensors.items()}, file
    ),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_network_starts_from_the_weights_of_a_file(name: str, tmp_path: Path) -> None:
    WRITERS[name](state(), tmp_path / name)
    torch.manual_seed(2)
    assert equal(
        build_with_weights(replace(SMALL, weights=str(tmp_path / name)), 10, SHAPE), state()
    )


def test_no_epochs_leave_good_weights_as_they_are(
    tmp_path: Path, training: Training, few: Dataset
) -> None:
    save_file(state(), tmp_path / "a.safetensors")
    stage = Baseline(replace(SMALL, weights=str(tmp_path / "a.safetensors")),
                     replace(training, epochs=0))  # fmt: skip
    variant = stage(None, Context(few, 5, nn.Module, "baseline"))
    assert equal(variant.module, state())


def test_a_head_of_other_classes_stays_fresh_and_the_rest_is_taken(tmp_path: Path) -> None:
    save_file(state(classes=100), tmp_path / "a.safetensors")
    head = ("17.weight", "17.bias")
    torch.manual_seed(2)
    module = build_with_weights(replace(SMALL, weights=str(tmp_path / "a.safetensors")), 10, SHAPE)
    assert equal(module, {**state(classes=100), **{k: state()[k] for k in head}}, but=head)
    assert module[17].weight.shape == (10, 32)


def test_counters_of_old_files_may_lack(tmp_path: Path) -> None:
    old = {name: value for name, value in state().items() if "num_batches" not in name}
    save_file(old, tmp_path / "a.safetensors")
    assert equal(
        build_with_weights(replace(SMALL, weights=str(tmp_path / "a.safetensors")), 10, SHAPE),
        state(),
    )


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (state(source=Cnn4(8, "wide")), r"of another shape \(0\.weight \(8, 3, 3, 3\) for \(4, 3"),
        ({**state(), "extra": torch.zeros(1)}, r"1 unknown \(extra\)$"),
        ({k: v for k, v in state().items() if k != "0.weight"}, r"1 missing \(0\.weight\)$"),
        (Torchvision("squeezenet1_1").build(10, SHAPE).state_dict(), r"missing .*…\), 52 unknown"),
    ],
    ids=["another width", "a key too many", "a key too few", "another network"],
)
def test_weights_of_another_network_are_refused_with_their_keys(
    other: dict[str, torch.Tensor], told: str, tmp_path: Path
) -> None:
    save_file(other, tmp_path / "a.safetensors")
    with pytest.raises(ConfigError, match=f"^weights must be those of cnn4, got .*{told}"):
        build_with_weights(replace(SMALL, weights=str(tmp_path / "a.safetensors")), 10, SHAPE)


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("what", ["code", "a whole network"])
def test_a_pickle_that_holds_code_is_refused_and_does_not_run(what: str, tmp_path: Path) -> None:
    mark, file = tmp_path / "was-here", tmp_path / "a.pt"
    torch.save(Evil(mark) if what == "code" else nn.Linear(1, 1), file)
    line = r"^weights must hold tensors alone, got .*a\.pt with the code .*; save its"
    with pytest.raises(ConfigError, match=line) as caught:
        read(file)
    assert "\n" not in str(caught.value)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt"])
@pytest.mark.parametrize("keep", [0, 100, -200])
def test_a_damaged_file_is_refused_in_one_line(name: str, keep: int, tmp_path: Path) -> None:
    WRITERS[name](state(), tmp_path / name)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:keep])
    with pytest.raises(ConfigError, match=r"^weights must (be undamaged|hold tensors)") as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [{}, {"a": 1}, [1, 2], {"state_dict": {"a": "text"}}])
def test_a_file_without_tensors_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(ConfigError, match=r"^weights must hold tensors by name"):
        read(tmp_path / "a.pt")


def test_a_missing_file_and_a_name_that_nobody_published_are_told() -> None:
    with pytest.raises(ConfigError, match=r"must be a file or the name of .*, got 'nowhere\.pt'"):
        build_with_weights(replace(SMALL, weights="nowhere.pt"), 10, SHAPE)
    with pytest.raises(ConfigError, match=r"weights of cnn4 must end with \.safetensors"):
        build_with_weights(replace(SMALL, weights="DEFAULT"), 10, SHAPE)
    with pytest.raises(ConfigError, match=r"of resnet18 must be one of DEFAULT, IMAGENET1K"):
        build_with_weights(Torchvision("resnet18", "IMAGENET22K"), 10, SHAPE)


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"some")
    digest = hashlib.sha256(b"some").hexdigest()
    assert fingerprint(str(tmp_path / "a.pt")) == {"weights": digest}
    assert fingerprint("DEFAULT") == {"published": "DEFAULT"}
    assert fingerprint(None) == {}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch hub's folder of this test, and no way to any network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(urllib.request, "_opener", None)  # it remembers the proxies of its start
    return tmp_path / "hub" / "checkpoints"


def test_published_weights_are_found_in_the_hub_s_folder_and_get_a_new_head(hub: Path) -> None:
    hub.mkdir(parents=True)
    published = Torchvision("squeezenet1_1").build(1000, SHAPE).state_dict()
    torch.save(published, hub / "squeezenet1_1-b8a52dc0.pth")
    module = build_with_weights(Torchvision("squeezenet1_1", "DEFAULT"), 10, SHAPE)
    head = ("classifier.1.weight", "classifier.1.bias")
    assert equal(module, published, but=head)
    assert module.classifier[1].out_channels == 10


def test_without_a_network_the_address_and_the_folder_are_told(hub: Path) -> None:
    line = rf"^weights of resnet18 must be cached, .*/resnet18-\w+\.pth cannot be .* into {hub}$"
    with pytest.raises(ConfigError, match=line) as caught:
        build_with_weights(Torchvision("resnet18", "DEFAULT"), 10, SHAPE)
    assert "\n" not in str(caught.value)
    assert not list(hub.iterdir())


NEST = {"epoch": 3, "optimizer": {"state": {}}}
KEPT = {
    "a.ckpt": lambda s: {**NEST, "state_dict": {f"model.{k}": v for k, v in s.items()}},
    "a.bin": lambda s: s,
    "a.pt": lambda s: {**NEST, "model_state_dict": s},
    "b.pt": lambda s: {"net": {"state_dict": s}},
    "c.pt": lambda s: {**NEST, "model": state(7), "model_ema": s},
    "d.pt": lambda s: {
        "ema": {"n_averaged": torch.tensor(9), **{f"module.{k}": v for k, v in s.items()}},
        "state_dict": state(7),
    },
    "e.pt": lambda s: {f"module._orig_mod.{k}": v for k, v in s.items()},
    "f.pt": lambda s: {f"_orig_mod.net.{k}": v for k, v in s.items()},
    "g.pt": lambda s: {"n_averaged": torch.tensor(9), **{f"module.{k}": v for k, v in s.items()}},
}


@pytest.mark.parametrize("name", KEPT)
def test_checkpoints_of_training_scripts_are_opened(name: str, tmp_path: Path) -> None:
    torch.save(KEPT[name](state()), tmp_path / name)
    assert equal(
        build_with_weights(replace(SMALL, weights=str(tmp_path / name)), 10, SHAPE), state()
    )


def test_which_weights_of_a_checkpoint_are_taken_and_what_is_stripped_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    averaged = {f"module.{name}": tensor.double() for name, tensor in state().items()}
    torch.save({"model": state(7), "model_ema": averaged}, tmp_path / "a.pt")
    with caplog.at_level(logging.INFO):
        build_with_weights(replace(SMALL, weights=str(tmp_path / "a.pt")), 10, SHAPE)
    for line in (
        "a.pt holds model_ema and model; using model_ema, to start from another save it alone",
        "weights: module. is stripped from their names",
        "a.pt holds float64, which becomes float32",
    ):
        assert line in caplog.text


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_become_float32(kind: torch.dtype, tmp_path: Path) -> None:
    save_file(
        {name: tensor.to(kind) for name, tensor in state().items()}, tmp_path / "a.safetensors"
    )
    module = build_with_weights(replace(SMALL, weights=str(tmp_path / "a.safetensors")), 10, SHAPE)
    assert module[0].weight.dtype == torch.float32
    assert torch.allclose(module[0].weight, state()["0.weight"], rtol=0.01)
    assert module[1].num_batches_tracked.dtype == torch.int64


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (torch.zeros(4, 3, 3, 3, dtype=torch.int8), "be floating-point numbers, got .* with int8"),
        (
            torch.zeros(4, 3, 3, 3, dtype=torch.complex64),
            "be floating-.* with complex64 in 0",
        ),
        (torch.full((4, 3, 3, 3), torch.nan), r"be finite, got .*a\.pt with nan in 0\.weight$"),
        (
            torch.full((4, 3, 3, 3), torch.inf),
            r"be finite, got .* with infinity in 0\.weight$",
        ),
    ],
    ids=["int8", "complex", "nan", "infinity"],
)
def test_weights_that_cannot_be_computed_with_are_refused_by_name(
    value: torch.Tensor, line: str, tmp_path: Path
) -> None:
    torch.save({**state(), "0.weight": value}, tmp_path / "a.pt")
    with pytest.raises(ConfigError, match=f"^weights must {line}"):
        build_with_weights(replace(SMALL, weights=str(tmp_path / "a.pt")), 10, SHAPE)


def lightning(s: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Give a checkpoint as Lightning writes it, of a class that is not here when it is read."""
    place = "lightning.fabric.utilities.data"
    parts = place.split(".")
    for count in range(1, len(parts) + 1):
        name = ".".join(parts[:count])
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    settings = type("AttributeDict", (dict,), {"__module__": place})
    sys.modules[place].AttributeDict = settings
    kept = settings(
        lr=0.1, data=Path("photos"), width=Namespace(of=8), net=OmegaConf.create({"a": [1]})
    )
    return {
        "epoch": 3,
        "pytorch-lightning_version": "2.5.0",
        "hyper_parameters": kept,
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(1.0)}},
        "state_dict": {
            **{f"model.{name}": tensor for name, tensor in s.items()},
            "criterion.weight": torch.ones(10),
        },
    }


def test_a_checkpoint_of_lightning_is_read_without_lightning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "last.ckpt"
    with pytest.MonkeyPatch.context() as patch:
        torch.save(lightning(state(), patch), file)
    with caplog.at_level(logging.INFO):
        assert equal(build_with_weights(replace(SMALL, weights=str(file)), 10, SHAPE), state())
    told = "weights: model. is stripped from their names; 1 others are left out, such as criterion."
    assert told in caplog.text


def test_averaged_weights_of_a_training_module_come_first(tmp_path: Path) -> None:
    both = {f"model.{name}": tensor for name, tensor in state(7).items()}
    both |= {f"model_ema.module.{name}": tensor for name, tensor in state().items()}
    torch.save({"state_dict": both}, tmp_path / "a.ckpt")
    assert equal(
        build_with_weights(replace(SMALL, weights=str(tmp_path / "a.ckpt")), 10, SHAPE), state()
    )


def test_code_beside_the_weights_stays_refused_and_does_not_run(tmp_path: Path) -> None:
    mark, file = tmp_path / "was-here", tmp_path / "a.ckpt"
    torch.save({"state_dict": state(), "hyper_parameters": Evil(mark)}, file)
    with pytest.raises(ConfigError, match=r"got .*a\.ckpt with the code .*system; save its"):
        read(file)
    assert not mark.exists()
