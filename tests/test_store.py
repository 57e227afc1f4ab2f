import errno
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paredown.errors import ConfigError, RunError
from paredown.store import StoreFolder
from paredown.store.entry import MANIFEST, find_fault
from paredown.store.hashing import code_of, key_of
from paredown.store.local import Store

ABOUT = {"stage": "baseline"}
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


class Maker:
    """Fills an entry and counts how often it was asked to."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, folder: Path) -> None:
        self.count += 1
        (folder / "inner").mkdir()
        (folder / "inner" / "weights").write_bytes(bytes(range(256)))
        (folder / "curves").write_text("[]")


@pytest.fixture
def make() -> Maker:
    return Maker()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_an_entry_is_made_once_and_then_served(store: Store, make: Maker) -> None:
    first, second = store.get("key", ABOUT, make), store.get("key", ABOUT, make)
    assert (first, make.count) == (second, 1)
    assert (first / "inner" / "weights").read_bytes() == bytes(range(256))


def test_another_key_is_another_entry(store: Store, make: Maker) -> None:
    assert store.get("one", ABOUT, make) != store.get("two", ABOUT, make)
    assert make.count == 2


def test_an_entry_outlives_the_store_object(store: Store, make: Maker) -> None:
    store.get("key", ABOUT, make)
    Store(store.folder).get("key", ABOUT, make)
    assert make.count == 1


def flip_a_byte(place: Path) -> None:
    content = bytearray((place / "inner" / "weights").read_bytes())
    content[100] ^= 1
    (place / "inner" / "weights").write_bytes(content)


def truncate(place: Path) -> None:
    (place / "inner" / "weights").write_bytes(bytes(range(255)))


def remove(place: Path) -> None:
    (place / "inner" / "weights").unlink()


def manifest(text: str) -> Callable[[Path], object]:
    return lambda place: (place / MANIFEST).write_text(text)


DAMAGES = {
    "flipped byte": flip_a_byte,
    "truncated file": truncate,
    "missing file": remove,
    "missing manifest": lambda place: (place / MANIFEST).unlink(),
    "empty manifest": manifest(""),
    "cut manifest": manifest('{"files": {"curves": "4f'),
    "manifest without files": manifest("{}"),
    "manifest that is a list": manifest("[]"),
    "manifest that is null": manifest("null"),
    "manifest with a list of files": manifest('{"files": ["curves"]}'),
    "manifest of garbage": lambda place: (place / MANIFEST).write_bytes(b"\xff\xfe\x00"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_set_aside_told_and_made_again(
    store: Store, make: Maker, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    place = store.get("key", ABOUT, make)
    DAMAGES[damage](place)
    with caplog.at_level(logging.WARNING):
        assert store.get("key", ABOUT, make) == place
    assert make.count == 2
    assert find_fault(place) is None
    aside = [path for path in store.folder.iterdir() if "damaged" in path.name]
    assert len(aside) == 1
    assert find_fault(aside[0]) is not None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert aside[0].name in caplog.text


def test_an_entry_damaged_twice_is_made_again_twice(store: Store, make: Maker) -> None:
    for _ in range(2):
        flip_a_byte(store.get("key", ABOUT, make))
    store.get("key", ABOUT, make)
    assert make.count == 3


def test_a_fault_names_the_file(store: Store, make: Maker) -> None:
    place = store.get("key", ABOUT, make)
    flip_a_byte(place)
    assert find_fault(place) == "key/inner/weights is damaged"
    remove(place)
    assert find_fault(place) == "key/inner/weights is missing"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_make_leaves_nothing_behind_but_the_lock(
    store: Store, make: Maker, error: type[BaseException]
) -> None:
    def fail(folder: Path) -> None:
        make(folder)
        raise error

    with pytest.raises(error):
        store.get("key", ABOUT, fail)
    assert {path.name for path in store.folder.iterdir()} <= {"key.lock", ".use"}
    store.get("key", ABOUT, make)
    assert make.count == 2


def test_a_full_disk_is_told_in_one_line_and_leaves_nothing(store: Store) -> None:
    def fill(folder: Path) -> None:
        (folder / "weights").write_bytes(bytes(1000))
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(RunError, match=r"the disk is full after 1,000 bytes of baseline"):
        store.get("key", ABOUT, fill)
    assert {path.name for path in store.folder.iterdir()} <= {"key.lock", ".use"}


def test_the_rest_of_a_process_that_died_is_cleared_and_no_other(store: Store, make: Maker) -> None:
    for name in (".key-dead", ".other-busy"):
        (store.folder / name).mkdir()
    store.get("key", ABOUT, make)
    left = {path.name for path in store.folder.iterdir()} - {"key.lock", ".use"}
    assert left == {"key", ".other-busy"}


ASK = """
import sys, time
from pathlib import Path
from paredown.store import Store

folder, start = Path(sys.argv[1]), float(sys.argv[2])

def make(place):
    with (folder / "made").open("a") as file:
        file.write("once\\n")
    time.sleep(0.5)
    (place / "file").write_bytes(bytes(30_000_000))

store = Store(folder)
time.sleep(max(0, start - time.time()))
print(store.get("key", {"stage": "baseline"}, make), flush=True)
"""


def ask_twice(folder: Path) -> list[str]:
    """Ask for one entry in two processes at the same time."""
    asked = [sys.executable, "-c", ASK, str(folder), str(time.time() + 0.5)]
    children = [subprocess.Popen(asked, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [child.communicate(timeout=30)[0].strip() for child in children]
    assert [child.returncode for child in children] == [0, 0]
    return told


def test_two_processes_that_need_one_entry_make_it_once(tmp_path: Path) -> None:
    assert ask_twice(tmp_path) == [str(tmp_path / "key")] * 2
    assert (tmp_path / "made").read_text() == "once\n"


def test_two_processes_that_find_one_entry_damaged_make_it_again_once(
    tmp_path: Path,
) -> None:
    place = Store(tmp_path).get("key", ABOUT, lambda folder: large(folder / "file"))
    with (place / "file").open("r+b") as file:
        file.write(b"x")
    assert ask_twice(tmp_path) == [str(place)] * 2
    assert (tmp_path / "made").read_text() == "once\n"
    assert find_fault(place) is None


def large(file: Path) -> None:
    file.write_bytes(bytes(30_000_000))  # both processes take a while to read it


def test_a_store_that_is_off_keeps_nothing(make: Maker) -> None:
    with StoreFolder("off").open() as store:
        place = store.get("key", ABOUT, make)
        assert place.is_dir()
    assert not store.folder.exists()


def test_a_relative_folder_counts_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with StoreFolder("kept").open() as store:
        assert store.folder == tmp_path / "kept"


@given(st.dictionaries(st.text(max_size=5), PLAIN))
def test_a_key_does_not_depend_on_the_order_of_a_dictionary(data: dict[str, object]) -> None:
    backwards = dict(reversed(data.items()))
    assert key_of(data) == key_of(backwards)
    assert key_of([{"inner": data}]) == key_of([{"inner": backwards}])


def test_a_key_tells_apart_what_differs() -> None:
    parts = [("a", "b"), ("ab",), ("b", "a"), (["a", "b"],), (1,), ("1",), (None,), ({"a": 1},)]
    assert len({key_of(*part) for part in parts}) == len(parts)


def test_a_key_is_the_same_in_another_process() -> None:
    script = "from paredown.store.hashing import key_of; print(key_of({'b': 1, 'a': [0.1, None]}))"
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == key_of({"a": [0.1, None], "b": 1})


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Write a package with another one inside."""
    package = tmp_path / "mended_package"
    (package / "nested" / "deep").mkdir(parents=True)
    for folder in (package, package / "nested", package / "nested" / "deep"):
        (folder / "__init__.py").write_text("")
    (package / "inner.py").write_text("VALUE = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield package
    for name in [name for name in sys.modules if name.startswith("mended_package")]:
        del sys.modules[name]


def hashes() -> list[str]:
    code_of.cache_clear()
    names = ("mended_package", "mended_package.inner", "mended_package.nested.deep")
    return [code_of(import_module(name)) for name in names]


def test_mended_code_changes_the_hash_of_its_module_and_of_every_package_around_it(
    written: Path,
) -> None:
    before = hashes()
    (written / "inner.py").write_text("VALUE = 2\n")
    mended = hashes()
    assert [one == other for one, other in zip(before, mended, strict=True)] == [False, False, True]
    (written / "nested" / "deep" / "new.py").write_text("")
    added = hashes()
    assert [one == other for one, other in zip(mended, added, strict=True)] == [False, True, False]
    (written / "nested" / "deep" / "new.py").rename(written / "nested" / "deep" / "other.py")
    assert hashes()[0] != added[0]


def test_a_module_without_a_file_has_no_hash_and_is_refused(tmp_path: Path) -> None:
    for module in (ModuleType("typed_in"), ModuleType("removed")):
        if module.__name__ == "removed":
            module.__file__ = str(tmp_path / "removed.py")
        with pytest.raises(ConfigError, match=f"^module {module.__name__} must have its source"):
            code_of(module)


def test_a_store_that_was_removed_is_made_again(store: Store, make: Maker) -> None:
    store.get("key", ABOUT, make)
    shutil.rmtree(store.folder)
    assert find_fault(store.get("key", ABOUT, make)) is None
    assert make.count == 2


def test_a_store_that_is_removed_while_an_entry_is_made_costs_its_making_alone(
    store: Store, make: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    def vanish(folder: Path) -> None:
        if not make.count:
            shutil.rmtree(store.folder)
            make.count = 1
            (folder / "weights").write_bytes(b"")
        make(folder)

    assert find_fault(store.get("key", ABOUT, vanish)) is None
    assert "key was removed while it was made; making it again" in caplog.text


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize(("mask", "folder", "file"), [(0o022, 0o755, 0o644), (0o077, 0o700, 0o600)])
def test_an_entry_has_the_rights_that_umask_leaves(
    tmp_path: Path, mask: int, folder: int, file: int
) -> None:
    def private(place: Path) -> None:
        (place / "inner").mkdir(mode=0o700)
        (place / "inner" / "weights").touch(mode=0o600)  # as a library may make it
        (place / "curves").touch()

    with umask(mask):
        place = Store(tmp_path / "store").get("key", ABOUT, private)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (place, *place.rglob("*"))}
    assert modes == {
        "key": folder,
        "inner": folder,
        "weights": file,
        "curves": file,
        MANIFEST: file,
    }


AS_ANOTHER = """
import os, sys
from pathlib import Path
from paredown.errors import ConfigError
from paredown.store import Store, StoreFolder

def make(folder):
    print("made")
    (folder / "weights").write_bytes(b"weights")

with StoreFolder("off").open() as first:  # imports, which root's Python lets nobody else do
    first.get("key", {"stage": "baseline"}, lambda folder: None)
os.umask(0o002)
os.setgroups([])
os.setgid(54321)
os.setuid(int(sys.argv[1]))

for key in sys.argv[3:]:
    try:
        print(Store(Path(sys.argv[2])).get(key, {"stage": "baseline"}, make).name)
    except ConfigError as error:
        print("refused:", error)
"""


def ask_as(user: int, store: Path, *keys: str) -> list[str]:
    asked = [sys.executable, "-c", AS_ANOTHER, str(user), str(store), *keys]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split("\n")[:-1]


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder of a group's, which pytest's own folders would not let another user into."""
    if os.getuid() != 0:
        pytest.skip("only root can be two users")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        store = Path(folder, "store")
        store.mkdir()
        os.chown(store, 0, 54321)
        store.chmod(0o2775)
        yield store


def test_two_users_share_a_store(shared: Path) -> None:
    assert ask_as(12_001, shared, "one") == ["made", "one"]
    assert ask_as(12_002, shared, "one", "two") == ["one", "made", "two"]
    assert ask_as(12_001, shared, "two") == ["two"]
    assert not [path for path in shared.iterdir() if "damaged" in path.name]


def test_an_entry_that_may_not_be_read_is_told_and_not_set_aside(shared: Path) -> None:
    ask_as(12_001, shared, "one")
    (shared / "one" / "weights").chmod(0o600)
    (told,) = ask_as(12_002, shared, "one")
    assert told.startswith("refused: store.folder must hold entries that may be read, got /")
    assert not [path for path in shared.iterdir() if "damaged" in path.name]


def test_a_full_disk_of_temporary_files_is_not_blamed_on_the_store(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/dev/shm")
    if Path("/dev/shm").stat().st_dev == store.folder.stat().st_dev:
        pytest.skip("needs a second file system")

    def fill(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/dev/shm/x/model.onnx")

    with pytest.raises(RunError, match=r"^/dev/shm: the disk of temporary files is full"):
        store.get("key", ABOUT, fill)
