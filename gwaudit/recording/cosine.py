"""Compute the cosine between a gradient and the parameters of a head, exact to rounding in every precision.

The logits of a linear head are l = W z + b. Its bias is the weight of a constant feature 1: with the latent z̃ = [z, 1]
and the parameters θ = [W, b] they are l = θ z̃. So the alignment with the whole head ("head") has the form of that with
the weight only ("weight", as in arXiv 2510.25480), where z̃ = z, θ = W and θ z̃ = l - b:

    "head":    θ z̃ = l        ‖z̃‖ = sqrt(‖z‖² + 1)    ‖θ‖ = sqrt(‖W‖² + ‖b‖²)
    "weight":  θ z̃ = l - b    ‖z̃‖ = ‖z‖               ‖θ‖ = ‖W‖

A head without a bias has one form only, the second. Everything is computed in float32, or in float64 where the input is
float64, also under autocast, and detached from the graph. Shapes: B samples, D latent features, C classes.
"""

from typing import NamedTuple, get_args

import torch
from torch import Tensor
from torch.linalg import vector_norm

from gwaudit.core.errors import RecordingError
from gwaudit.core.settings import Alignment


class HeadOutput(NamedTuple):
    """Hold the quantities from which every form of the alignment is computed.

    Attributes:
        logits: [B, C] logits, float32 or float64.
        product: [B, C] u = θ z̃, the product of the parameters and the latent.
        scale: [B, 1] ‖z̃‖ ‖θ‖; [B, C] ‖z̃‖ ‖θ_c‖ by class.
    """

    logits: Tensor
    product: Tensor
    scale: Tensor


def read_head(
    latent: Tensor,
    logits: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    weight_norm: Tensor | None = None,
    *,
    alignment: Alignment = "head",
    by_class: bool = False,
    min_classes: int = 2,
) -> HeadOutput:
    """Check the tensors of one forward pass through a linear head, and return what the alignment needs of them.

    Args:
        latent: [B, D] input of the head.
        logits: [B, C] output of the head.
        weight: [C, D] weight of the head.
        bias: [C] bias of the head, or None.
        weight_norm: [] Frobenius norm of the weight, if it is computed already.
        alignment: Parameters θ of the head: its weight and bias (`head`), or its weight only (`weight`).
        by_class: Whether each class has a cosine of its own, with its own row of the parameters.
        min_classes: Smallest C that is allowed.

    Raises:
        RecordingError: The shapes do not belong to one linear layer, C is below `min_classes`, or `alignment` has
            another value.
    """
    _check_shapes(latent, logits, weight, bias, min_classes)
    if alignment not in get_args(Alignment):
        raise RecordingError(f"`alignment` must be one of {', '.join(get_args(Alignment))}, not {alignment!r}")
    logits = product = at_least_float32(logits)
    latent_norms = row_norms(latent)
    if by_class:
        norms = row_norms(weight).T
    elif weight_norm is None:
        norms = frobenius_norm(weight)
    else:
        norms = weight_norm.detach()
    if bias is not None and alignment == "head":
        latent_norms = latent_norms.hypot(torch.ones_like(latent_norms))
        norms = norms.hypot(row_norms(bias[:, None]).T if by_class else row_norms(bias[None]))
    elif bias is not None:
        product = logits - bias.detach().to(logits.dtype)
    return HeadOutput(logits, product, (latent_norms * norms).to(logits.dtype))


def cosine_with_head(difference: Tensor, head: HeadOutput) -> Tensor:
    """Return the cosine between `difference z̃ᵀ` and θ.

    Args:
        difference: [B, C] float64, target minus prediction, in any scale but 0.
        head: The forward pass.

    Returns:
        [B] in [-1, 1], in the dtype of the logits; 0 where the latent z̃ or the difference is zero.
    """
    largest = difference.abs().amax(1, keepdim=True)
    difference = difference / torch.where(largest > 0, largest, 1)
    dot = (difference * head.product).sum(1, keepdim=True)
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
