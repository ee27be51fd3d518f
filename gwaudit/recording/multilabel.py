"""Compute the alignment of multi-label samples: one row per sample and class, with the answers "absent" and "present".

A run of n samples and C classes has n C rows. The row of sample i and class c is `i * C + c`; its given label is 1
("present") or 0 ("absent"). The two answers have the logits 0 and l_c, so their softmax is the sigmoid of l_c, and
every signal of a sample with one label has its meaning for a row:

    γ                       sign(t - σ(l_c)) cos(z̃, θ_c): the descent direction of the class's binary cross entropy
                            with the class's own row of the head; z̃ = [z, 1], θ_c = [W_c, b_c], or z and W_c where
                            the bias is left out (`alignment="weight"`, `gwaudit.recording.alignment`)
    γ of the other answer   -γ: its descent direction is the opposite one
    margin                  l_c where the class is given, -l_c where it is not
    loss                    softplus(-margin), the binary cross entropy

Shapes: B samples, D latent features, C classes.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from gwaudit.core.settings import Alignment
from gwaudit.recording.alignment import SampleSignals
from gwaudit.recording.cosine import cosine, cosine_with_head, read_head, require_target_shape, to_float64


class RowSignals(NamedTuple):
    """Hold the two signals from which all others of a row follow: [B C] each, in the order of the rows.

    Attributes:
        alignment: γ of the given answer, in [-1, 1], float32.
        margin: Logit of the given answer minus that of the other answer, float32.
    """

    alignment: Tensor
    margin: Tensor


def multilabel_alignment(
    latent: Tensor,
    logits: Tensor,
    targets: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    alignment: Alignment = "head",
) -> Tensor:
    """Return the alignment of each sample under independent sigmoids and binary cross entropy.

    Args:
        latent: [B, D] input of the head, any float dtype.
        logits: [B, C] output of the head for that latent, before the sigmoid, C >= 1.
        targets: [B, C] in [0, 1].
        weight: [C, D] weight of the head, of the same forward pass.
        bias: [C] bias of the head, or None.
        alignment: Parameters θ: the weight and the bias of the head (`head`), or its weight only (`weight`), as in
            arXiv 2510.25480.

    Returns:
        [B] ((t - σ)·u) / (‖z̃‖ ‖t - σ‖ ‖θ‖) with u = θ z̃, in [-1, 1]; 0 where there is no gradient, as of a zero latent
        of a head without a bias.

    Raises:
        RecordingError: The shapes do not belong to one linear layer, or the targets have another shape than the logits.
    """
    head = read_head(latent, logits, weight, bias, alignment=alignment, min_classes=1)
    wide, wide_logits = to_float64(require_target_shape(targets, head.logits)), to_float64(head.logits)
    # t - σ(l) = t σ(-l) - (1 - t) σ(l). Both terms are computed as logarithms, and each row is scaled by its largest
    # term: the cosine does not depend on the scale, and a model that is certain of every class does not underflow.
    towards = wide.log() + functional.logsigmoid(-wide_logits)
    away = (1 - wide).log() + functional.logsigmoid(wide_logits)
    largest = torch.maximum(towards, away).amax(1, keepdim=True)
    return cosine_with_head((towards - largest).exp() - (away - largest).exp(), head)


def multilabel_class_alignment(
    latent: Tensor,
    logits: Tensor,
    targets: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    alignment: Alignment = "head",
) -> Tensor:
    """Return the alignment of each sample and class: of the class's own sigmoid with its own row of the head.

    Args:
        latent, logits, targets, weight, bias, alignment: As for `multilabel_alignment`.

    Returns:
        [B, C] sign(t_c - σ_c) cos(z̃, θ_c), in [-1, 1]; 0 where z̃ or the class's row is zero.

    Raises:
        RecordingError: As for `multilabel_alignment`.
    """
    head = read_head(latent, logits, weight, bias, alignment=alignment, by_class=True, min_classes=1)
    # σ rounds to 0 and 1 long before the sign of t - σ(l) is in doubt; logit(t) - l has the same sign.
    sign = torch.sign(torch.logit(to_float64(require_target_shape(targets, head.logits))) - to_float64(head.logits))
    return cosine(sign.to(head.logits) * head.product, head.scale)


def rows_of_samples(sample_ids: Tensor, n_classes: int) -> Tensor:
    """Return the row numbers of all classes of some samples: [B C] int64, for sample ids [B].

    Example:
        >>> rows_of_samples(torch.tensor([2, 0]), 3)
        tensor([6, 7, 8, 0, 1, 2])
    """
    return (sample_ids[:, None] * n_classes + torch.arange(n_classes, device=sample_ids.device)).reshape(-1)


def row_signals(
    latent: Tensor,
    logits: Tensor,
    targets: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    alignment: Alignment = "head",
) -> RowSignals:
    """Return the signals of a batch, one row per sample and class.

    Args:
        latent, logits, weight, bias, alignment: As for `multilabel_alignment`.
        targets: [B, C] given labels, 0 or 1.
    """
    given = targets.to(torch.promote_types(logits.dtype, torch.float32))
    of_classes = multilabel_class_alignment(latent, logits, given, weight, bias, alignment=alignment)
    margin = torch.where(given > 0.5, logits, -logits)
    return RowSignals(of_classes.reshape(-1).float(), margin.detach().reshape(-1).float())


def to_sample_signals(rows: RowSignals, given: Tensor) -> SampleSignals:
    """Return all signals of the rows, each as of a sample with two classes: [N] each.

    The norm of the error (`el2n`) is that of the one sigmoid, |t - σ|, in [0, 1].

    Args:
        rows: [N] each.
        given: [N] given answers, 0 or 1.
    """
    answer = given.int()
    loss = functional.softplus(-rows.margin)
    return SampleSignals(
        alignment=rows.alignment,
        alternative_label=1 - answer,
        alternative_alignment=-rows.alignment,
        margin=rows.margin,
        loss=loss,
        given_probability=(-loss).exp(),
        el2n=torch.sigmoid(-rows.margin),
        predicted_label=torch.where(rows.margin > 0, answer, 1 - answer),
    )
