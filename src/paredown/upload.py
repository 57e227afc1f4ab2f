"""Send to MLflow what jobs could not while it was down: python -m paredown.upload FOLDER."""

import sys
from pathlib import Path

from paredown.config import user_errors
from paredown.errors import ConfigError
from paredown.tracking.run import upload


def main() -> None:
    """Upload what is left in every job's folder under the one that is given."""
    with user_errors():
        if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
            raise ConfigError("usage: python -m paredown.upload FOLDER, such as multirun")
        print(f"{upload(Path(sys.argv[1]))} runs uploaded")


if __name__ == "__main__":
    main()
