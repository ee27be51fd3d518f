"""Where to compute, and in which precision."""

from contextlib import AbstractContextManager, nullcontext

import torch

from gwaudit.core.errors import SettingsError
from gwaudit.recording.distributed import world_size


def device_of(name: str) -> torch.device:
    """The device of a name, `auto` being CUDA where there is one.

    Raises:
        SettingsError: it cannot be used.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and world_size() > 1 and torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())  # of this rank alone
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from error
    return device


def autocast(dtype: str, device: torch.device) -> AbstractContextManager[object]:
    """Autocast to bfloat16 where `dtype` says so, or is `auto` and the device is fast at it."""
    if dtype == "float32" or (dtype == "auto" and not _is_fast_at_bfloat16(device)):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def _is_fast_at_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return device.type == "cpu" and any(getattr(torch.cpu, check, lambda: False)() for check in checks)
