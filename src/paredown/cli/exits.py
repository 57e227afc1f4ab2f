"""How a command ends: one line and an exit code for what its user can mend or has sent."""

import errno
import gc
import os
import signal
import sys
import threading
import typing
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import OmegaConfBaseException

from paredown.errors import ConfigError, RunError, first_line, worker_died
from paredown.printable import printable

_FULL_ERROR = os.environ.get("HYDRA_FULL_ERROR") == "1"
_UNWRITABLE = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
}


class Terminated(SystemExit):
    """The end by a signal, which somebody else has sent."""

    code: int


@contextmanager
def user_errors(primary: str = "config") -> Iterator[None]:
    """End with one line and exit code 2 for what the user can mend, 1 for a known failure.

    Everything else keeps its traceback. HYDRA_FULL_ERROR=1, set by the user, keeps all of them.

    Args:
        primary: What the command composes, in conf/; an unknown key is compared with its keys.
    """
    if _FULL_ERROR:
        yield
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # so that Hydra hands errors on instead of printing them
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # in the background of a script
            signal.signal(signal.SIGINT, _terminate)
    try:
        yield
    except KeyboardInterrupt:
        _end(f"interrupted; {_going_on(primary)}", 130)
    except Terminated as end:
        name = signal.Signals(end.code - 128).name
        _end(f"ended by {name}; {_going_on(primary)}", end.code)
    except ConfigError as error:
        _end(str(error), 2)
    except RunError as error:
        _end(str(error), error.code)
    except MissingConfigException as error:
        from paredown.cli.mistyped import say_missing

        _end(say_missing(str(error.missing_cfg_file), error.options or []), 2)
    except (HydraException, OmegaConfBaseException) as error:
        from paredown.cli.mistyped import say_hydra

        _end(say_hydra(str(error), primary), 2)
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        _end(f"{error.filename}: {error.strerror}; name a folder that can be written", 2)
    except Exception as error:
        if not worker_died(error):
            raise
        told = first_line(error)
        _end(f"a worker of the launcher died: {told}", 1)
    finally:
        gc.freeze()  # on its way out Python would walk all of torch and mlflow: 1.3 s of 5.8


def _terminate(number: int, frame: object) -> typing.NoReturn:
    """Unwind on SIGTERM, so that runs end as KILLED and files half made are removed."""
    raise Terminated(128 + number)


def _going_on(primary: str) -> str:
    """Say what the same command does after one that was cut off."""
    goes_on = primary == "config"  # the others keep nothing between their steps
    return f"the same command {'goes on from what the store has' if goes_on else 'begins anew'}"


def _end(line: str, code: int) -> typing.NoReturn:
    print("error: " + printable(line.removesuffix("; ")), file=sys.stderr)
    raise SystemExit(code)
