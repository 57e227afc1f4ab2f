"""Names of torchvision's and timm's classifiers, from their sources: importing takes seconds."""

import re
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from paredown.errors import ConfigError

GROUP, TIMM = "model/", "timm/"
_REGISTERED = re.compile(r"^@register_model\b.*\n(?:@.*\n)*def (\w+)\(", re.M)


@cache
def names_of(package: str) -> frozenset[str]:
    """List the classifiers of a package; none if it is not installed.

    Args:
        package: torchvision or timm.
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return frozenset()
    files = (Path(spec.origin).parent / "models").glob("*.py")
    texts = (file.read_text(encoding="utf-8") for file in files)
    return frozenset(name for text in texts for name in _REGISTERED.findall(text))


def node(path: str) -> dict[str, Any] | None:
    """Return the node of conf/model of a network that has no yaml of its own.

    Args:
        path: Of the yaml that it would have, such as model/resnet50 or model/timm/resnet10t.

    Returns:
        None if neither library has such a network. Without timm every name of timm's is one:
        building it says what to install.
    """
    name = path.removeprefix(GROUP).removesuffix(".yaml")
    if name.startswith(TIMM):
        architecture = name.removeprefix(TIMM)
        known = names_of("timm")
        if known and architecture.partition(".")[0] not in known:
            return None
        target = "paredown.model.timm.Timm"
        return {
            "_target_": target, "name": architecture, "architecture": architecture, "weights": None,
        }  # fmt: skip
    if name not in names_of("torchvision"):
        return None
    return {"_target_": "paredown.model.torchvision.Torchvision", "name": name, "weights": None}


def missing(path: str, options: list[str]) -> ConfigError:
    """Return the error of a network that is not there, with the nearest ones that are.

    Args:
        path: As of `node`.
        options: That have a yaml.
    """
    name = path.removeprefix(GROUP)
    named = {*options, *names_of("torchvision"), *(TIMM + own for own in names_of("timm"))}
    near = get_close_matches(name, sorted(named), n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    yamls = ", ".join(sorted(options))
    rule = f"be one of {yamls}, a classifier of torchvision's such as resnet50, or timm/NAME"
    return ConfigError(f"model must {rule}, got {name!r}{hint}")
