"""Exit codes of a command, with one line for what its user can mend or has interrupted."""

import errno
import gc
import os
import signal
import sys
import threading
import typing
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from paredown.errors import ConfigError, RunError, first_line, worker_died
from paredown.printable import printable

_FULL_ERROR = os.environ.get("HYDRA_FULL_ERROR") == "1"
_UNWRITABLE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG),
    *(errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ELOOP),
)


class Terminated(SystemExit):
    """The end by a signal from outside."""

    code: int


@contextmanager
def user_errors(primary: str = "config") -> Iterator[None]:
    """End with one line and exit code 2 for what the user can mend, 1 for a known failure.

    Everything else keeps its traceback. If the user sets HYDRA_FULL_ERROR=1, all do.

    Args:
        primary: Name of the primary configuration in conf/, whose keys an unknown one may mean.
    """
    if _FULL_ERROR:
        yield
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # so that Hydra hands errors on instead of printing them
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # in the background of a script
            signal.signal(signal.SIGINT, _terminate)
    # a run stores every stage; the other commands store nothing
    effect = "resumes from the store" if primary == "config" else "starts over"
    try:
        yield
    except KeyboardInterrupt:
        _end(f"interrupted; the same command {effect}", 130)
    except Terminated as end:
        name = signal.Signals(end.code - 128).name
        _end(f"terminated by {name}; the same command {effect}", end.code)
    except ConfigError as error:
        _end(str(error), 2)
    except RunError as error:
        _end(str(error), error.code)
    except (HydraException, OmegaConfBaseException) as error:
        from paredown.cli.mistyped import hydra_message

        _end(hydra_message(error, primary), 2)
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        _end(f"{error.filename}: {error.strerror}; name a folder that can be written", 2)
    except Exception as error:
        if not worker_died(error):
            raise
        _end(f"a worker of the launcher died: {first_line(error)}", 1)
    finally:
        gc.freeze()  # at exit Python would traverse all of torch and mlflow: 1.3 s of 5.8


def _terminate(number: int, frame: object) -> typing.NoReturn:
    """Unwind on SIGTERM, so that runs end as KILLED and partial files are removed."""
    raise Terminated(128 + number)


def _end(line: str, code: int) -> typing.NoReturn:
    print("error: " + printable(line.removesuffix("; ")), file=sys.stderr)
    raise SystemExit(code)
