"""Functions run by several real processes: as torchrun starts them, or forked, which imports nothing again."""

import os
import subprocess
import sys
import time

import torch
import torch.distributed as dist

from helpers.forking import Done, Forked

LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone"]


def torchrun(ranks, *arguments, check=True, **options):
    """Run a script and its arguments as several ranks; standard output and error come back as text."""
    command = [*LAUNCH, f"--nproc-per-node={ranks}", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, **options)
    assert not check or done.returncode == 0, done.stderr
    return done


def run_ranks(ranks, function, *arguments, check=True) -> list[Done]:
    """Call a function as several ranks, with the variables of torchrun; an error of one ends the others, as there."""
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "120",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "WORLD_SIZE": str(ranks),
        "LOCAL_WORLD_SIZE": str(ranks),
        "TORCHELASTIC_RUN_ID": "forked",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    processes = [
        Forked(_call_as_rank, function, *arguments, environment=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(ranks)
    ]
    while all(process.exitcode in (None, 0) for process in processes) and any(p.is_alive for p in processes):
        time.sleep(0.02)
    for process in processes:
        process.terminate()
    done = [process.wait() for process in processes]
    assert not check or not any(one.returncode for one in done), "\n".join(one.stderr for one in done)
    return done


def _call_as_rank(function, *arguments):
    torch.set_num_threads(1)
    function(*arguments)
