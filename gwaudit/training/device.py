"""Choose the device to compute on, and the precision."""

from contextlib import AbstractContextManager, nullcontext

import torch

from gwaudit.core.errors import SettingsError
from gwaudit.recording.distributed import world_size


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
