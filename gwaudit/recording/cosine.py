"""Compute the cosine between a gradient and a weight, exact to rounding in every precision.

Everything is computed in float32, or in float64 where the input is float64, also under autocast, and detached from the
graph. Shapes: B samples, D latent features, C classes.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.linalg import vector_norm

from gwaudit.core.errors import RecordingError


class HeadOutput(NamedTuple):
    """Hold the quantities from which every form of the alignment is computed.

    Attributes:
        logits: [B, C] logits, float32 or float64.
        unbiased: [B, C] logits minus the bias, u = W z.
        scale: [B, 1] ‖z‖ ‖W‖.
    """

    logits: Tensor
    unbiased: Tensor
    scale: Tensor


def read_head(
    latent: Tensor,
    logits: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    weight_norm: Tensor | None = None,
    *,
    min_classes: int = 2,
) -> HeadOutput:
    """Check the tensors of one forward pass through a linear head, and return what the alignment needs of them.

    Args:
        latent: [B, D] input of the head.
        logits: [B, C] output of the head.
        weight: [C, D] weight of the head.
        bias: [C] bias of the head, or None.
        weight_norm: [] Frobenius norm of the weight, if it is computed already.
        min_classes: Smallest C that is allowed.

    Raises:
        RecordingError: The shapes do not belong to one linear layer, or C is below `min_classes`.
    """
    _check_shapes(latent, logits, weight, bias, min_classes)
    logits = at_least_float32(logits)
    unbiased = logits if bias is None else logits - bias.detach().to(logits.dtype)
    norm = frobenius_norm(weight) if weight_norm is None else weight_norm.detach()
    return HeadOutput(logits, unbiased, (row_norms(latent) * norm).to(logits.dtype))


def cosine_with_weight(difference: Tensor, head: HeadOutput) -> Tensor:
    """Return the cosine between `difference zᵀ` and W.

    Args:
        difference: [B, C] float64, target minus prediction, in any scale but 0.
        head: The forward pass.

    Returns:
        [B] in [-1, 1], in the dtype of the logits; 0 where the latent or the difference is zero.
    """
    largest = difference.abs().amax(1, keepdim=True)
    difference = difference / torch.where(largest > 0, largest, 1)
    dot = (difference * head.unbiased).sum(1, keepdim=True)
    return cosine(dot, vector_norm(difference, dim=1, keepdim=True) * head.scale)[:, 0].to(head.logits.dtype)


def cosine(dot: Tensor, norms: Tensor) -> Tensor:
    """Return `dot / norms`, clamped to [-1, 1], and 0 where `norms` is 0.

    NaN stays NaN, so that the recorder can refuse it.

    Args:
        dot: Dot products of pairs of vectors, any shape.
        norms: Products of their two norms, same shape.
    """
    return torch.where(norms == 0, 0, dot / norms).clamp(-1, 1)


def frobenius_norm(weight: Tensor) -> Tensor:
    """Return ‖W‖_F, [] in float32 or float64, exact to rounding.

    The norm is taken row by row and then over the rows: in one step, float32 accumulation on a CPU is off by up to 1e-3
    for 4 million elements.

    Args:
        weight: Tensor of any shape and float dtype.
    """
    norm: Tensor = vector_norm(row_norms(weight.flatten(1) if weight.ndim > 1 else weight.reshape(1, -1)))
    return norm


def row_norms(matrix: Tensor) -> Tensor:
    """Return the Euclidean norm of each row, [B, 1] in float32 or float64, for a matrix [B, D]."""
    dtype = torch.promote_types(matrix.dtype, torch.float32)
    norms: Tensor = vector_norm(matrix.detach(), dim=1, keepdim=True, dtype=dtype)
    return norms


def at_least_float32(tensor: Tensor) -> Tensor:
    """Return the tensor detached, as float32, or as float64 if it is float64."""
    return tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32))


def to_float64(tensor: Tensor) -> Tensor:
    """Return the tensor as float64, or as float32 on Apple's GPUs, which have no float64."""
    return tensor.to(torch.float32 if tensor.device.type == "mps" else torch.float64)


def require_target_shape(targets: Tensor, logits: Tensor) -> Tensor:
    """Return the targets [B, C] detached.

    Raises:
        RecordingError: They have another shape than the logits.
    """
    if targets.shape != logits.shape:
        raise RecordingError(f"targets: expected shape {list(logits.shape)}, that of logits, got {list(targets.shape)}")
    return targets.detach()


def _check_shapes(latent: Tensor, logits: Tensor, weight: Tensor, bias: Tensor | None, min_classes: int) -> None:
    matrices = latent.ndim == logits.ndim == weight.ndim == 2
    if not matrices or logits.shape != (len(latent), len(weight)) or latent.shape[1] != weight.shape[1]:
        raise RecordingError(
            "expected latent [B, D], logits [B, C] and weight [C, D] of one linear layer, got latent "
            f"{list(latent.shape)}, logits {list(logits.shape)} and weight {list(weight.shape)}"
        )
    if bias is not None and bias.shape != logits.shape[1:]:
        raise RecordingError(f"bias: expected shape [{logits.shape[1]}], one for each class, got {list(bias.shape)}")
    if logits.shape[1] < min_classes:
        raise RecordingError("logits: alignment compares a label with others, so it needs at least 2 classes, got 1")
