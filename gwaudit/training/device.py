"""Choose the device to compute on, and the precision."""

import copy
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from gwaudit.core.errors import SettingsError
from gwaudit.recording.distributed import world_size

MEASURED_IMAGES = 2
"""Number of images of a step that is timed on a CPU."""

_TIMED = 2
_CLEARLY_FASTER = 1.4  # float32 is more exact, and two timings differ by less than this
_HOPELESS = 5.0


def resolve_device(name: str) -> torch.device:
    """Return the device of a name, and check that it can be used.

    Args:
        name: A name that torch takes, as `cpu` or `cuda:1`, or `auto`: CUDA if there is a GPU, else the CPU.

    Raises:
        SettingsError: The device cannot be used.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and world_size() > 1 and torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())  # the GPU of this rank
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from error
    return device


def autocast(dtype: str, device: torch.device) -> AbstractContextManager[object]:
    """Return the autocast context of a training.

    Args:
        dtype: `float32` (no autocast), `bfloat16`, or `auto`: bfloat16 if the device computes it fast, else float32.
        device: The device to compute on.
    """
    if dtype == "float32" or (dtype == "auto" and not is_fast_at_bfloat16(device)):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def is_fast_at_bfloat16(device: torch.device) -> bool:
    """Return whether a device has instructions for bfloat16 (on a CPU: AVX-512 BF16 or AMX)."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return device.type == "cpu" and any(getattr(torch.cpu, check, lambda: False)() for check in checks)


@dataclass(frozen=True)
class DtypeChoice:
    """Hold the choice of the number format.

    Attributes:
        dtype: The chosen one, `float32` or `bfloat16`.
        seconds: Seconds of a step in each: a few images and the processor time of one thread, or a batch on a GPU.
            Empty where nothing was timed.
    """

    dtype: Literal["float32", "bfloat16"]
    seconds: Mapping[str, float] = field(default_factory=dict)

    def describe(self) -> str:
        """Return the choice and its reason in one sentence."""
        times = " and ".join(f"{seconds * 1000:.1f} ms in {name}" for name, seconds in self.seconds.items())
        return f"dtype: {self.dtype}; measured: a step takes {times}"


def choose_dtype(device: torch.device, measure: Callable[[], DtypeChoice] | None, *, in_folds: bool) -> DtypeChoice:
    """Choose the number format of a new run.

    Args:
        device: The device to compute on.
        measure: Times a step; None where it would not matter, or is known: networks for small images are faster in
            bfloat16 wherever there are instructions for it.
        in_folds: Whether heads are trained in folds, which are small: without `measure` they get float32.
    """
    if measure is None and in_folds:
        return DtypeChoice("float32")
    if not is_fast_at_bfloat16(device):
        return DtypeChoice("float32")
    # Several ranks must choose alike, so they time nothing.
    return DtypeChoice("bfloat16") if measure is None or world_size() > 1 else measure()


def measure_dtype(model: nn.Module, inputs: Tensor, *, trains: bool) -> DtypeChoice:
    """Time a step of a network in float32 and in bfloat16, and choose bfloat16 where it is clearly faster.

    A processor with instructions for bfloat16 can be far slower with it: depthwise convolutions have none. One thread
    is timed, by its processor time, so that other programs change little. The network, and the state of the random
    generators, stay as they are.

    Args:
        model: The network, on the device, with any memory format.
        inputs: [B, C, H, W] float32 on the device, with B of at least 2; few samples on a CPU, a whole batch on a GPU.
        trains: Whether the step goes backward too.
    """
    device, trial = inputs.device, copy.deepcopy(model).train(trains)
    threads = torch.get_num_threads()
    seconds: dict[str, float] = {}
    try:
        if device.type == "cpu":
            torch.set_num_threads(1)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            for dtype in ("float32", "bfloat16"):
                first = _seconds_of_step(trial, inputs, dtype, trains=trains)  # it also prepares the kernels
                if first > _HOPELESS * seconds.get("float32", first):
                    seconds[dtype] = first
                else:
                    seconds[dtype] = min(_seconds_of_step(trial, inputs, dtype, trains=trains) for _ in range(_TIMED))
    finally:
        torch.set_num_threads(threads)
    is_faster = seconds["bfloat16"] * _CLEARLY_FASTER < seconds["float32"]
    return DtypeChoice("bfloat16" if is_faster else "float32", seconds)


def _seconds_of_step(model: nn.Module, inputs: Tensor, dtype: str, *, trains: bool) -> float:
    on_gpu = inputs.device.type == "cuda"
    if on_gpu:
        torch.cuda.synchronize(inputs.device)
    clock = time.perf_counter if on_gpu else time.thread_time
    start = clock()
    with autocast(dtype, inputs.device), torch.set_grad_enabled(trains):
        outputs = model(inputs)
    if trains:
        outputs.float().square().mean().backward()
    if on_gpu:
        torch.cuda.synchronize(inputs.device)
    return clock() - start
