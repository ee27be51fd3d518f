"""The console script in a process of its own."""

import os
import subprocess
import sys

COMMAND = [sys.executable, "-c", "from gwaudit.cli import main; main()"]

# Seconds on the digits.
FAST = ["--epochs", "4", "--batch-size", "128", "--augment", "none", "--learning-rate", "0.05"]


def gwaudit(*arguments, cwd=None, env=None, preexec_fn=None):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120", **(env or {})}
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        preexec_fn=preexec_fn,
    )
