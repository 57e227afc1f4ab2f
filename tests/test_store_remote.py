"""The store in an object store: moto's server stands in for S3, conditional writes included."""

import hashlib
import json
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from paredown.errors import ConfigError
from paredown.store import StoreFolder, remote
from paredown.store.entry import MANIFEST
from paredown.store.remote import RemoteStore
from paredown.trust import allow

URL, KEY = "s3://bucket/store", "0" * 32
ABOUT = {"stage": "baseline", "kind": "weights"}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    moto = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line a request
    started = moto.ThreadedMotoServer(port=0, verbose=False)
    started.start()
    yield "http://{}:{}".format(*started.get_host_and_port())
    started.stop()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import boto3
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()  # a test before may have had no credentials
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr(remote, "POLL", 0.02)
    made = boto3.resource("s3").create_bucket(Bucket="bucket")
    yield
    made.objects.all().delete()
    made.delete()


class Maker:
    """Writes an entry, and counts how often."""

    def __init__(self, text: str = "weights") -> None:
        self.text, self.count = text, 0
        self.begun, self.go = threading.Event(), threading.Event()
        self.go.set()

    def __call__(self, folder: Path) -> None:
        self.count += 1
        self.begun.set()
        assert self.go.wait(10)
        (folder / "inner").mkdir()
        (folder / "inner" / "file").write_text(self.text)


def read(place: Path) -> str:
    return (place / "inner" / "file").read_text()


@pytest.mark.usefixtures("bucket")
def test_what_one_worker_made_another_fetches(tmp_path: Path) -> None:
    maker = Maker()
    first, second = (RemoteStore(URL, tmp_path / name) for name in ("one", "other"))
    assert not second.has(KEY)
    assert read(first.get(KEY, ABOUT, maker)) == "weights"
    assert second.has(KEY)
    place = second.get(KEY, ABOUT, maker)
    assert place == tmp_path / "other" / KEY
    assert read(place) == "weights"
    assert maker.count == 1


@pytest.mark.usefixtures("bucket")
def test_one_makes_an_entry_and_the_others_wait(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    maker = Maker()
    maker.go.clear()
    found: list[str] = []

    def work(name: str) -> None:
        found.append(read(RemoteStore(URL, tmp_path / name).get(KEY, ABOUT, maker)))

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    with caplog.at_level(logging.INFO):
        for thread in threads:
            thread.start()
        assert maker.begun.wait(10)
        while caplog.text.count("another worker is making it; waiting") < 2:
            assert any(thread.is_alive() for thread in threads)
        maker.go.set()
        for thread in threads:
            thread.join(10)
    assert found == ["weights"] * 3
    assert maker.count == 1


@pytest.mark.usefixtures("bucket")
def test_the_lease_of_a_worker_that_died_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "DEAD", 0.1)
    store, maker = RemoteStore(URL, tmp_path), Maker()
    store._fs.pipe_file(f"bucket/store/{KEY}.lease", b"left by a worker that was killed")
    assert read(store.get(KEY, ABOUT, maker)) == "weights"
    assert not store._fs.exists(f"bucket/store/{KEY}.lease")


@pytest.mark.usefixtures("bucket")
def test_a_lease_that_is_renewed_is_not_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "DEAD", 0.5)
    monkeypatch.setattr(remote, "BEAT", 0.05)
    slow, quick = Maker("slow"), Maker("quick")
    slow.go.clear()
    stores = [RemoteStore(URL, tmp_path / name) for name in ("one", "other")]
    holder = threading.Thread(target=stores[0].get, args=(KEY, ABOUT, slow))
    holder.start()
    assert slow.begun.wait(10)
    waiter = threading.Thread(target=stores[1].get, args=(KEY, ABOUT, quick))
    waiter.start()
    waiter.join(1.5)  # three times as long as a dead one's would have lasted
    assert waiter.is_alive()
    slow.go.set()
    waiter.join(10)
    holder.join(10)
    assert read(tmp_path / "other" / KEY) == "slow"
    assert quick.count == 0


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_an_entry_that_was_damaged_there_is_made_again(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = RemoteStore(URL, tmp_path / "one")
    store.get(KEY, ABOUT, Maker())
    file = f"bucket/store/{KEY}/inner/file"
    if damage == "changed":
        store._fs.pipe_file(file, b"w3ights")
    else:
        store._fs.rm_file(file)
    maker = Maker()
    assert read(RemoteStore(URL, tmp_path / "two").get(KEY, ABOUT, maker)) == "weights"
    assert maker.count == 1
    assert "making it again" in caplog.text
    assert read(RemoteStore(URL, tmp_path / "three").get(KEY, ABOUT, maker)) == "weights"
    assert maker.count == 1


@pytest.mark.usefixtures("bucket")
def test_an_entry_without_its_manifest_is_not_there(tmp_path: Path) -> None:
    """What a worker leaves that was killed while it sent files."""
    store = RemoteStore(URL, tmp_path / "one")
    store.get(KEY, ABOUT, Maker())
    store._fs.rm_file(f"bucket/store/{KEY}/{MANIFEST}")
    other, maker = RemoteStore(URL, tmp_path / "other"), Maker("again")
    assert not other.has(KEY)
    assert read(other.get(KEY, ABOUT, maker)) == "again"
    sent = json.loads(other._fs.cat_file(f"bucket/store/{KEY}/{MANIFEST}"))
    assert sent["about"] == ABOUT


@pytest.mark.usefixtures("bucket")
def test_an_error_while_an_entry_is_made_frees_it(tmp_path: Path) -> None:
    def broken(folder: Path) -> None:
        raise ValueError("no")

    store = RemoteStore(URL, tmp_path)
    with pytest.raises(ValueError, match="no"):
        store.get(KEY, ABOUT, broken)
    assert read(store.get(KEY, ABOUT, Maker())) == "weights"


@pytest.mark.usefixtures("bucket")
def test_a_url_names_a_store_in_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with StoreFolder(URL).open() as store:
        assert isinstance(store, RemoteStore)
        assert store.get(KEY, ABOUT, Maker()).is_relative_to(tmp_path / "paredown" / "remote")


@pytest.mark.usefixtures("bucket")
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    rule = r"^store\.folder must be a URL that can be read and written, got "
    with pytest.raises(ConfigError, match=f"{rule}s3://nowhere/store: .*bucket does not exist"):
        RemoteStore("s3://nowhere/store", tmp_path)
    with pytest.raises(ConfigError, match=f"{rule}nothing://x: Protocol not known: nothing"):
        RemoteStore("nothing://x", tmp_path)


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize("name", ["{home}/.bashrc", "../../.bashrc", "inner/../../../.bashrc"])
def test_a_manifest_with_hostile_names_overwrites_no_file_of_a_worker(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    canary = tmp_path / ".bashrc"
    canary.write_text("the user's own")
    name = name.format(home=tmp_path)
    store = RemoteStore(URL, tmp_path / "stores" / "one")
    text = b"touch owned"
    manifest = {"files": {name: hashlib.sha256(text).hexdigest()}, "about": ABOUT}
    for place in (f"bucket/store/{KEY}/{name}", f"bucket/store/{KEY}/{name}".replace("//", "/")):
        store._fs.pipe_file(place, text)
    store._fs.pipe_file(f"bucket/store/{KEY}/{MANIFEST}", json.dumps(manifest).encode())
    maker = Maker()
    assert read(store.get(KEY, ABOUT, maker)) == "weights"
    assert maker.count == 1
    assert canary.read_text() == "the user's own"
    assert "names a file that is not within it" in caplog.text
    other = RemoteStore(URL, tmp_path / "stores" / "two")
    assert read(other.get(KEY, ABOUT, maker)) == "weights"  # what was sent in its place
    assert maker.count == 1


@pytest.mark.usefixtures("bucket")
def test_machine_code_of_others_is_fetched_only_if_the_user_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAREDOWN_ALLOW", "")

    def compile_it(folder: Path) -> None:
        (folder / "model.pt2").write_bytes(b"machine code")

    RemoteStore(URL, tmp_path / "one").get(KEY, ABOUT, compile_it)
    other = RemoteStore(URL, tmp_path / "other")
    with pytest.raises(
        ConfigError, match=r"machine code.*got model.pt2; .*trust.allow=\[model.pt2"
    ):
        other.get(KEY, ABOUT, compile_it)
    assert not list((tmp_path / "other").glob("*/model.pt2"))
    allow("model.pt2")
    assert (other.get(KEY, ABOUT, compile_it) / "model.pt2").is_file()


def test_a_url_without_credentials_is_refused_with_what_it_needs(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()  # it remembers its credentials
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=r"credentials; set AWS_ACCESS_KEY_ID"):
        RemoteStore("s3://other/store", tmp_path)


class AwayError(Exception):
    """As the errors of a client that has its own, such as botocore's."""


def go_away(store: RemoteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every request fail from now on."""

    def fail(*args: object, **kwargs: object) -> None:
        raise AwayError("could not connect")

    for name in ("cat_file", "pipe_file", "put_file", "get_file", "rm_file", "exists"):
        monkeypatch.setattr(store._fs, name, fail)


@pytest.mark.usefixtures("bucket")
def test_a_store_that_goes_away_costs_nothing_and_gets_the_entry_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store, maker = RemoteStore(URL, tmp_path / "one"), Maker()
    with monkeypatch.context() as patched:
        go_away(store, patched)
        assert not store.has(KEY)
        assert read(store.get(KEY, ABOUT, maker)) == "weights"
        assert read(store.get(KEY, ABOUT, maker)) == "weights"
    assert caplog.text.count("does not answer (could not connect)") == 1
    assert maker.count == 1
    store.get(KEY, ABOUT, maker)  # it is back
    other = RemoteStore(URL, tmp_path / "other")
    assert other.has(KEY)
    assert read(other.get(KEY, ABOUT, maker)) == "weights"
    assert maker.count == 1
    assert not list((tmp_path / "one").glob("*.unsent"))


@pytest.mark.usefixtures("bucket")
def test_a_heartbeat_outlives_a_store_that_is_away_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "BEAT", 0.02)
    store, maker = RemoteStore(URL, tmp_path / "one"), Maker()
    maker.go.clear()
    work = threading.Thread(target=store.get, args=(KEY, ABOUT, maker))
    work.start()
    assert maker.begun.wait(10)
    lease, fs = f"bucket/store/{KEY}.lease", RemoteStore(URL, tmp_path / "other")._fs
    with monkeypatch.context() as patched:
        go_away(store, patched)
        time.sleep(0.2)
    end, before = time.monotonic() + 10, fs.cat_file(lease)
    while fs.cat_file(lease) == before:
        assert time.monotonic() < end, "nobody renews the lease"
        time.sleep(0.02)
    maker.go.set()
    work.join(10)
    assert store.has(KEY)
