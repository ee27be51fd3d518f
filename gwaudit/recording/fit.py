"""Check that a head makes the logits that a model returns, in each batch, without waiting for the device.

The alignment is computed from the input, the weight and the output of one layer. It is right only if the output is the
product of the two, and if the loss sees that output. An adapter on the layer (LoRA), a second head that is averaged
with it, a temperature or dropout after it would make it wrong. So each observed batch is checked for both: the output
against the product in a few rows, and what the model returns against the output in all rows.

A misfit is a relative difference: 0 for equal tensors, of the order of 1 for unrelated ones.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.linalg import vector_norm

_ROWS = 4  # of a batch, whose product is computed again
_NUMBERS_FOR_SCALE = 4
_TOLERANCE, _TOLERANCE_BFLOAT16 = 2.0**-6, 2.0**-5  # several times the rounding of bfloat16 products, 2**-9


def tolerance(*tensors: Tensor) -> float:
    """Return the largest misfit that rounding can explain, for tensors of these dtypes.

    In float32 it allows for products in TF32 or bfloat16, which torch takes where it is asked to be fast.
    """
    return _TOLERANCE_BFLOAT16 if any(tensor.dtype == torch.bfloat16 for tensor in tensors) else _TOLERANCE


def product_misfit(latent: Tensor, output: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return how far the output of a layer is from its input times its weight, plus its bias.

    Args:
        latent: [B, ..., D] input.
        output: [B, ..., C] output.
        weight: [C, D].
        bias: [C], or None.

    Returns:
        [] largest misfit of the first rows; 0 for a weight that is not whole, which `require_whole` refuses.
    """
    dtype = torch.promote_types(output.dtype, torch.float32)
    if weight.shape != (output.shape[-1], latent.shape[-1]) or hasattr(weight, "full_tensor"):
        return torch.zeros((), dtype=dtype, device=output.device)
    latent, output, weight = latent[:_ROWS].to(dtype), output[:_ROWS].to(dtype), weight.to(dtype)
    predicted = (latent @ weight.T).to(dtype)
    # The rounding of a product of D terms with random signs is relative to ‖z‖ ‖W‖ / sqrt(D).
    size = _norm(latent) * vector_norm(weight) / latent.shape[-1] ** 0.5
    if bias is not None:
        bias = bias.to(dtype)
        predicted, size = predicted + bias, size + vector_norm(bias)
    return _largest(predicted - output, size + _norm(output))


def returned_misfit(logits: Tensor, returned: Tensor, *, up_to_a_shift: bool) -> Tensor:
    """Return how far a tensor that the model returns is from the logits of the head.

    Args:
        logits: [B, C] output of the head.
        returned: [B, C] of any float dtype.
        up_to_a_shift: Whether a constant for each row may be added, as `log_softmax` does.

    Returns:
        [] largest misfit of the rows.
    """
    returned = returned.to(logits)
    difference = returned - logits
    if up_to_a_shift:
        difference = difference - difference.mean(1, keepdim=True)
    return _largest(difference, _norm(logits) + _norm(returned))


def output_scale(logits: Tensor, returned: Tensor, *, up_to_a_shift: bool) -> Tensor:
    """Return the factor by which a model multiplies the logits of its head, a temperature for example.

    Args:
        logits, returned, up_to_a_shift: As for `returned_misfit`.

    Returns:
        [] the least-squares solution, at least 0; 1 if there are too few numbers for one.
    """
    returned = returned.to(logits)
    if len(logits) * (logits.shape[1] - up_to_a_shift) < _NUMBERS_FOR_SCALE:
        return torch.ones((), dtype=logits.dtype, device=logits.device)
    if up_to_a_shift:
        logits, returned = logits - logits.mean(1, keepdim=True), returned - returned.mean(1, keepdim=True)
    scale = (logits * returned).sum() / logits.square().sum().clamp_min(torch.finfo(logits.dtype).tiny)
    return torch.where(scale.isfinite(), scale, 1).clamp_min(0)


def probability_misfit(logits: Tensor, returned: Tensor, *, multi_label: bool) -> Tensor:
    """Return how far a tensor that the model returns is from the probabilities of the head's logits.

    Args:
        logits, returned: As for `returned_misfit`.
        multi_label: Whether the probabilities are sigmoids, not a softmax.
    """
    returned = returned.to(logits)
    probabilities = logits.sigmoid() if multi_label else logits.softmax(1)
    return _largest(returned - probabilities, _norm(probabilities))


def returned_tensors(output: Any) -> tuple[Tensor, ...]:
    """Return the tensors that a model returned, detached; only the logits, if it names them."""
    if isinstance(output, Tensor):
        return (output.detach(),)
    if isinstance(output, Mapping):
        output = [output["logits"]] if "logits" in output else list(output.values())
    elif hasattr(output, "logits"):
        output = [output.logits]
    if not isinstance(output, tuple | list):
        return ()
    found: list[Tensor] = []
    for part in output:
        found.extend(returned_tensors(part))
    return tuple(found)


def logit_candidates(returned: Sequence[Tensor], shape: tuple[int, int], device: torch.device) -> list[Tensor]:
    """Return the tensors that can be the logits of a batch, each as [B, C].

    Args:
        returned: Tensors of any shape; [B, 1, C] or [B, C, 1, 1] are such logits, too.
        shape: (B, C).
        device: The device of the head's output: a replica of DataParallel returns its part there.
    """
    batch, classes = shape
    return [
        tensor.reshape(shape)
        for tensor in returned
        if tensor.is_floating_point() and tensor.device == device and tensor.ndim >= 2 and tensor.shape[0] == batch
        if tensor.numel() == batch * classes and classes in tensor.shape[1:]
    ]


def is_same_memory(first: Tensor, second: Tensor) -> bool:
    """Return whether two tensors of equally many elements are one in memory, however they are shaped."""
    return (
        first.dtype == second.dtype
        and first.device == second.device
        and first.data_ptr() == second.data_ptr()
        and first.is_contiguous()
        and second.is_contiguous()
    )


def _norm(rows: Tensor) -> Tensor:
    norms: Tensor = vector_norm(rows, dim=-1, keepdim=True)
    return norms


def _largest(difference: Tensor, size: Tensor) -> Tensor:
    """Return the largest norm of a row of the differences, relative to the size of the row: []."""
    distance = _norm(difference)
    relative = distance / size.clamp_min(torch.finfo(size.dtype).tiny)
    # Inputs that are NaN or overflow are refused elsewhere, with the ids of their samples.
    relative = torch.where(distance.isfinite() & size.isfinite(), relative, 0).flatten()
    return torch.cat([relative, relative.new_zeros(1)]).amax()  # a batch can be empty


def find_rows(calls: Sequence[tuple[Tensor, Tensor, Tensor]], logits: Tensor) -> tuple[int, slice] | None:
    """Return which call of the head made some logits, and its rows; None if none did, or it is not clear which.

    Args:
        calls: Of each call its output, a copy of it [P, C] as float32 or float64, and its input [P, D].
        logits: [B, C] logits, up to a constant for each row.
    """
    for index, (output, _, _) in enumerate(calls):
        rows = _rows_in_memory(output, logits)
        if rows is not None:
            return index, rows
    matches = [
        (index, slice(start, start + len(logits)))
        for index, (output, copy, _) in enumerate(calls)
        if copy.ndim == 2
        for start in _matching_starts(copy, logits.to(copy), tolerance(output, logits))
    ]
    if not matches:
        return None
    first, *others = (calls[index][2][rows] for index, rows in matches)
    return matches[0] if all(torch.equal(first, other) for other in others) else None


def _rows_in_memory(output: Tensor, logits: Tensor) -> slice | None:
    """Return the rows of an output that some logits are a view of."""
    step = output.stride(0) * output.element_size() if output.ndim == 2 else 0
    if step == 0 or output.untyped_storage().data_ptr() != logits.untyped_storage().data_ptr():
        return None
    start, rest = divmod(logits.data_ptr() - output.data_ptr(), step)
    same_layout = logits.dtype == output.dtype and logits.stride() == output.stride()
    inside = 0 <= start <= len(output) - len(logits)
    return slice(start, start + len(logits)) if same_layout and rest == 0 and inside else None


def _matching_starts(output: Tensor, logits: Tensor, allowed: float) -> list[int]:
    """Return every row of an output from which on its rows are these logits."""
    output, logits = output - output.mean(1, keepdim=True), logits - logits.mean(1, keepdim=True)
    if not 0 < len(logits) <= len(output):
        return []

    def close(rows: Tensor, to: Tensor) -> Tensor:
        return (_norm(rows - to) <= allowed * (_norm(rows) + _norm(to))).flatten()

    starts = close(output[: len(output) - len(logits) + 1], logits[:1]).nonzero().flatten().tolist()
    return [start for start in starts if bool(close(output[start : start + len(logits)], logits).all())]
