"""Samples of any number of classes: each (sample, class) is a pair, a question of its own with two answers.

A run over n samples and C classes has n C rows. The row of sample i and class c is `i * C + c`; its given label is 1
("present") or 0 ("absent"). The two answers have the logits 0 and l_c, so that their softmax is the sigmoid of l_c,
and everything that is recorded of a sample with one label has its meaning for a pair:

    γ           sign(t - σ(l_c)) cos(z, W_c): the gradient of the class's binary cross entropy, with its own row of W
    rival's γ   -γ: the one other answer asks for the opposite
    margin      l_c where the class is given, -l_c where not
    loss        softplus(-margin), the binary cross entropy
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from gwaudit.recording.alignment import SampleSignals, multilabel_class_alignment


class PairSignals(NamedTuple):
    """What of a pair is not implied by the rest: [B C] each, in the order of the rows.

    Attributes:
        alignment: γ of the given answer, in [-1, 1], float32.
        margin: logit of the given answer less that of the other one, float32.
    """

    alignment: Tensor
    margin: Tensor


def pair_rows(sample_ids: Tensor, n_classes: int) -> Tensor:
    """The rows of all pairs of some samples: [B C] int64, for sample ids [B].

    Example:
        >>> pair_rows(torch.tensor([2, 0]), 3)
        tensor([6, 7, 8, 0, 1, 2])
    """
    return (sample_ids[:, None] * n_classes + torch.arange(n_classes, device=sample_ids.device)).reshape(-1)


def pair_signals(
    latent: Tensor, logits: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None = None
) -> PairSignals:
    """What is recorded of a batch.

    Args:
        latent: [B, D] the head's input, any float dtype.
        logits: [B, C] the head's output for that latent, before the sigmoid.
        targets: [B, C] given labels, 0 or 1.
        weight, bias: [C, D] and [C] of the head, of the same forward pass.
    """
    given = targets.to(torch.promote_types(logits.dtype, torch.float32))
    alignment = multilabel_class_alignment(latent, logits, given, weight, bias)
    margin = torch.where(given > 0.5, logits, -logits)
    return PairSignals(alignment.reshape(-1).float(), margin.detach().reshape(-1).float())


def sample_signals_of(pairs: PairSignals, given: Tensor) -> SampleSignals:
    """All signals of pairs, each as of a sample with two classes: [N] each.

    The error's norm (`el2n`) is that of the one sigmoid, |t - σ|, in [0, 1].

    Args:
        pairs: [N] each.
        given: [N] 0 or 1.
    """
    answer = given.int()
    loss = functional.softplus(-pairs.margin)
    return SampleSignals(
        alignment=pairs.alignment,
        alternative_label=1 - answer,
        alternative_alignment=-pairs.alignment,
        margin=pairs.margin,
        loss=loss,
        given_probability=(-loss).exp(),
        el2n=torch.sigmoid(-pairs.margin),
        predicted_label=torch.where(pairs.margin > 0, answer, 1 - answer),
    )
