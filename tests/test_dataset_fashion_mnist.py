import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command import SMALL, run_here, runs_of

from paredown.dataset import fashion_mnist
from paredown.dataset.fashion_mnist import DEBIAN, FashionMnist, read_idx
from paredown.errors import ConfigError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(1, 256, (200, 28, 28), dtype=np.uint8)
LABELS = np.tile(np.arange(10, dtype=np.uint8), 20)
FILES = {
    "train-images-idx3-ubyte": PIXELS,
    "train-labels-idx1-ubyte": LABELS,
    "t10k-images-idx3-ubyte": PIXELS[:50],
    "t10k-labels-idx1-ubyte": LABELS[:50],
}


def idx(array: np.ndarray) -> bytes:
    """Write the IDX format by the letter of its description."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes((0, 0, 8, array.ndim)) + sizes + array.tobytes()


def source(folder: Path, **fields: object) -> FashionMnist:
    plain = FashionMnist(
        folder=str(folder), split_seed=0, val_images=20, train_images=None, crop=2, flip=True
    )
    return replace(plain, **fields)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twenty images a class as torchvision lays them out; Debian's package is not installed."""
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "nowhere")
    place = tmp_path / fashion_mnist.TORCHVISION
    place.mkdir(parents=True)
    for name, array in FILES.items():
        (place / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
    return tmp_path


def test_every_image_is_in_one_split_and_keeps_its_label(folder: Path) -> None:
    data = source(folder).load()
    assert [len(split) for split in (data.train, data.val, data.test)] == [180, 20, 50]
    labelled = {PIXELS[at].tobytes(): LABELS[at] for at in range(200)}
    found = {
        image[0, 2:-2, 2:-2].tobytes(): label
        for split in (data.train, data.val)
        for image, label in zip(split.images, split.labels, strict=True)
    }
    assert found == labelled
    assert np.array_equal(np.bincount(data.val.labels), [2] * 10)
    assert data.input_shape == (3, 32, 32)


def test_an_image_is_framed_in_black_and_alike_in_its_channels(folder: Path) -> None:
    images = source(folder).load().test.images
    assert np.array_equal(images[:, 1, 2:-2, 2:-2], PIXELS[:50])
    assert np.array_equal(images, images[:, :1].repeat(3, axis=1))
    assert images.sum(dtype=int) == 3 * PIXELS[:50].sum(dtype=int)


def test_unpacked_files_and_the_bare_folder_hold_the_same_images(folder: Path) -> None:
    place = folder / fashion_mnist.TORCHVISION
    for name, array in FILES.items():
        (place / f"{name}.gz").unlink()
        (place / name).write_bytes(idx(array))
    packed = source(folder).load().fingerprint
    assert source(place).load().fingerprint == packed


def test_fewer_training_images_are_some_of_all_and_leave_val_and_test_alone(folder: Path) -> None:
    whole, part = source(folder).load(), source(folder, train_images=40).load()
    assert np.array_equal(np.bincount(part.train.labels), [4] * 10)
    assert {i.tobytes() for i in part.train.images} < {i.tobytes() for i in whole.train.images}
    assert np.array_equal(part.val.images, whole.val.images)
    assert np.array_equal(part.test.images, whole.test.images)


def test_missing_files_are_told_with_both_places(folder: Path) -> None:
    line = (
        r"^dataset\.folder must hold FashionMNIST/raw/train-images-idx3-ubyte\.gz .*dataset-fashion"
    )
    with pytest.raises(ConfigError, match=line):
        source(folder / "elsewhere").load()


SHORT = gzip.compress(idx(PIXELS))[:-9000]
BROKEN = {
    "half a download": ("train-images-idx3-ubyte", SHORT, "hold a whole train-images"),
    "no gzip": ("train-labels-idx1-ubyte", b"<html>", "hold a whole train-labels"),
    "another format": (
        "train-images-idx3-ubyte",
        gzip.compress(b"\x89PNG" + bytes(99)),
        "IDX format",
    ),
    "fewer bytes than told": (
        "t10k-labels-idx1-ubyte",
        gzip.compress(idx(LABELS)[:-7]),
        "of 208 bytes",
    ),
    "no images": ("train-images-idx3-ubyte", gzip.compress(idx(PIXELS[:0])), "bytes, got 16"),
    "a label too few": (
        "train-labels-idx1-ubyte",
        gzip.compress(idx(LABELS[:-1])),
        "each of the 199 labels .*, got 200",
    ),
    "a label out of range": (
        "t10k-labels-idx1-ubyte",
        gzip.compress(idx(LABELS[:50] + 1)),
        r"labels of 0\.\.9, got 10",
    ),
    "larger images": (
        "t10k-images-idx3-ubyte",
        gzip.compress(idx(np.zeros((50, 29, 28), np.uint8))),
        "images of 28x28",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_file_that_is_not_what_it_should_be_is_named(folder: Path, what: str) -> None:
    name, content, line = BROKEN[what]
    (folder / fashion_mnist.TORCHVISION / f"{name}.gz").write_bytes(content)
    with pytest.raises(ConfigError, match=line) as caught:
        source(folder).load()
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_neighbour_is_named(folder: Path) -> None:
    (folder / fashion_mnist.TORCHVISION / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(ConfigError, match=r"must hold t10k-labels-idx1-ubyte or t10k"):
        source(folder).load()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("split_seed", -1),
        ("val_images", 0),
        ("train_images", 0),
        ("crop", -1),
        ("crop", 17),
        ("mixup", -0.1),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"^{field} must"):
        source(Path("data"), **{field: value})


@pytest.mark.parametrize(("field", "value"), [("val_images", 200), ("train_images", 181)])
def test_more_images_than_there_are_are_refused(folder: Path, field: str, value: int) -> None:
    with pytest.raises(ConfigError, match=rf"^dataset\.{field} must be"):
        source(folder, **{field: value}).load()


needs_package = pytest.mark.skipif(
    not DEBIAN.is_dir(), reason="needs apt-get install dataset-fashion-mnist"
)


@needs_package
def test_the_real_images_are_found_whole_and_normalized(tmp_path: Path) -> None:
    data = source(tmp_path, val_images=5000).load()
    assert [len(split) for split in (data.train, data.val, data.test)] == [55000, 5000, 10000]
    assert np.array_equal(np.bincount(data.val.labels), [500] * 10)
    pixels = data.normalize(data.train.images[:10000])
    assert pixels.mean() == pytest.approx(0, abs=0.01)
    assert pixels.std() == pytest.approx(1, abs=0.01)
    assert data.classes[data.test.labels[0]] == "ankle boot"


@needs_package
def test_the_files_of_the_package_are_read_as_torchvision_reads_them(tmp_path: Path) -> None:
    from torchvision.datasets import FashionMNIST

    place = tmp_path / fashion_mnist.TORCHVISION
    place.mkdir(parents=True)
    for name in FILES:
        (place / name).write_bytes(gzip.decompress((DEBIAN / f"{name}.gz").read_bytes()))
    theirs = FashionMNIST(str(tmp_path), train=False)
    assert np.array_equal(theirs.data.numpy(), read_idx(DEBIAN, "t10k-images-idx3-ubyte", 3))
    assert np.array_equal(theirs.targets.numpy(), read_idx(DEBIAN, "t10k-labels-idx1-ubyte", 1))
    assert theirs.classes[:2] == ["T-shirt/top", "Trouser"]


@needs_package
def test_a_short_run_learns_from_it(tmp_path: Path) -> None:
    few = ("dataset.train_images=4000", "dataset.val_images=1000")
    done = run_here(tmp_path, "dataset=fashion_mnist", *few, *SMALL, "training.epochs=3")
    assert done.returncode == 0, done.stderr
    (run,) = runs_of(tmp_path)
    assert run.data.metrics["baseline/accuracy"] > 0.7
    assert run.data.metrics["accuracy"] > 0.5
    assert run.data.tags["dataset"].startswith("fashion_mnist ")
