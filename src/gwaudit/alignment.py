"""Gradient-weight alignment as pure functions on tensors.

The alignment of one sample is the cosine between the descent direction that the sample asks of the classifier's weights
and those weights themselves (Hölzl, Rueckert, Kaissis, NeurIPS 2025, arXiv 2510.25480):

    γ = cos(-∇_W loss, W),    ∇_W loss = (p - e_y) zᵀ

With latent `z`, logits `l`, `u = l - b = W z`, `p = softmax(l)`. As the model grows sure of a sample `p - e_y` cancels,
so γ is computed from the softmax `q` over the classes *other than* `y`, in which the factor `1 - p_y` has dropped out:

    γ = (u_y - q·u) / (‖z‖ ‖W‖ sqrt(1 + ‖q‖²))

Everything is computed in float32, or in float64 where that is what comes in, also under autocast.
A sample with a zero latent has no gradient; its alignment is 0.

Shapes: B samples, D latent features, C classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

BETA = 1.2
"""The constant that GWA adds to the dispersion (the paper's β)."""

_GWA_FLOOR = 0.1  # below this K + β is too near its pole at 0 for the quotient to mean anything


class SampleSignals(NamedTuple):
    """What is recorded of each sample: [B] each, float32 but for the int32 labels.

    Attributes:
        alignment: γ of the given label, in [-1, 1].
        counterfactual_label: the label other than the given one with the highest γ_c.
        counterfactual_alignment: that highest γ_c, in [-1, 1].
        margin: logit of the given label less the largest other logit (Pleiss et al., AUM, NeurIPS 2020).
        loss: cross entropy of the given label, in nats.
        given_probability: softmax probability of the given label.
        predicted_label: the class with the largest logit.
    """

    alignment: Tensor
    counterfactual_label: Tensor
    counterfactual_alignment: Tensor
    margin: Tensor
    loss: Tensor
    given_probability: Tensor
    predicted_label: Tensor


def head_alignment(
    latent: Tensor,
    logits: Tensor,
    labels: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    weight_norm: Tensor | None = None,
) -> Tensor:
    """Alignment γ of each sample with its given label.

    Args:
        latent: [B, D] the head's input, any float dtype.
        logits: [B, C] the head's output for that latent, C >= 2.
        labels: [B] given labels, integers in [0, C).
        weight: [C, D] the head's weight, of the same forward pass.
        bias: [C] the head's bias, if it has one.
        weight_norm: ‖W‖_F where the caller has it already.

    Returns:
        [B] float32 in [-1, 1]; 0 where the latent is zero.

    Source: arXiv 2510.25480, in the stable form of this module's docstring.
    """
    logits, unbiased, scale = _head_terms(latent, logits, weight, bias, weight_norm)
    given = labels.long()[:, None]
    rival = logits.scatter(1, given, -torch.inf).softmax(1)
    difference = unbiased.gather(1, given)[:, 0] - (rival * unbiased).sum(1)
    return _over(difference, scale * (1 + rival.square().sum(1)).sqrt())


def counterfactual_alignment(
    latent: Tensor,
    logits: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    weight_norm: Tensor | None = None,
) -> Tensor:
    """Alignment γ_c that each sample would have if its label were c, for every class c.

    Args: as for `head_alignment`, without the labels.

    Returns:
        [B, C] float32 in [-1, 1]; column y of row i is `head_alignment` of sample i with label y.
    """
    return _counterfactual(*_head_terms(latent, logits, weight, bias, weight_norm))


def sample_signals(
    latent: Tensor,
    logits: Tensor,
    labels: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    weight_norm: Tensor | None = None,
) -> SampleSignals:
    """All that is recorded of a batch, in one pass and without waiting for the device.

    Args: as for `head_alignment`.
    """
    logits, unbiased, scale = _head_terms(latent, logits, weight, bias, weight_norm)
    given = labels.long()[:, None]
    alignment = _counterfactual(logits, unbiased, scale)
    counterfactual, counterfactual_label = alignment.scatter(1, given, -torch.inf).max(1)
    given_logit = logits.gather(1, given)[:, 0]
    loss = logits.logsumexp(1) - given_logit
    return SampleSignals(
        alignment=alignment.gather(1, given)[:, 0].float(),
        counterfactual_label=counterfactual_label.int(),
        counterfactual_alignment=counterfactual.float(),
        margin=(given_logit - logits.scatter(1, given, -torch.inf).amax(1)).float(),
        loss=loss.float(),
        given_probability=(-loss).exp().float(),
        predicted_label=logits.argmax(1).int(),
    )


def soft_target_alignment(
    latent: Tensor, logits: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Alignment with a target distribution in place of a label (label smoothing, mixup, distillation).

    Args:
        latent, logits, weight, bias: as for `head_alignment`.
        targets: [B, C] rows that sum to 1. One-hot rows give exactly `head_alignment`.

    Returns:
        [B] float32: ((t - p)·u) / (‖z‖ ‖t - p‖ ‖W‖), in [-1, 1]; 0 where t equals p.
    """
    hard = head_alignment(latent, logits, targets.argmax(1), weight, bias)
    logits, unbiased, scale = _head_terms(latent, logits, weight, bias, None)
    probability = logits.softmax(1)
    # 1 - p of the likeliest class as the sum of the others: exact where p rounds to 1.
    top = probability.argmax(1, keepdim=True)
    targets = targets.to(logits.dtype)
    top_difference = (targets.gather(1, top) - 1) + probability.scatter(1, top, 0).sum(1, keepdim=True)
    difference = (targets - probability).scatter(1, top, top_difference)
    soft = _over((difference * unbiased).sum(1), scale * difference.norm(dim=1))
    return torch.where(targets.amax(1) == 1, hard, soft)


def multilabel_alignment(
    latent: Tensor, logits: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Alignment of each sample under independent sigmoids and binary cross entropy.

    Args:
        latent, logits, weight, bias: as for `head_alignment`; C >= 1.
        targets: [B, C] in [0, 1].

    Returns:
        [B] float32: ((t - σ)·u) / (‖z‖ ‖t - σ‖ ‖W‖), in [-1, 1].
    """
    logits, unbiased, scale = _head_terms(latent, logits, weight, bias, None)
    difference = _scaled_sigmoid_difference(logits, targets.to(logits.dtype))
    return _over((difference * unbiased).sum(1), scale * difference.norm(dim=1))


def multilabel_class_alignment(
    latent: Tensor, logits: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Alignment per sample and class: the gradient of one class's sigmoid with that class's row of the weight.

    Args: as for `multilabel_alignment`.

    Returns:
        [B, C] float32: sign(t_c - σ_c) cos(z, W_c), in [-1, 1].
    """
    logits, unbiased, _ = _head_terms(latent, logits, weight, bias, None)
    targets = targets.to(logits.dtype)
    # σ rounds to 0 and 1 long before the sign of t - σ is in doubt.
    sign = torch.where(targets >= 1, 1.0, torch.where(targets <= 0, -1.0, torch.sign(targets - logits.sigmoid())))
    norms = latent.to(logits.dtype).norm(dim=1, keepdim=True) * weight.to(logits.dtype).norm(dim=1)
    return _over(sign * unbiased, norms)


def network_alignment(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    *,
    loss: Callable[[Tensor, Tensor], Tensor] = nn.functional.cross_entropy,
) -> Tensor:
    """The same cosine over all trainable parameters of a network, by per-sample gradients.

    For small models, and to check the head's form. The model is evaluated as in `eval()` (batch statistics are not
    a property of one sample); its modes are left as they were.

    Args:
        model: returns logits [B, C].
        inputs: [B, ...].
        labels: [B] given labels.
        loss: of logits [1, C] and labels [1].

    Returns:
        [B] float32 in [-1, 1]: cos(-∇_θ loss, θ).
    """
    parameters = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    fixed = {name: p.detach() for name, p in model.named_parameters() if not p.requires_grad}
    fixed |= {name: b.detach() for name, b in model.named_buffers()}

    def sample_loss(trainable: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        logits = torch.func.functional_call(model, (trainable, fixed), (x[None],))
        return loss(logits, y[None])

    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        gradients = torch.func.vmap(torch.func.grad(sample_loss), in_dims=(None, 0, 0))(parameters, inputs, labels)
    finally:
        for module, training in modes.items():
            module.training = training
    dots = sum(-(g.flatten(1).float() @ parameters[n].flatten().float()) for n, g in gradients.items())
    squares = sum(g.flatten(1).float().square().sum(1) for g in gradients.values())
    norm = sum(p.float().square().sum() for p in parameters.values())
    return _over(torch.as_tensor(dots), torch.as_tensor(squares).sqrt() * torch.as_tensor(norm).sqrt())


@dataclass(frozen=True)
class EpochMoments:
    """The alignments of a whole epoch in three numbers.

    Attributes:
        count: samples that they are of.
        directional_alignment: E, the mean, in [-1, 1]; NaN without samples.
        dispersion: K, the excess kurtosis, at least -2; NaN where all alignments are equal.
        gwa: E / (K + β); NaN where `two_humped`.
        two_humped: K is so near or below -β that the quotient has no meaning. Many wrong labels make
            the distribution two-humped; look at E and K instead.
    """

    count: int
    directional_alignment: float
    dispersion: float
    gwa: float
    two_humped: bool


def gradient_weight_alignment(directional_alignment: float, dispersion: float, beta: float = BETA) -> float:
    """GWA = E / (K + β) (arXiv 2510.25480), or NaN where K + β is below 0.1 and the quotient is no measure."""
    return directional_alignment / (dispersion + beta) if dispersion + beta >= _GWA_FLOOR else float("nan")


def epoch_moments(alignment: Tensor, beta: float = BETA) -> EpochMoments:
    """E, K and GWA of an epoch's alignments.

    Args:
        alignment: [N]; NaN (missing) is left out. Accumulated in float64.
        beta: the paper's β.
    """
    values = alignment.detach().double()
    values = values[~values.isnan()]
    if len(values) == 0:
        return EpochMoments(0, float("nan"), float("nan"), float("nan"), False)
    mean = values.mean()
    deviation = values - mean
    return _moments(len(values), float(mean), float(deviation.square().mean()), float((deviation**4).mean()), beta)


class MovingMoments:
    """E, K and GWA from mini-batches alone, by exponential moving averages of the raw moments.

    The cheap streaming variant (arXiv 2510.25480): each step moves the averages by 1 / steps_per_epoch, so they span
    about an epoch; the start is corrected for as in Adam. Nothing is read back from the device before `moments`.

    Args:
        steps_per_epoch: steps that the averages span, at least 1.
        beta: the paper's β.
    """

    def __init__(self, steps_per_epoch: int, beta: float = BETA) -> None:
        self._factor = 1 / max(1, steps_per_epoch)
        self._beta = beta
        self._steps = 0
        self._count = 0
        self._raw: Tensor | None = None

    def update(self, alignment: Tensor) -> None:
        """Take in one mini-batch: [B] alignments."""
        values = alignment.detach().double()
        raw = torch.stack([values.mean(), values.square().mean(), (values**3).mean(), (values**4).mean()])
        previous = torch.zeros_like(raw) if self._raw is None else self._raw
        self._raw = torch.lerp(previous, raw, self._factor)
        self._steps += 1
        self._count += len(values)

    def moments(self) -> EpochMoments:
        """The moments as they stand; `count` is of all samples seen."""
        if self._raw is None:
            return EpochMoments(0, float("nan"), float("nan"), float("nan"), False)
        first, second, third, fourth = (self._raw / (1 - (1 - self._factor) ** self._steps)).tolist()
        variance = second - first**2
        central = fourth - 4 * first * third + 6 * first**2 * second - 3 * first**4
        return _moments(self._count, first, variance, central, self._beta)


def _moments(count: int, mean: float, variance: float, fourth: float, beta: float) -> EpochMoments:
    # Alignments of float32 that differ by rounding alone have no shape.
    dispersion = fourth / variance**2 - 3 if variance > 1e-14 else float("nan")
    return EpochMoments(
        count,
        mean,
        dispersion,
        gradient_weight_alignment(mean, dispersion, beta),
        two_humped=dispersion + beta < _GWA_FLOOR,
    )


def _head_terms(
    latent: Tensor, logits: Tensor, weight: Tensor, bias: Tensor | None, weight_norm: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits and logits less bias [B, C], and ‖z‖ ‖W‖ [B], in float32 or better and apart from the graph."""
    dtype = torch.promote_types(logits.dtype, torch.float32)
    logits = logits.detach().to(dtype)
    unbiased = logits if bias is None else logits - bias.detach().to(dtype)
    norm = weight.detach().to(dtype).norm() if weight_norm is None else weight_norm.to(dtype)
    return logits, unbiased, latent.detach().to(dtype).norm(dim=1) * norm


def _counterfactual(logits: Tensor, unbiased: Tensor, scale: Tensor) -> Tensor:
    # Leaving class c out of the softmax: q·u = (p·u - p_c u_c) / (1 - p_c), and so on. Well conditioned for every
    # class but the likeliest, as 1 - p_c >= 1/2 there; the likeliest gets its softmax over the others.
    probability = logits.softmax(1)
    weighted = probability * unbiased
    square = probability.square()
    rest = 1 - probability
    mean = (weighted.sum(1, keepdim=True) - weighted) / rest
    norm = (square.sum(1, keepdim=True) - square).clamp_min(0) / rest.square()
    top = logits.argmax(1, keepdim=True)
    rival = logits.scatter(1, top, -torch.inf).softmax(1)
    mean = mean.scatter(1, top, (rival * unbiased).sum(1, keepdim=True))
    norm = norm.scatter(1, top, rival.square().sum(1, keepdim=True))
    return _over(unbiased - mean, scale[:, None] * (1 + norm).sqrt())


def _scaled_sigmoid_difference(logits: Tensor, targets: Tensor) -> Tensor:
    # t - σ(l) = t σ(-l) - (1 - t) σ(l), each row scaled by its largest term: the cosine does not see the scale, and a
    # model sure of every class does not underflow.
    positive = targets.log() + nn.functional.logsigmoid(-logits)
    negative = (1 - targets).log() + nn.functional.logsigmoid(logits)
    largest = torch.maximum(positive, negative).amax(1, keepdim=True)
    return (positive - largest).exp() - (negative - largest).exp()


def _over(numerator: Tensor, denominator: Tensor) -> Tensor:
    """A cosine in float32: 0 where it is undefined, and no further than rounding allows."""
    defined = denominator > 0
    quotient = numerator / torch.where(defined, denominator, torch.ones_like(denominator))
    return torch.where(defined, quotient, torch.zeros_like(quotient)).clamp(-1, 1)
