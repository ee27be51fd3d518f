"""Measure what it saves that freed memory is used again: passes and steps of networks on a CPU, with and without.

    python docs/measure_reused_memory.py

Each network is timed in a new process, in turns with and without `reusing_freed_memory`, as `gwaudit.train` has it. It
prints the median of the seconds, and the largest peak memory of the process.
"""

import argparse
import resource
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from multiprocessing import get_context

import torch
from torch import nn

from gwaudit.core.allocators import reusing_freed_memory
from gwaudit.training.device import autocast
from gwaudit.training.models import build_model

_CASES = {
    "resnet9_16, step of 512 images of 32 pixels": ("resnet9_16", 512, 32, True),
    "whitened_32, step of 512 images of 32 pixels": ("whitened_32", 512, 32, True),
    "tf_efficientnet_lite0, pass over 64 photos of 224 pixels": ("tf_efficientnet_lite0", 64, 224, False),
    "tf_efficientnet_lite0, step of 32 photos of 224 pixels": ("tf_efficientnet_lite0", 32, 224, True),
    "resnet18, step of 32 photos of 224 pixels": ("resnet18", 32, 224, True),
}
_TIMED = 5


def main() -> None:
    """Measure all cases in turns, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    args = parser.parse_args()
    print(f"{args.dtype}, {torch.get_num_threads()} threads, median of {args.turns}")
    print("| | seconds, before | now | times as fast | peak MiB, before | now |\n|---|--:|--:|--:|--:|--:|")
    for name, case in _CASES.items():
        measured: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
        for _ in range(args.turns):
            for reuses, rows in measured.items():
                rows.append(_in_new_process(*case, args.dtype, reuses))
        before, now = (statistics.median(seconds for seconds, _ in rows) for rows in measured.values())
        peaks = " | ".join(f"{max(peak for _, peak in rows):,.0f}" for rows in measured.values())
        print(f"| {name} | {before:.2f} | {now:.2f} | {before / now:.2f} | {peaks} |", flush=True)


def _in_new_process(name: str, batch: int, side: int, trains: bool, dtype: str, reuses: bool) -> tuple[float, float]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measure, name, batch, side, trains, dtype, reuses).result()


def _measure(name: str, batch: int, side: int, trains: bool, dtype: str, reuses: bool) -> tuple[float, float]:
    torch.manual_seed(0)
    network = build_model(name, n_classes=10, in_chans=3).to(memory_format=torch.channels_last).train(trains)
    images = torch.randn(batch, 3, side, side).contiguous(memory_format=torch.channels_last)
    work = _step if trains else _pass
    with reusing_freed_memory() if reuses else nullcontext(), autocast(dtype, torch.device("cpu")):
        work(network, images)
        work(network, images)
        start = time.monotonic()
        for _ in range(_TIMED):
            work(network, images)
        seconds = (time.monotonic() - start) / _TIMED
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _step(network: nn.Module, images: torch.Tensor) -> None:
    network.zero_grad()
    network(images).float().logsumexp(1).mean().backward()


@torch.no_grad()
def _pass(network: nn.Module, images: torch.Tensor) -> None:
    network(images)


if __name__ == "__main__":
    main()
