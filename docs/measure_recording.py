"""Measure the memory and time of recording one epoch with several ranks, on samples that are made up, without images.

    torchrun --nproc-per-node 2 docs/measure_recording.py 4000000 16000000

For each number of samples every rank observes its part in batches of 65,536, and the epoch is committed. One line is
printed for each: the largest resident memory of a rank above that before the epoch, and the seconds of `end_epoch`.
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from gwaudit import AlignmentRecorder, TrajectoryStore, shared_store

CLASSES, FEATURES, BATCH = 100, 16, 2**16


def resident(field: str) -> int:
    """Return a size of this process in bytes: `VmRSS`, now, or `VmHWM`, the largest one since `forget_largest`."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[field].split()[0]) * 1024


def forget_largest() -> None:
    """Let the kernel measure the largest size anew."""
    Path("/proc/self/clear_refs").write_text("5")


def create(folder: str, samples: int) -> TrajectoryStore:
    """Return a new run."""
    labels = np.arange(samples, dtype=np.int32) % CLASSES
    return TrajectoryStore.create(folder, given_labels=labels, class_names=[str(label) for label in range(CLASSES)])


def measure(samples: int, folder: str) -> dict[str, float]:
    """Record one epoch, and return what it cost this rank."""
    model = nn.Linear(FEATURES, CLASSES)
    rank, ranks = dist.get_rank(), dist.get_world_size()
    with shared_store(lambda: create(f"{folder}/{samples}", samples)) as store:
        forget_largest()
        before = resident("VmRSS")
        with AlignmentRecorder(model, store) as recorder:
            for ids in torch.arange(rank, samples, ranks).split(BATCH):
                model(torch.randn(len(ids), FEATURES))
                recorder.observe(ids, ids % CLASSES)
            observed = resident("VmHWM") - before
            began, used = time.perf_counter(), time.process_time()
            recorder.end_epoch()
            seconds, processor = time.perf_counter() - began, time.process_time() - used
    return {"observed": observed, "peak": resident("VmHWM") - before, "seconds": seconds, "processor": processor}


def main() -> None:
    """Measure the sizes that the command line gives."""
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    folders = [tempfile.mkdtemp(prefix="gwaudit-recording-") if dist.get_rank() == 0 else ""]
    dist.broadcast_object_list(folders)
    try:
        for samples in map(int, sys.argv[1:]):
            of_ranks: list = [None] * dist.get_world_size()
            dist.all_gather_object(of_ranks, measure(samples, folders[0]))
            if dist.get_rank() == 0:
                worst = {name: max(costs[name] for costs in of_ranks) for name in of_ranks[0]}
                share = samples / len(of_ranks)
                print(
                    f"{samples:,} samples, {len(of_ranks)} ranks: a rank takes {worst['peak'] / 2**30:.2f} GiB, "
                    f"{worst['peak'] / share:.0f} bytes for each of its {share:,.0f} samples (before end_epoch "
                    f"{worst['observed'] / share:.0f}); end_epoch {worst['seconds']:.1f} s, of which "
                    f"{worst['processor']:.1f} s of its processor"
                )
            dist.barrier()
            if dist.get_rank() == 0:
                shutil.rmtree(f"{folders[0]}/{samples}")
    finally:
        if dist.get_rank() == 0:
            shutil.rmtree(folders[0], ignore_errors=True)
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
