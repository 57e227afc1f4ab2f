"""MLflow's own pages as a user meets them, in headless Chromium, over a store that a sweep filled.

PAREDOWN_SCREENSHOTS=FOLDER keeps the pictures, for people to look at.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from servers import MLflowServer

from paredown.tracking.view import link

pytestmark = pytest.mark.slow


class Browser:
    """Opens pages of one server; keeps a picture and gives the text of the page."""

    def __init__(self, url: str, folder: Path) -> None:
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        if program is None:
            pytest.skip("needs Chromium: apt-get install chromium")
        self._program, self._url, self._folder = program, url, folder
        folder.mkdir(parents=True, exist_ok=True)

    def open(self, page: str, name: str, width: int = 1600) -> str:
        """Look at a page once its scripts have run."""
        picture = self._folder / f"{name}.png"
        profile = self._folder / "profile"
        common = [
            *(self._program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *(f"--window-size={width},1000", "--virtual-time-budget=30000", "--lang=en-US"),
            f"--user-data-dir={profile}",
        ]
        address = f"{self._url}/#{page}"
        for flag in (f"--screenshot={picture}", "--dump-dom"):
            done = subprocess.run(
                [*common, flag, address], capture_output=True, text=True, timeout=120, check=True
            )
        assert picture.read_bytes().startswith(b"\x89PNG")
        return done.stdout


@pytest.fixture(scope="module")
def browser(swept: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("ui")
    server = MLflowServer(f"sqlite:///{swept}/mlruns/mlflow.db", folder)
    kept = os.environ.get("PAREDOWN_SCREENSHOTS")
    try:
        yield Browser(server.url, Path(kept) if kept else folder / "pictures")
    finally:
        server.stop()


@pytest.fixture(scope="module")
def runs(swept: Path) -> tuple[str, list]:
    """The experiment's id, and the runs of the sweep, its parent first."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{swept}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("paredown").experiment_id
    return experiment, client.search_runs([experiment], order_by=["attributes.start_time"])


def test_the_table_shows_the_sweep(browser: Browser, runs: tuple[str, list]) -> None:
    experiment, (parent, *_) = runs
    page = browser.open(f"/experiments/{experiment}/runs", "runs")
    assert parent.info.run_name == "prune.amount=0.1,0.5"
    assert parent.info.run_name in page


def test_the_link_of_a_sweep_opens_a_table_of_its_jobs(
    browser: Browser, runs: tuple[str, list], swept: Path
) -> None:
    experiment, (_, *children) = runs
    address = link("http://127.0.0.1:5000", experiment)
    assert address in (swept / "stdout").read_text()
    page = browser.open(address.partition("#")[2], "view", 2600)  # all columns at once
    metrics = ("accuracy", "size_mb", "latency_ms", "speedup", "baseline")
    columns = (*metrics, "dataset", "model", "technique", "prune.amount")
    for name in (*columns, *(run.info.run_name for run in children)):
        assert name in page


def test_the_link_opens_charts_of_accuracy_by_size_and_by_latency(
    browser: Browser, runs: tuple[str, list]
) -> None:
    experiment, _ = runs
    page = browser.open(link("", experiment).partition("#")[2] + "&compareRunsMode=CHART", "chart")
    assert "accuracy by size and by latency" in page.lower()
    assert page.count('class="trace scatter') >= 2


def test_two_jobs_are_compared_by_what_was_swept(browser: Browser, runs: tuple[str, list]) -> None:
    experiment, (_, *children) = runs
    chosen = quote(json.dumps([child.info.run_id for child in children]))
    asked = f"runs={chosen}&experiments={quote(json.dumps([experiment]))}"
    page = browser.open(f"/compare-runs?{asked}", "compare")
    assert "Comparing 2 Runs" in page
    for name in ("prune.amount", *(child.info.run_name for child in children)):
        assert name in page


def test_a_runs_page_has_its_table_of_stages_and_its_files(
    browser: Browser, runs: tuple[str, list]
) -> None:
    experiment, (_, child, *_) = runs
    page = browser.open(f"/experiments/{experiment}/runs/{child.info.run_id}", "run")
    assert child.info.run_name in page
    assert "digits (" in page  # its data set
    assert "speed-up" in page  # the table of its stages
    files = browser.open(f"/experiments/{experiment}/runs/{child.info.run_id}/artifacts", "files")
    assert "quantize" in files
    assert "config.yaml" in files
