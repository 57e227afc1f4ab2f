"""Send to MLflow what jobs could not while it was down: see docs/store.md."""

import sys
from pathlib import Path

from paredown.cli.exits import user_errors
from paredown.errors import ConfigError
from paredown.tracking import Tracking
from paredown.tracking.run import upload


def main() -> None:
    """Upload what is left in every job's folder under the one that is given."""
    with user_errors("upload"):
        if len(sys.argv) != 3 or not Path(sys.argv[1]).is_dir():
            raise ConfigError(
                "usage: python -m paredown.tracking.upload FOLDER URI, "
                "such as multirun and tracking.uri"
            )
        folder, uri = sys.argv[1:]
        store = Tracking(uri, "paredown", parent=None, trial=None).absolute_uri
        print(f"{upload(Path(folder), store)} runs uploaded")


if __name__ == "__main__":
    main()
