"""Rebuild the parts of a candidate from the artifacts of its run in MLflow, each checked.

Others may write there. Only what is needed to run files is built, of Paredown's own classes or of
those that the user of this command names; networks are not needed, and never built.
"""

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from omegaconf import OmegaConf
from yaml import YAMLError  # type: ignore[import-untyped]

from paredown.dataset import Dataset
from paredown.errors import ConfigError, first_line, require
from paredown.foreign import is_own, rebuild, require_harmless
from paredown.measure.latency import Timing
from paredown.pick.candidates import Candidate
from paredown.runtime import Runtime, require_engine
from paredown.store.hashing import key_of, sha256_of
from paredown.tracking.artifacts import fetch
from paredown.tracking.reader import Logged
from paredown.tracking.tracker import Tracker
from paredown.trust import stays_within

CONFIG = "config.yaml"


@dataclass(frozen=True)
class Parts:
    """The parts that a run measured its variants with.

    Args:
        dataset: The same images, by their fingerprint.
        runtime: Runs its files.
        timing: How latency was taken.
    """

    dataset: Dataset
    runtime: Runtime
    timing: Timing


class RunRestorer:
    """Fetches, checks and rebuilds the parts of runs, each once.

    Args:
        tracker: Of the runs.
        folder: For copies; exists.
    """

    def __init__(self, tracker: Tracker, folder: Path) -> None:
        self._tracker, self._folder = tracker, folder
        self._config = cache(self._read_config)
        self._datasets: dict[str, Dataset] = {}

    def parts(self, run: Logged) -> Parts:
        """Rebuild what a run measured with, from the configuration that it keeps.

        Raises:
            ConfigError: If that is gone, the engine is not installed, or the images are others.
        """
        cfg = self._config(run.id)
        runtime = self._build(run, cfg, "runtime")
        require_engine(runtime)
        timing = self._build(run, cfg, "measure")
        return Parts(self._dataset(run), runtime, timing)

    def program(self, candidate: Candidate) -> Path:
        """Fetch the files that ship into a folder, and compare each with its checksum.

        Raises:
            ConfigError: If one is gone, is not the one that was measured, or would run code of
                others.
        """
        tags, stage = candidate.run.tags, candidate.stage
        places, digests = (tags[f"{stage}/{name}"].split(",") for name in ("file", "sha256"))
        program = self._folder / "programs" / key_of(candidate.sha256)
        if program.is_dir():
            return program
        complete, who = len(places) == len(digests), f"run {candidate.run.id}"
        require(complete, f"{stage}/file of {who}", f"name {len(digests)} files", len(places))
        together, own = Path(tempfile.mkdtemp(dir=self._folder)), True
        for place, digest in zip(places, digests, strict=True):
            run_id, _, path = place.removeprefix("runs:/").partition("/")
            require(stays_within(path), f"{stage}/file of {who}", "be a file of a run", place)
            file = fetch(self._tracker, run_id, path, Path(tempfile.mkdtemp(dir=self._folder)))
            if not file.is_file() or sha256_of(file) != digest:
                raise ConfigError(
                    f"{path} of run {run_id} must be the file that was measured, got one with "
                    f"another sha256; run again: {tags.get('command', 'its command')}"
                )
            file.rename(together / file.name)  # equal files of several runs are kept by one
            own = own and self._is_own(run_id, path)
        require_harmless(together, f"{stage} of {who}", own)
        program.parent.mkdir(exist_ok=True)
        together.rename(program)
        return program

    def _is_own(self, run_id: str, path: str) -> bool:
        """Return whether a file of a run is on this machine and belongs to this user."""
        folder = urlsplit(str(self._tracker.client.get_run(run_id).info.artifact_uri))
        file = Path(unquote(folder.path), path)
        return folder.scheme in ("", "file") and file.is_file() and is_own(file)

    def unshippable(self, runs: Iterable[Logged]) -> set[str]:
        """List the runtimes, as tagged, whose files do not run without paredown."""
        newest: dict[str, Logged] = {}
        for run in runs:
            newest.setdefault(run.tags.get("runtime", ""), run)
        return {tagged for tagged, run in newest.items() if not self._ships(run)}

    def _ships(self, run: Logged) -> bool:
        try:
            runtime = self._build(run, self._config(run.id), "runtime")
        except ConfigError:  # reported when one of its variants is chosen
            return True
        return runtime.standalone is not None

    def _read_config(self, run_id: str) -> dict[str, Any]:
        scratch = Path(tempfile.mkdtemp(dir=self._folder))
        file = fetch(self._tracker, run_id, CONFIG, scratch)
        try:
            cfg = OmegaConf.to_container(OmegaConf.create(file.read_text()), resolve=False)
        except (YAMLError, UnicodeDecodeError, ValueError) as error:
            message = first_line(error)
            raise ConfigError(f"{CONFIG} of run {run_id} must be YAML, got {message}") from error
        require(isinstance(cfg, dict), f"{CONFIG} of run {run_id}", "be a mapping", cfg)
        return cast("dict[str, Any]", cfg)

    def _build(self, run: Logged, cfg: Mapping[str, Any], key: str) -> Any:
        node = cfg.get(key)
        if isinstance(node, dict) and "cache" in node:
            node = {**node, "cache": None}  # the user's own: no folder that a run names is written
        return rebuild(node, key, f"{CONFIG} of run {run.id}")

    def _dataset(self, run: Logged) -> Dataset:
        logged = run.tags.get("dataset", "")
        if logged not in self._datasets:
            dataset: Dataset = self._build(run, self._config(run.id), "dataset").load()
            now = f"{dataset.name} {dataset.fingerprint}"
            rule = f"be {logged}, as it was measured on"
            hint = "its images, or how training shows them, have changed"
            require(now == logged, f"dataset of run {run.id}", rule, now, hint)
            self._datasets[logged] = dataset
        return self._datasets[logged]
