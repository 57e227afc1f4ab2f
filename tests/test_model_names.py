"""Networks of torchvision and timm by name, without a yaml of their own."""

from pathlib import Path

import pytest
from command import run_here

from hydra_plugins.paredown_models._names import names_of
from paredown.config import build, composed
from paredown.model.timm import Timm
from paredown.model.torchvision import Torchvision
from paredown.sweep.grid import check_jobs


def test_the_names_are_those_that_the_libraries_list() -> None:
    from torchvision import models

    timm = pytest.importorskip("timm")
    assert names_of("torchvision") == set(models.list_models(module=models))
    assert names_of("timm") == set(timm.list_models())
    assert names_of("no_such_package") == frozenset()


def test_a_name_stands_for_the_network_wherever_a_model_does() -> None:
    own = ("model=resnet50", "model@student=timm/resnet10t", "model@teacher.model=resnet34")
    cfg = composed(*own, "student.weights=a.pt")
    assert build(cfg, "model") == Torchvision("resnet50")
    assert build(cfg, "student") == Timm("resnet10t", "resnet10t", "a.pt")
    assert build(cfg, "teacher").model == Torchvision("resnet34")
    tagged = composed("model=timm/resnet50.a1_in1k", "model.weights=DEFAULT")
    assert build(tagged, "model") == Timm("resnet50.a1_in1k", "resnet50.a1_in1k", "DEFAULT")


def test_a_yaml_of_that_name_comes_first() -> None:
    assert composed("model=timm").model.name == "timm"
    assert composed("model=cnn4").model.width == 32


def test_names_can_be_swept() -> None:
    jobs = [[f"model={name}", "technique=prune"] for name in ("resnet18", "efficientnet_b0")]
    first = check_jobs(jobs, lambda own: composed(*own))
    assert first.name == "resnet18-prune0.50"


@pytest.mark.parametrize(
    ("arguments", "name", "near"),
    [
        (("model=resnet5",), "resnet5", "did you mean resnet50"),
        (("model@student=mobilenet_v4",), "mobilenet_v4", "did you mean mobilenet_v2"),
        (("model=timm/resnet10",), "timm/resnet10", "did you mean timm/resnet10t"),
        (("model=efficientnet_lite0",), "efficientnet_lite0", "timm/efficientnet_lite0"),
        (("-m", "model=resnet18,resnet5"), "resnet5", "did you mean resnet50"),
        (("model=zzz",), "zzz", ""),
    ],
)
def test_a_wrong_name_gets_one_line_with_the_nearest(
    arguments: tuple[str, ...], name: str, near: str, tmp_path: Path
) -> None:
    if name.startswith("timm/") or "timm/" in near:
        pytest.importorskip("timm")
    done = run_here(tmp_path, *arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"or timm/NAME, got '{name}'" in done.stderr
    assert near in done.stderr
    assert near or "did you mean" not in done.stderr


def test_without_timm_its_names_are_taken_until_it_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names_of.cache_clear()
    try:
        monkeypatch.setitem(names_of.__wrapped__.__globals__, "find_spec", lambda name: None)
        assert composed("model=timm/whatever").model.architecture == "whatever"
    finally:
        names_of.cache_clear()
