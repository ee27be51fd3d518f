"""Functions of a test file run by several real processes, as torchrun starts them."""

import os
import subprocess
import sys

import torch

LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone"]


def torchrun(ranks, *arguments, check=True, **options):
    """Run a script and its arguments as so many ranks; standard output and error come back as text."""
    command = [*LAUNCH, f"--nproc-per-node={ranks}", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, **options)
    assert not check or done.returncode == 0, done.stderr
    return done


def run_as_rank(namespace):
    """What such a script does: call the function of the file that is named first, with the other arguments."""
    torch.set_num_threads(1)
    name, *arguments = sys.argv[1:]
    namespace[name](*arguments)
