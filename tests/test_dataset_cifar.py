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
from typing import ClassVar

import numpy as np
import pytest

from paredown.dataset.cifar import Archive, Cifar, Cifar10, Cifar100
from paredown.errors import ConfigError

PIXELS = np.random.default_rng(0).integers(0, 256, (60, 3072), dtype=np.uint8)
LABELS = (np.arange(60) % 3).tolist()
CONTENT = {
    "one": {"data": PIXELS[:20], "labels": LABELS[:20]},
    "two": {"data": PIXELS[20:40], "labels": LABELS[20:40]},
    "last": {"data": PIXELS[40:], "labels": LABELS[40:]},
    "meta": {"names": ["cat", "dog", "ship"]},
}


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def write(folder: Path, content: dict[str, object] = CONTENT, **files: bytes) -> type[Cifar]:
    """Write an archive as the published ones are, but small; give what reads it."""
    place = folder / "small-py"
    place.mkdir(parents=True, exist_ok=True)
    sums = {}
    for name, value in content.items():
        raw = files.get(name, pickle.dumps(value))
        (place / name).write_bytes(raw)
        sums[name] = md5(raw)

    class Small(Cifar):
        archive: ClassVar[Archive] = Archive(
            "small", "http://127.0.0.1:1/small.tar.gz", "0" * 32, "small-py",
            {"one": sums["one"], "two": sums["two"]}, {"last": sums["last"]},
            ("meta", "names", sums["meta"]), "labels", (0.5,) * 3, (0.25,) * 3,
        )  # fmt: skip

    return Small


def source(kind: type[Cifar], folder: Path, val_images: int = 9) -> Cifar:
    return kind(str(folder), 0, val_images, 4, True, 0.0)


def test_every_image_is_in_one_split_and_keeps_its_label(tmp_path: Path) -> None:
    data = source(write(tmp_path), tmp_path).load()
    assert [len(split) for split in (data.train, data.val, data.test)] == [31, 9, 20]
    assert data.classes == ("cat", "dog", "ship")
    labelled = {PIXELS[at].tobytes(): LABELS[at] for at in range(40)}
    found = {
        image.tobytes(): label
        for split in (data.train, data.val)
        for image, label in zip(split.images, split.labels, strict=True)
    }
    assert found == labelled
    assert np.array_equal(data.test.images, PIXELS[40:].reshape(-1, 3, 32, 32))
    assert np.array_equal(data.test.labels, LABELS[40:])


def test_pickles_of_python_2_are_read(tmp_path: Path) -> None:
    """As the published files are: numpy's old module, and bytes that are texts."""
    raw = PIXELS[:20].tobytes().decode("latin1").encode("unicode_escape").replace(b"'", b"\\x27")
    old = (
        b"(dp0\nS'data'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\n"
        b"tp4\nS'b'\np5\ntp6\nRp7\n(I1\n(I20\nI3072\ntp8\ncnumpy\ndtype\np9\n(S'u1'\np10\nI0\nI1\n"
        b"tp11\nRp12\n(I3\nS'|'\np13\nNNNI-1\nI-1\nI0\ntp14\nbI00\nS'" + raw + b"'\np15\ntp16\nb"
        b"sS'labels'\np17\n(lp18\n" + b"".join(b"I%d\na" % label for label in LABELS[:20]) + b"s."
    )
    data = source(write(tmp_path, one=old), tmp_path, val_images=3).load()
    found = {image.tobytes() for split in (data.train, data.val) for image in split.images}
    assert found == {image.tobytes() for image in PIXELS[:40]}


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch /tmp/paredown-was-here",)


def test_a_pickle_that_holds_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    Path("/tmp/paredown-was-here").unlink(missing_ok=True)
    kind = write(tmp_path, {**CONTENT, "two": {"data": Evil(), "labels": []}})
    with pytest.raises(ConfigError, match=r"two must hold arrays and texts, got code: it calls"):
        source(kind, tmp_path).load()
    assert not Path("/tmp/paredown-was-here").exists()


def test_a_damaged_file_is_told_by_its_checksum(tmp_path: Path) -> None:
    kind = write(tmp_path)
    whole = (tmp_path / "small-py" / "two").read_bytes()
    (tmp_path / "small-py" / "two").write_bytes(whole[:-100])
    with pytest.raises(ConfigError, match=r"small-py/two must have the MD5 checksum .*, got"):
        source(kind, tmp_path).load()
    (tmp_path / "small-py" / "two").unlink()
    with pytest.raises(ConfigError, match=r"^dataset\.folder must hold two, got .*fetched again"):
        source(kind, tmp_path).load()


@pytest.mark.parametrize(
    ("batch", "line"),
    [
        ({"data": PIXELS[:20], "labels": [*LABELS[:19], 3]}, r"labels of 0\.\.2, got 3"),
        ({"data": PIXELS[:20], "labels": [*LABELS[:19], -1]}, r"labels of 0\.\.2, got"),
        ({"data": PIXELS[:19], "labels": LABELS[:20]}, "hold 20 images of 3x32x32 bytes"),
        ({"data": PIXELS[:20].astype(float), "labels": LABELS[:20]}, "float64"),
        ({"data": PIXELS[:20]}, "have labels and data"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_named(
    tmp_path: Path, batch: dict[str, object], line: str
) -> None:
    kind = write(tmp_path, {**CONTENT, "one": batch})
    with pytest.raises(ConfigError, match=rf"small-py/one must .*{line}"):
        source(kind, tmp_path).load()


def test_without_a_network_the_place_and_the_address_are_told(tmp_path: Path) -> None:
    kind = write(tmp_path / "elsewhere")
    line = r"^dataset\.folder must hold small-py, got .*127\.0\.0\.1:1/small\.tar\.gz cannot be"
    with pytest.raises(ConfigError, match=line) as caught:
        source(kind, tmp_path).load()
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "small-py").exists()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> type[Cifar]:
    """A small archive behind an address, and what fetches it."""
    kind = write(tmp_path / "web")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(tmp_path / "web" / "small-py", "small-py")
    (tmp_path / "web" / "small.tar.gz").write_bytes(packed.getvalue())
    handler = partial(Quiet, directory=str(tmp_path / "web"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/small.tar.gz"
        kind.archive = replace(kind.archive, url=url, md5=md5(packed.getvalue()))
        yield kind
        server.shutdown()
        thread.join()


def test_missing_files_are_fetched_once_and_leave_no_archive(
    served: type[Cifar], tmp_path: Path
) -> None:
    first = source(served, tmp_path / "data").load()
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["small-py"]
    served.archive = replace(served.archive, url="http://127.0.0.1:1/gone.tar.gz")
    assert source(served, tmp_path / "data").load().fingerprint == first.fingerprint


def test_an_archive_of_another_checksum_is_not_unpacked(
    served: type[Cifar], tmp_path: Path
) -> None:
    served.archive = replace(served.archive, md5="f" * 32)
    with pytest.raises(ConfigError, match=r"small\.tar\.gz must have the MD5 checksum ffff"):
        source(served, tmp_path / "data").load()
    assert not list((tmp_path / "data").iterdir())


@pytest.mark.parametrize("ours", [Cifar10, Cifar100])
def test_addresses_and_checksums_are_torchvision_s(ours: type[Cifar]) -> None:
    from torchvision import datasets

    theirs, archive = getattr(datasets, ours.__name__.upper()), ours.archive
    assert (archive.url, archive.md5, archive.folder) == (
        theirs.url, theirs.tgz_md5, theirs.base_folder,
    )  # fmt: skip
    assert list(archive.train.items()) == [tuple(pair) for pair in theirs.train_list]
    assert list(archive.test.items()) == [tuple(pair) for pair in theirs.test_list]
    meta = theirs.meta
    assert archive.meta == (meta["filename"], meta["key"], meta["md5"])


@pytest.mark.parametrize(
    ("field", "value"), [("split_seed", -1), ("val_images", 0), ("crop", 17), ("mixup", -1.0)]
)
def test_a_value_out_of_range_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"^{field} must"):
        replace(Cifar10("data", 0, 5000, 4, True, 0.0), **{field: value})
