import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from paredown.errors import ConfigError
from paredown.host import process
from paredown.host.process import (
    LOCK,
    MACHINE,
    alive,
    died,
    is_free,
    living,
    owner,
    refusing_exit,
    user_name,
)


@pytest.fixture
def gone() -> dict:
    """The owner that a process named before it ended."""
    script = "import json; from paredown.host.process import owner; print(json.dumps(owner()))"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    return json.loads(told.stdout)


def test_a_process_that_ended_has_died_and_this_one_has_not(gone: dict) -> None:
    assert died(gone)
    assert not died(owner())


def test_an_owner_that_an_older_version_wrote_is_told_by_its_host_alone(gone: dict) -> None:
    old = {"host": gone["host"], "pid": os.getpid(), "started": psutil.Process().create_time()}
    assert not died(old)
    assert died({**old, "pid": gone["pid"]})


def test_a_step_of_the_clock_kills_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    before = owner()
    monkeypatch.setattr(psutil, "boot_time", lambda: 0.0)
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: 12_345.0)  # as after a step
    assert not died(before)
    assert before["started"] < process.EPOCH


def elsewhere(who: dict, boot: bool = False, namespace: bool = True) -> dict:
    first, second, *rest = who[MACHINE].split(" ")
    second = "pid:[4026599999]" if namespace else second
    return {**who, MACHINE: " ".join(["another" if boot else first, second, *rest])}


def test_a_container_with_our_host_name_is_not_judged_by_our_processes(gone: dict) -> None:
    assert not died(elsewhere(gone))
    assert not died(elsewhere(gone, boot=True))
    assert not died({**gone, "host": "another"})


def test_a_container_is_dead_when_its_lock_is_free(gone: dict, tmp_path: Path) -> None:
    lock = living(tmp_path, ".owner-")
    there = {**elsewhere(gone), LOCK: Path(lock.lock_file).name}
    assert not died(there, tmp_path)
    lock.release()
    assert died(there, tmp_path)
    assert not died({**there, LOCK: "missing.lock"}, tmp_path)
    assert not died(elsewhere(there, boot=True), tmp_path)


def test_a_machine_that_was_started_anew_has_none_of_its_old_processes(
    gone: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "machine_id", lambda: f"now {process.OUTSIDE} installed")
    before = f"before {process.OUTSIDE} installed"
    assert died({**gone, MACHINE: before})
    assert not died({**gone, MACHINE: f"before {process.OUTSIDE} another"})  # one of equal name


def test_a_pid_that_was_given_away_again_is_not_alive() -> None:
    assert alive(os.getpid(), owner()["started"])
    assert not alive(os.getpid(), owner()["started"] - 5)


def test_a_lock_is_free_when_nobody_holds_it(tmp_path: Path) -> None:
    lock = living(tmp_path, "x-")
    assert not is_free(Path(lock.lock_file))
    lock.release()
    assert is_free(Path(lock.lock_file))
    assert not is_free(tmp_path / "missing.lock")


def test_a_user_without_an_entry_has_a_name_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 987_654)
    assert user_name() == "uid987654"


@pytest.mark.parametrize(
    ("end", "how"),
    [
        (lambda: sys.exit(), r"sys.exit\(None\)"),
        (lambda: sys.exit(0), r"sys.exit\(0\)"),
        (lambda: os._exit(0), r"os._exit\(0\)"),
        (lambda: sys.exit("done"), "done"),
    ],
)
def test_code_that_ends_the_process_is_refused(end: object, how: str) -> None:
    leave = os._exit
    told = "model.target must not end the process, got"
    with pytest.raises(ConfigError, match=f"^{told} {how}"), refusing_exit(ConfigError, told):
        end()
    assert os._exit is leave


def test_a_signal_ends_the_process_all_the_same() -> None:
    with pytest.raises(SystemExit) as ended, refusing_exit(ConfigError, "model.target must"):
        raise SystemExit(143)
    assert ended.value.code == 143


def test_threads_wait_politely_unless_the_user_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", process.POLITE):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    plain = dict(os.environ)
    process.wait_politely()
    assert os.environ["GOMP_SPINCOUNT"] == "1000"
    assert process.impatient() == plain
    process.wait_politely()
    assert process.impatient() == plain
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.delenv(process.POLITE)
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    process.wait_politely()
    assert process.impatient() == {**plain, "GOMP_SPINCOUNT": "7"}


def test_a_command_waits_politely_before_torch_is_imported() -> None:
    script = (
        "import os, sys, paredown.cli.commands\n"
        "print('torch' in sys.modules, os.environ['GOMP_SPINCOUNT'])"
    )
    plain = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    command = [sys.executable, "-c", script]
    told = subprocess.run(command, env=plain, capture_output=True, text=True, check=True)
    assert told.stdout == "False 1000\n"
