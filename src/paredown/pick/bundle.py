"""The bundle: a folder with everything that a device needs, and no import of Paredown."""

import inspect
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from string import Template

from paredown.dataset import Dataset, decode
from paredown.dataset.images import MODES
from paredown.errors import ConfigError, require
from paredown.pick.candidates import Candidate
from paredown.runtime import Runtime
from paredown.store.hashing import sha256_of

SUMS = "SHA256SUMS"
PLAIN = {"numpy": "numpy>=1.24,<3", "pillow": "pillow>=9.4"}  # older ones were not tested


def bundle_folder(folder: str | None, candidate: Candidate) -> Path:
    """Return the absolute folder of a candidate's bundle, after `require_free`.

    Where none is configured, it is picked/<run>-<stage>.
    """
    name = re.sub(r"[^\w.=-]+", "_", f"{candidate.run.name}-{candidate.stage}")
    path = (Path(folder).expanduser() if folder else Path("picked", name)).absolute()
    require_free(path)
    return path


def require_free(folder: Path) -> None:
    """Check that a bundle can be written to a folder, and that nothing would be lost there.

    Raises:
        ConfigError: If it holds anything but an unchanged bundle, or cannot be written.
    """
    hint = "name another folder, or remove this one"
    require(folder.is_dir() or not folder.exists(), "pick.folder", "be a folder", str(folder), hint)
    name = _foreign(folder) if folder.is_dir() else None
    if name is not None:
        rule = "be new, empty or a bundle as it was written"
        raise ConfigError(f"pick.folder must {rule}, got {folder} with {name}; {hint}")
    above = next(path for path in folder.parents if path.exists())
    writable = above.is_dir() and os.access(above, os.W_OK | os.X_OK)
    require(writable, "pick.folder", "lie in a folder that can be written", str(folder))


def _foreign(folder: Path) -> str | None:
    """Return the name of a file that no pick wrote; None if there is none."""
    if not (folder / SUMS).is_file():  # whatever it holds, nothing below is read
        return next((path.name for path in folder.iterdir()), None)
    lines = (folder / SUMS).read_text(errors="replace").splitlines()
    digests = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name != SUMS and not (path.is_file() and digests.get(name) == sha256_of(path)):
            return name
    return None


def write(
    place: Path, program: Path, dataset: Dataset, runtime: Runtime, texts: Mapping[str, str]
) -> None:
    """Write the bundle and move it into place in one step, over an earlier one.

    It holds the program's files that ship, and texts by file name, such as card.md.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    try:
        new = work / "new"
        new.mkdir(mode=0o755)
        for name in _shipped(program, runtime):
            shutil.copyfile(program / name, new / name)
        (new / "preprocess.json").write_text(json.dumps(preprocess(dataset), indent=1) + "\n")
        (new / "predict.py").write_text(predict(runtime))
        (new / "requirements.txt").write_text(requirements(runtime))
        for name, text in texts.items():
            (new / name).write_text(text, encoding="utf-8")
        names = sorted(path.name for path in new.iterdir())
        sums = "".join(f"{sha256_of(new / name)}  {name}\n" for name in names)
        (new / SUMS).write_text(sums)
        if place.exists():
            place.rename(work / "old")
        new.rename(place)
    finally:
        shutil.rmtree(work)


def _shipped(program: Path, runtime: Runtime) -> tuple[str, ...]:
    """List the runtime's own files; anything else that is logged could be run by predict.py."""
    assert runtime.standalone is not None
    names = runtime.standalone.files
    missing = [name for name in names if not (program / name).is_file()]
    require(not missing, f"files of runtime {runtime.name}", f"be {', '.join(names)}", missing)
    return names


def preprocess(dataset: Dataset) -> dict[str, object]:
    """Return the rules that predict.py reads: preprocessing and class names."""
    channels, height, width = dataset.input_shape
    require(channels in MODES, "dataset", "have 1 or 3 channels for predict.py", channels)
    return {
        "size": [width, height],
        "channels": channels,
        "mode": MODES[channels],
        "resize": asdict(dataset.resize),
        "mean": list(dataset.mean),
        "std": list(dataset.std),
        "classes": list(dataset.classes),
    }


def predict(runtime: Runtime) -> str:
    """Return predict.py: the template, with the code that decodes images and opens the files."""
    assert runtime.standalone is not None
    opener = runtime.standalone.open
    template = Template(Path(__file__).with_name("predict.template").read_text())
    return template.substitute(
        decode=_without_empty_lines(inspect.getsource(decode).partition('"""\n')[2]),
        source=_without_empty_lines(inspect.getsource(opener)),
        name=opener.__name__,
        threads=runtime.threads,
    )


def _without_empty_lines(code: str) -> str:
    return "\n".join(line for line in code.splitlines() if line.strip())


def requirements(runtime: Runtime) -> str:
    """Write requirements.txt: ranges of versions, each beside the measured one."""
    assert runtime.standalone is not None
    lines = [f"{text}  # measured with {version(name)}\n" for name, text in PLAIN.items()]
    for package in runtime.standalone.packages:
        release = version(package)
        major, minor = release.split(".")[:2]
        lines.append(f"{package}>={major}.{minor},<{int(major) + 1}  # measured with {release}\n")
    return "".join(lines)
