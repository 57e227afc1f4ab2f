"""A refused command leaves nothing behind."""

import contextlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

LOG, SETTINGS = "run.log", ".hydra"  # written by Hydra before a job begins


@contextmanager
def no_leftovers() -> Iterator[None]:
    """Remove the folder that Hydra made for a job which ends with exit code 2."""
    try:
        yield
    except SystemExit as end:
        if end.code == 2 and HydraConfig.get().mode != RunMode.MULTIRUN:
            _remove_empty(Path(HydraConfig.get().runtime.output_dir))
        raise


def _remove_empty(folder: Path) -> None:
    """Remove a folder that holds nothing but what Hydra wrote into it.

    One that the user has named stays if its log has lines: they may be of an earlier run, which
    was killed.
    """
    with contextlib.suppress(OSError):
        if not {path.name for path in folder.iterdir()} <= {LOG, SETTINGS}:
            return
        named = any(text.startswith("hydra.run.dir=") for text in HydraConfig.get().overrides.hydra)
        if named and (folder / LOG).stat().st_size:
            return
        (folder / LOG).unlink()
        shutil.rmtree(folder / SETTINGS)
        for place in (folder,) if named else (folder, *folder.parents[:2]):  # the day, multirun
            if place not in (Path.cwd(), *Path.cwd().parents):
                place.rmdir()
