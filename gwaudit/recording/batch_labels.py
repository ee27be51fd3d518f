"""Check the sample ids and labels of a batch that a training loop gives to the recorder."""

import os
from collections.abc import Iterable
from os import PathLike

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from gwaudit.core.errors import RecordingError

_MIXED_INPUTS = (
    "if mixup or CutMix mixes the inputs, call record_pass() with unmixed batches after each epoch instead of observe()"
)


def read_keys(values: object) -> list[str] | None:
    """Return the keys of a batch as text, or None where the values are no keys.

    Args:
        values: [B] texts or paths: a sequence or an array.
    """
    if isinstance(values, str | bytes | PathLike | Tensor) or not isinstance(values, Iterable):
        return None
    if isinstance(values, np.ndarray) and values.dtype.kind not in "OU":
        return None
    keys = list(values)
    if not keys or not all(isinstance(key, str | PathLike) for key in keys):
        return None
    return [str(os.fspath(key)) for key in keys]


def read_integers(values: object, name: str, batch_size: int, limit: int) -> Tensor:
    """Return a copy of ids or labels as int64 [B], on their device.

    The range is checked for values on the CPU only, as a check on a GPU would wait for it.

    Args:
        values: [B] or [B, 1] integers; or labels as one-hot rows, [B, C] of any dtype.
        name: Name of the argument, "sample_ids" or "labels", for messages.
        batch_size: B, the number of samples of the forward pass.
        limit: Number of samples or classes; the values are below it.

    Raises:
        RecordingError: They are not [B] integers from 0 to limit - 1.
    """
    try:
        tensor = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise RecordingError(f"{name} must be [B] integers: {error}") from error
    if tensor.ndim == 2 and tensor.shape[1] == 1:
        tensor = tensor[:, 0]
    elif name == "labels" and tensor.ndim == 2 and tensor.shape[1] == limit and is_one_hot(tensor):
        tensor = tensor.to(torch.uint8).argmax(1)
    if tensor.ndim != 1 or tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        hint = "the ids of the samples in the run, from 0"
        if name == "labels":
            hint = "the given labels as class numbers"
            if tensor.ndim > 1:
                hint = f"the given labels, not one-hot or mixed targets; {_MIXED_INPUTS}"
        raise RecordingError(f"{name} must be [B] integers ({hint}), not {tensor.dtype} {list(tensor.shape)}")
    if len(tensor) != batch_size:
        raise RecordingError(
            f"{len(tensor)} {name} for a forward pass of {batch_size} samples: call observe() right after the forward "
            "pass of the loss, with the same batch; if the batch holds further samples, give the logits of these, "
            "observe(sample_ids, labels, logits=logits)"
        )
    tensor = tensor.to(torch.int64, copy=True)
    if batch_size and tensor.device.type == "cpu":
        low, high = (int(bound) for bound in tensor.aminmax())
        if low < 0 or high >= limit:
            raise RecordingError(out_of_range(name, low if low < 0 else high, limit))
    return tensor


def is_one_hot(labels: Tensor) -> bool:
    """Return whether each row of [B, C] holds one 1 and else 0, as labels do that are not mixed or smoothed.

    On a GPU it waits for the labels: mixed targets must be known before the batch is observed.
    """
    return bool(((labels == 0) | (labels == 1)).all()) and bool((labels.sum(1) == 1).all())


def read_label_matrix(values: ArrayLike | Tensor, batch_size: int, n_classes: int) -> Tensor:
    """Return a copy of the labels of a multi-label batch as int64 [B, C], on their device.

    On a GPU, values other than 0 and 1 become -1, which `AlignmentRecorder.end_epoch` refuses: a check here would wait
    for the GPU.

    Args:
        values: [B, C] of 0 and 1, of any dtype.
        batch_size: B, the number of samples of the forward pass.
        n_classes: C, the number of classes of the run.

    Raises:
        RecordingError: They have another shape or, on the CPU, other values.
    """
    try:
        tensor = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise RecordingError(f"labels must be [B, {n_classes}] of 0 and 1: {error}") from error
    if n_classes == 1 and tensor.ndim == 1:
        tensor = tensor[:, None]
    if tensor.shape != (batch_size, n_classes) or tensor.is_complex():
        raise RecordingError(
            f"labels must be [{batch_size}, {n_classes}] of 0 and 1, one column per class, not {tensor.dtype} "
            f"{list(tensor.shape)}: call observe() right after the forward pass of the loss, with the same batch"
        )
    valid = (tensor == 0) | (tensor == 1)
    if tensor.device.type != "cpu":
        tensor = torch.where(valid, tensor, -torch.ones_like(tensor))
    elif not bool(valid.all()):
        raise RecordingError(
            "labels hold other values than 0 and 1, as smoothed or mixed targets do: pass the given labels of the "
            f"samples; {_MIXED_INPUTS}"
        )
    return tensor.to(torch.int64, copy=True)


def out_of_range(name: str, value: int, limit: int) -> str:
    """Return the message for an id or label that is not in the run."""
    meaning = "class numbers" if name == "labels" else "sample ids of the run"
    return f"{name} hold {value}, expected {meaning} from 0 to {limit - 1}"
