import hashlib
import io
import os
import pickle
import tarfile
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from paredown.dataset.cifar import Cifar10, Cifar100
from paredown.errors import ConfigError

PIXELS = np.random.default_rng(0).integers(0, 256, (60, 3072), dtype=np.uint8)
LABELS = (np.arange(60) % 3).tolist()
CONTENT = {
    "one": {"data": PIXELS[:20], "labels": LABELS[:20]},
    "two": {"data": PIXELS[20:40], "labels": LABELS[20:40]},
    "last": {"data": PIXELS[40:], "labels": LABELS[40:]},
    "meta": {"names": ["cat", "dog", "ship"]},
}
CLOSED = "http://127.0.0.1:1/small.tar.gz"


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> type[datasets.CIFAR10]:
    """CIFAR-10 as torchvision has it, but with the small archive that `write` writes."""

    class Small(datasets.CIFAR10):
        base_folder, filename, url, tgz_md5 = "small-py", "small.tar.gz", CLOSED, "0" * 32
        train_list, test_list = (
            [[name, md5(pickle.dumps(CONTENT[name]))] for name in names]
            for names in (("one", "two"), ("last",))
        )
        meta = {  # noqa: RUF012
            "filename": "meta", "key": "names", "md5": md5(pickle.dumps(CONTENT["meta"])),
        }  # fmt: skip

    monkeypatch.setattr(datasets, "CIFAR10", Small)
    return Small


def write(folder: Path, **files: bytes) -> None:
    """Write the unpacked archive."""
    place = folder / "small-py"
    place.mkdir(parents=True, exist_ok=True)
    for name, value in CONTENT.items():
        (place / name).write_bytes(files.get(name, pickle.dumps(value)))


def source(folder: Path, val_images: int = 9) -> Cifar10:
    return Cifar10(folder=str(folder), split_seed=0, val_images=val_images, crop=4, flip=True)


def test_every_image_is_in_one_split_and_keeps_its_label(small: object, tmp_path: Path) -> None:
    write(tmp_path)
    data = source(tmp_path).load()
    assert [len(split) for split in (data.train, data.val, data.test)] == [31, 9, 20]
    assert (data.name, data.classes) == ("cifar10", ("cat", "dog", "ship"))
    labelled = {PIXELS[index].tobytes(): LABELS[index] for index in range(40)}
    loaded = {
        image.tobytes(): label
        for split in (data.train, data.val)
        for image, label in zip(split.images, split.labels, strict=True)
    }
    assert loaded == labelled
    assert np.array_equal(data.test.images, PIXELS[40:].reshape(-1, 3, 32, 32))
    assert np.array_equal(data.test.labels, LABELS[40:])
    assert data.fingerprint == "e7a27c159f06365b53ea064dd6d0ca9a"


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch /tmp/paredown-was-here",)


def test_a_pickle_that_was_not_published_is_refused_and_does_not_run(
    small: object, tmp_path: Path
) -> None:
    Path("/tmp/paredown-was-here").unlink(missing_ok=True)
    for name in CONTENT:
        write(tmp_path, **{name: pickle.dumps({"data": Evil(), "labels": []})})
        with pytest.raises(ConfigError, match="missing or of another checksum"):
            source(tmp_path).load()
    assert not Path("/tmp/paredown-was-here").exists()


@pytest.mark.parametrize("name", CONTENT)
def test_a_damaged_or_missing_file_is_refused(name: str, small: object, tmp_path: Path) -> None:
    write(tmp_path)
    file = tmp_path / "small-py" / name
    line = r"^dataset\.folder must hold small-py as published, .* of another checksum; .*again$"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ConfigError, match=line):
        source(tmp_path).load()
    file.unlink()
    with pytest.raises(ConfigError, match=line):
        source(tmp_path).load()


def test_without_a_network_the_error_names_the_folder_and_the_address(
    small: object, tmp_path: Path
) -> None:
    line = r"^dataset\.folder must hold small-py, got .*127\.0\.0\.1:1/small\.tar\.gz cannot be"
    with pytest.raises(ConfigError, match=line) as caught:
        source(tmp_path).load()
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class QuietServer(ThreadingHTTPServer):
    """Prints nothing where torchvision, which only asks for redirections, hangs up."""

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@pytest.fixture
def served(small: type[datasets.CIFAR10], tmp_path: Path) -> type[datasets.CIFAR10]:
    """The small archive behind an address."""
    write(tmp_path / "web")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(tmp_path / "web" / "small-py", "small-py")
    (tmp_path / "web" / "small.tar.gz").write_bytes(packed.getvalue())
    handler = partial(Quiet, directory=str(tmp_path / "web"))
    with QuietServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        small.url = f"http://127.0.0.1:{server.server_port}/small.tar.gz"
        small.tgz_md5 = md5(packed.getvalue())
        yield small
        server.shutdown()
        thread.join()


def test_missing_files_are_fetched_once_and_leave_no_archive(
    served: type[datasets.CIFAR10], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = source(tmp_path / "data").load()
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["small-py"]
    served.url = CLOSED
    assert source(tmp_path / "data").load().fingerprint == first.fingerprint


def test_an_archive_of_another_checksum_is_not_unpacked(
    served: type[datasets.CIFAR10], tmp_path: Path
) -> None:
    served.tgz_md5 = "f" * 32
    with pytest.raises(ConfigError, match=r"small\.tar\.gz cannot be fetched .*corrupted"):
        source(tmp_path / "data").load()
    assert not list((tmp_path / "data").iterdir())


@pytest.mark.parametrize("kind", [Cifar10, Cifar100])
def test_torchvision_has_the_data_set(kind: type[Cifar10]) -> None:
    published = getattr(datasets, kind.published)
    assert published.url.endswith("python.tar.gz")
    assert issubclass(published, datasets.CIFAR10)


@pytest.mark.parametrize(
    ("field", "value"), [("split_seed", -1), ("val_images", 0), ("crop", 17), ("mixup", -1.0)]
)
def test_a_value_out_of_range_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"^{field} must"):
        replace(source(Path("data")), **{field: value})
