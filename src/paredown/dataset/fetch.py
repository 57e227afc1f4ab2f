"""Fetch a published archive: with a progress bar, compared with its checksum, then unpacked."""

import hashlib
import sys
import tarfile
import tempfile
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from rich.console import Console
from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

from paredown.errors import ConfigError

CHUNK, PATIENCE = 1 << 18, 20  # bytes; seconds without an answer


def fetch(url: str, md5: str, folder: Path, what: str) -> None:
    """Download a tar archive and unpack it into a folder.

    Args:
        url: Of the archive.
        md5: Its published checksum.
        folder: Made if it is not there.
        what: The files are expected there, for the error.

    Raises:
        ConfigError: If there is no network, or what comes is not the archive.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = url.rpartition("/")[2]
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch:
        file = Path(scratch) / name
        try:
            found = _download(url, file)
        except (OSError, HTTPException) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"dataset.folder must hold {what}, got {str(folder)!r}; {url} cannot be fetched "
                f"({reason}): unpack it there by hand"
            ) from error
        if found != md5:
            raise ConfigError(f"{url} must have the MD5 checksum {md5}, got {found}; try again")
        whole = Path(scratch) / "whole"
        with tarfile.open(file) as archive:
            archive.extractall(whole, filter="data")
        for part in whole.iterdir():
            if not (folder / part.name).exists():  # another process may have been faster
                part.rename(folder / part.name)


def _download(url: str, file: Path) -> str:
    """Write what a URL gives into a file; return its MD5 checksum."""
    digest = hashlib.md5(usedforsecurity=False)
    columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
    quiet = not sys.stderr.isatty()
    with (
        urlopen(url, timeout=PATIENCE) as answer,  # noqa: S310, a published address
        file.open("wb") as out,
        Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as bar,
    ):
        task = bar.add_task(file.name, total=int(answer.headers.get("Content-Length", 0)) or None)
        while chunk := answer.read(CHUNK):
            out.write(chunk)
            digest.update(chunk)
            bar.advance(task, len(chunk))
    return digest.hexdigest()
