"""A night that cannot write explanations, in a process of its own: `python -m tests.flows.unexplained_night PROJECT`.

No file that a night is given makes the last step of registering fail, and the steps before it succeed.
"""

import json
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

from flows.services import prefect_server
from flows.settings import load_project


def main(project: Path) -> None:
    with prefect_server(
        load_project(project).workspace, scheduling=False, ahead=partial(import_module, "flows.nightly")
    ):
        from flows.nightly import nightly

        with patch("flows.register.log_explanation", side_effect=OSError("no space left on device")):
            print(json.dumps(nightly(str(project))))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
