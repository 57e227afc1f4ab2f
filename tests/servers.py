"""Servers that tests start for themselves: PostgreSQL of Debian's packages, and MLflow's on top."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.error import URLError

import pytest
from command import ROOT

PASSWORD = "not-a-secret"  # of a server that lives as long as a test, on 127.0.0.1
PLACES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
WAIT = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PostgreSQL:
    """A cluster of its own in a folder; it can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        found = shutil.which("initdb") or next((str(at / "initdb") for at in PLACES), None)
        if found is None:
            pytest.skip("PostgreSQL is not installed")
        pytest.importorskip("psycopg")
        self._bin, self.port = Path(found).parent, free_port()
        self._user = "postgres" if os.getuid() == 0 else None  # it refuses to run as root
        self._data = folder / "data"
        secret = folder / "password"
        secret.write_text(PASSWORD)
        for place in (folder, secret):
            if self._user:
                shutil.chown(place, self._user)
        for parent in folder.parents:  # pytest's folders are for their owner alone
            if self._user and parent.stat().st_mode & 0o005 != 0o005:
                parent.chmod(parent.stat().st_mode | 0o011)
        self._do("initdb", "-U", "me", f"--pwfile={secret}", "-A", "scram-sha-256")
        self.start()
        import psycopg

        plain = self.url.replace("+psycopg", "")
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute("create database studies")

    @property
    def url(self) -> str:
        """Of the database for MLflow."""
        return f"postgresql+psycopg://me:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    @property
    def studies(self) -> str:
        """Of the database for studies: Optuna and MLflow want a table of the same name."""
        return f"postgresql+psycopg://me:{PASSWORD}@127.0.0.1:{self.port}/studies"

    def start(self) -> None:
        where = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        self._do("pg_ctl", "start", "-w", "-o", where, "-l", str(self._data / "log"))

    def stop(self) -> None:
        self._do("pg_ctl", "stop", "-w", "-m", "immediate")  # as a crash does

    def _do(self, command: str, *arguments: str) -> None:
        asked = [str(self._bin / command), "-D", str(self._data), *arguments]
        done = subprocess.run(
            asked, user=self._user, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert done.returncode == 0, done.stdout.decode()


class MLflowServer:
    """MLflow's server over a database; it can be stopped and started again.

    With `log_in` it asks for the name `admin` and the password of all servers here.
    """

    def __init__(self, database: str, folder: Path, log_in: bool = False) -> None:
        self.port = free_port()
        self._environment = dict(os.environ)
        self._command = [
            *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
            *("--backend-store-uri", database, "--artifacts-destination", str(folder / "files")),
            *("--host", "127.0.0.1", "--port", str(self.port)),
        ]
        if log_in:
            pytest.importorskip("flask_wtf")
            users = (ROOT / "deploy" / "basic_auth.ini").read_text()
            (folder / "auth.ini").write_text(users.replace("/auth/users", str(folder)))
            self._command += ["--app-name", "basic-auth"]
            self._environment |= {
                "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
                "MLFLOW_AUTH_ADMIN_USERNAME": "admin",
                "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
                "MLFLOW_FLASK_SERVER_SECRET_KEY": PASSWORD,
            }
        self._log = folder / "server.log"
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + WAIT
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/health", timeout=1).close()
                return
            except (URLError, OSError):
                assert self._process.poll() is None, self._log.read_text()
                assert time.monotonic() < end, self._log.read_text()
                time.sleep(0.2)

    def stop(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
