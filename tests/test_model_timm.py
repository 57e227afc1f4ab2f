from importlib.util import find_spec

import pytest
import torch

from paredown.dataset import Dataset
from paredown.errors import ConfigError
from paredown.model.check import require_valid_model
from paredown.model.timm import Timm

needs_timm = pytest.mark.skipif(find_spec("timm") is None, reason="needs the extra timm")


@pytest.mark.skipif(find_spec("timm") is not None, reason="timm is installed")
def test_without_the_package_what_installs_it_is_told(digits: Dataset) -> None:
    with pytest.raises(ConfigError, match=r"no timm.*pip install .*\[timm\]'?$"):
        require_valid_model(Timm("timm", "resnet10t"), digits)


@needs_timm
def test_a_network_has_a_logit_a_class_and_the_images_channels() -> None:
    network = Timm("timm", "resnet10t").build(7, (1, 32, 32)).eval()
    assert network(torch.zeros(2, 1, 32, 32)).shape == (2, 7)


@needs_timm
def test_a_misspelt_architecture_is_told_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"model\.architecture must be timm's, .*such as resnet"):
        Timm("timm", "resnet10").build(7, (3, 32, 32))


@needs_timm
def test_without_a_network_published_weights_are_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # else it tries for most of a minute
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with pytest.raises(
        ConfigError, match=r"^model\.weights must be published and cached"
    ) as caught:
        Timm("timm", "resnet10t").published("DEFAULT")
    assert "\n" not in str(caught.value)
