from dataclasses import replace

import pytest

from paredown.errors import ConfigError
from paredown.quantize.dynamic import Dynamic
from paredown.quantize.recipe import difference, recipe
from paredown.quantize.static import Static
from paredown.quantize.weights import Weights
from paredown.runtime import Abilities
from paredown.variant import Layers, Numerics

ASKED = {
    "bits": 8,
    "per_channel": True,
    "symmetric": False,
    "range": "minmax",
    "bias_correction": False,
    "calibration_images": 64,
    "keep_float": [],
    "max_drop": 0.02,
    "ladder": [],
}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"bits": 0}, r"^bits must be a whole number from 2 to 8, got 0"),
        ({"bits": 33}, r"^bits must be a whole number from 2 to 8, got 33"),
        ({"range": "minmix"}, r"^range must be one of .*; did you mean minmax\?"),
        ({"calibration_images": 0}, r"^calibration_images must be at least 1, got 0"),
        ({"max_drop": 2}, r"^max_drop must lie in \[0, 1\]"),
        ({"max_drop": float("nan")}, r"^max_drop must lie in \[0, 1\]"),
        ({"keep_float": "layer4"}, r"^keep_float must be a list"),
        ({"ladder": ["mse"]}, r"^ladder\[0\] must be a mapping"),
        ({"ladder": [{"rang": "mse"}]}, r"^a setting in ladder\[0\] .* did you mean range\?"),
        ({"ladder": [{}, {"range": "best"}]}, r"^ladder\[1\].range must be one of"),
        ({"ladder": [{"max_drop": 1}]}, r"^a setting in ladder\[0\]"),
    ],
)
def test_a_bad_setting_is_refused_by_its_name(changed: dict, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Static(**{**ASKED, **changed})


def test_a_rung_changes_what_it_names_and_nothing_else() -> None:
    asked = Static(**{**ASKED, "ladder": [{"range": "mse"}, {"keep_float": ["last"]}]}).numerics
    assert asked.fallbacks == (
        replace(asked, range="mse", fallbacks=(), max_drop=1.0),
        replace(asked, keep_float=("last",), fallbacks=(), max_drop=1.0),
    )
    assert [difference(rung, asked) for rung in asked.fallbacks] == [
        "range=mse",
        "keep_float=[last]",
    ]
    assert difference(asked, asked) == "as asked"


@pytest.mark.parametrize(
    ("stage", "label", "note"),
    [
        (Static(**ASKED), "int8", ""),
        (Static(**{**ASKED, "bits": 4}), "int4-simulated", "simulated"),
        (Dynamic(True, []), "int8-dynamic", "dynamic"),
        (Weights(4, True, []), "int4-weights", "weights only"),
    ],
)
def test_a_technique_says_what_it_is(stage: object, label: str, note: str) -> None:
    assert (stage.label, stage.note) == (label, note)
    assert stage.numerics.name == label


NAMES = ("conv1", "layer1.0.conv1", "layer1.0.conv2", "fc")
LAYERS = Layers(NAMES, first=("conv1",), last=("fc",))


def test_first_and_last_mean_those_layers_and_patterns_match_names() -> None:
    numerics = Numerics("int8", keep_float=("first", "last", "layer1.*")).resolve(LAYERS)
    assert numerics.keep_float == ("conv1", "fc", "layer1.*")
    assert [name for name in NAMES if numerics.keeps_float(name)] == list(NAMES)
    only = Numerics("int8", keep_float=("*.conv2",)).resolve(LAYERS)
    assert [name for name in NAMES if only.keeps_float(name)] == ["layer1.0.conv2"]


def test_a_pattern_that_matches_nothing_is_refused_with_near_names() -> None:
    with pytest.raises(ConfigError, match=r"^quantize.keep_float must match .* got 'layer1.0.con'"):
        Numerics("int8", keep_float=("layer1.0.con",)).resolve(LAYERS)
    fallback = recipe("int8", "static", 0.1, [{"keep_float": ["head"]}], keep_float=[])
    with pytest.raises(ConfigError, match="got 'head'"):
        fallback.resolve(LAYERS)


def test_a_pattern_means_what_attention_keeps_beside_its_layers() -> None:
    kept = Numerics("int8", keep_float=("block.attention",))
    assert kept.keeps_float("block.attention.in_proj_weight")
    assert not kept.keeps_float("block.attention.out_proj")
    assert not kept.keeps_float("block.other.in_proj_weight")


@pytest.mark.parametrize(
    ("has", "asked", "lacks"),
    [
        (Abilities(), {}, "no static quantization; it has float32$"),
        (Abilities(("static",)), {"scheme": "dynamic"}, "it has float32, static$"),
        (Abilities(("static",)), {"range": "mse"}, "no quantize.range=mse; it has minmax$"),
        (Abilities(("static",)), {"bias_correction": True}, "no bias correction"),
        (Abilities(("static",), per_tensor=False), {"per_channel": False}, "per_channel=true only"),
        (Abilities(("weights",), bits=(4, 8)), {"scheme": "weights", "bits": 3}, "of 4 or 8 bits"),
    ],
)
def test_a_runtime_says_what_it_lacks(has: Abilities, asked: dict, lacks: str) -> None:
    import re

    assert re.search(lacks, has.refusal(Numerics("int8", **asked)))
    assert not Abilities(("static",)).refusal(Numerics("int8"))
