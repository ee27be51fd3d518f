"""What a figure was measured on."""

import platform
from typing import Any

import torch


def machine() -> dict[str, Any]:
    """Python, torch, its threads and the device, as the benchmarks' JSON files tell them."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
    }
