"""Keep a forward hook out of copies, pickles and exports of the model that it is attached to."""

import types
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn


def _is_exporting() -> bool:
    # The flag and not torch.compiler.is_exporting(), which torch 2.10 takes for true in every compiled model.
    return torch.compiler._is_exporting_flag


class AttachedHook:
    """Call a forward hook for one module, and do nothing in every copy of that module.

    A pickle or a copy of the module holds a hook that does nothing, and that is loaded without gwaudit. So a model can
    be saved, copied, quantized, scripted, traced and exported while a recorder is attached to it, and no such forward
    pass reaches the recorder.

    Args:
        module: The module that the hook is registered for.
        hook: Receives the arguments of a forward hook, for this module and its DataParallel replicas only.
    """

    # `torch.jit.script` compiles the source of every hook, and finds it as `inspect` does: by the code of a frame. The
    # other attributes of a function that it reads are those of `_scripted`, too.
    __class__ = types.FrameType  # type: ignore[assignment]  # read by `inspect` alone

    def __init__(self, module: nn.Module, hook: Callable[..., None]) -> None:
        self._module, self._hook = module, hook
        self.f_code = _scripted.__code__

    def __call__(self, module: nn.Module, *arguments: Any) -> None:
        """Call the hook, unless this is a copy of the module, or a forward pass that only traces the model."""
        if module is not self._module and not getattr(module, "_is_replica", False):
            return
        if torch._C._get_tracing_state() is None and not _is_exporting():
            self._hook(module, *arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(_scripted, name)

    def __reduce__(self) -> tuple[Any, ...]:
        # It takes any arguments and returns None, and it needs nothing but Python where it is loaded.
        return getattr, (nullcontext(), "__exit__")


def _scripted(self: Any, input: tuple[Tensor], output: Tensor) -> None:
    """Do nothing, as the hook of a scripted module."""
    return None
