"""`model=resnet50` and `model=timm/vit_tiny_patch16_224`, as if each had its file in conf/model.

conf/config.yaml has the scheme in `hydra.searchpath`, behind conf/ itself: a file there wins.
"""

from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from omegaconf import OmegaConf


class NamedModels(ConfigSource):
    """Makes the node of a network of which only the name is known; no library is imported."""

    @staticmethod
    def scheme() -> str:
        """Return what paths of this source begin with."""
        return "paredown-models"

    def load_config(self, config_path: str) -> ConfigResult:
        """Return the node that a file conf/model/NAME.yaml would hold."""
        from hydra_plugins.paredown_models._names import node

        values = node(config_path)
        if values is None:
            raise ConfigLoadError(f"{config_path} is no network")
        header: dict[str, str | None] = {"package": None}
        return ConfigResult(self.provider, self.full_path(), OmegaConf.create(values), header)

    def is_config(self, config_path: str) -> bool:
        """Return whether a path names a network of torchvision's or timm's."""
        if not config_path.startswith("model/"):
            return False
        from hydra_plugins.paredown_models._names import node

        return node(config_path) is not None

    def is_group(self, config_path: str) -> bool:
        """Return False: the names are too many to be listed as options."""
        return False

    def available(self) -> bool:
        """Return True."""
        return True

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Return no options."""
        return []
