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

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm

from gwaudit.core.errors import ModelError, RecordingError, SettingsError

BETA = 1.2
"""The constant that GWA adds to the dispersion (the paper's β)."""

_GWA_FLOOR = 0.1  # below this K + β is too near its pole at 0 for the quotient to mean anything


class SampleSignals(NamedTuple):
    """What is recorded of each sample: [B] each, float32 but for the int32 labels.

    Attributes:
        alignment: γ of the given label, in [-1, 1].
        alternative_label: the label other than the given one with the highest γ_c.
        alternative_alignment: that highest γ_c, in [-1, 1].
        margin: logit of the given label less the largest other logit (Pleiss et al., AUM, NeurIPS 2020).
        loss: cross entropy of the given label, in nats.
        given_probability: softmax probability of the given label.
        el2n: ‖softmax - one-hot‖₂, the norm of the error, in [0, √2] (Paul et al., EL2N, NeurIPS 2021).
        predicted_label: the class with the largest logit.
    """

    alignment: Tensor
    alternative_label: Tensor
    alternative_alignment: Tensor
    margin: Tensor
    loss: Tensor
    given_probability: Tensor
    el2n: Tensor
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
        weight_norm: [] `frobenius_norm` of the weight, where the caller has it already.

    Returns:
        [B] in [-1, 1], float32 (float64 for float64 logits); 0 where the latent is zero.

    Raises:
        RecordingError: Shapes that do not fit each other.

    Source: arXiv 2510.25480, in the stable form of this module's docstring.

    Example:
        >>> latent, weight = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.6, 0.8], [-0.6, -0.8]])
        >>> head_alignment(latent, latent @ weight.T, torch.tensor([0]), weight)  # as aligned as can be
        tensor([1.])
    """
    head = _read_head(latent, logits, weight, bias, weight_norm)
    given = _column(labels, head.logits)
    rival = head.logits.scatter(1, given, -torch.inf).softmax(1)
    difference = head.unbiased.gather(1, given) - (rival * head.unbiased).sum(1, keepdim=True)
    return _cosine(difference, head.scale * (1 + rival.square().sum(1, keepdim=True)).sqrt())[:, 0]


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
        [B, C] in [-1, 1]; column y of row i is `head_alignment` of sample i with label y.
    """
    head = _read_head(latent, logits, weight, bias, weight_norm)
    return _cosine(_latent_free_counterfactual(head, _split(head.logits))[0], head.scale)


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

    This runs in every training step: 15 passes over [B, C], the rest is [B]. On one core of a server, 0.2 ms for
    B = 512, C = 10, D = 128 and about 1 ms for B = 256, C = 1000, D = 384.

    Args: as for `head_alignment`.
    """
    head = _read_head(latent, logits, weight, bias, weight_norm)
    given = _column(labels, head.logits)
    split = _split(head.logits)
    counterfactual, error = _latent_free_counterfactual(head, split)
    given_alignment = counterfactual.gather(1, given)
    # ‖z‖ ‖W‖ is the same for all classes of a sample: it does not change which one is the highest.
    best, best_label = counterfactual.scatter_(1, given, -torch.inf).max(1, keepdim=True)
    given_logit = head.logits.gather(1, given)
    shortfall = given_logit - split.top_logit
    loss = nn.functional.softplus(-split.gap) - shortfall
    return SampleSignals(
        alignment=_cosine(given_alignment, head.scale)[:, 0].float(),
        alternative_label=best_label[:, 0].int(),
        alternative_alignment=_cosine(best, head.scale)[:, 0].float(),
        margin=torch.where(given == split.top, split.top_logit - split.runner_up, shortfall)[:, 0].float(),
        loss=loss[:, 0].float(),
        given_probability=(-loss).exp()[:, 0].float(),
        el2n=error.gather(1, given)[:, 0].sqrt().float(),
        predicted_label=split.top[:, 0].int(),
    )


def soft_target_alignment(
    latent: Tensor, logits: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Alignment with a target distribution in place of a label (label smoothing, mixup, distillation).

    `t - p` vanishes as training succeeds, so it is taken in float64; there 1 - p of the likeliest class is the sum of
    the others. A one-hot row, whose `t - p` can underflow all the same, is `head_alignment`'s.

    Args:
        latent, logits, weight, bias: as for `head_alignment`.
        targets: [B, C] rows that sum to 1.

    Returns:
        [B] ((t - p)·u) / (‖z‖ ‖t - p‖ ‖W‖), in [-1, 1]; 0 where the latent is zero or t equals p.
    """
    head = _read_head(latent, logits, weight, bias, None)
    wide = _wide(_like_logits(targets, head.logits))
    probability = _wide(head.logits).softmax(1)
    top = probability.argmax(1, keepdim=True)
    others = probability.scatter(1, top, 0).sum(1, keepdim=True)
    difference = (wide - probability).scatter(1, top, (wide.gather(1, top) - 1) + others)
    soft = _cosine_with_head(difference, head)
    hard = head_alignment(latent, logits, targets.argmax(1), weight, bias)
    one_hot = (targets.amax(1) == 1) & ((targets != 0).sum(1) == 1)
    return torch.where(one_hot, hard, soft)


def multilabel_alignment(
    latent: Tensor, logits: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Alignment of each sample under independent sigmoids and binary cross entropy.

    Args:
        latent, logits, weight, bias: as for `head_alignment`; C >= 1.
        targets: [B, C] in [0, 1].

    Returns:
        [B] ((t - σ)·u) / (‖z‖ ‖t - σ‖ ‖W‖), in [-1, 1]; 0 where the latent is zero.
    """
    head = _read_head(latent, logits, weight, bias, None, fewest_classes=1)
    wide, wide_logits = _wide(_like_logits(targets, head.logits)), _wide(head.logits)
    # t - σ(l) = t σ(-l) - (1 - t) σ(l), by logarithms and each row scaled by its largest term: the cosine does not see
    # the scale, and a model that is sure of every class does not underflow.
    wanting = wide.log() + nn.functional.logsigmoid(-wide_logits)
    excess = (1 - wide).log() + nn.functional.logsigmoid(wide_logits)
    largest = torch.maximum(wanting, excess).amax(1, keepdim=True)
    return _cosine_with_head((wanting - largest).exp() - (excess - largest).exp(), head)


def multilabel_class_alignment(
    latent: Tensor, logits: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Alignment per sample and class: the gradient of one class's sigmoid with that class's row of the weight.

    Args: as for `multilabel_alignment`.

    Returns:
        [B, C] sign(t_c - σ_c) cos(z, W_c), in [-1, 1]; 0 where the latent or the class's row is zero.
    """
    head = _read_head(latent, logits, weight, bias, None, fewest_classes=1)
    # σ rounds to 0 and 1 long before the sign of t - σ(l) is in doubt; logit(t) - l has the same sign.
    sign = torch.sign(torch.logit(_wide(_like_logits(targets, head.logits))) - _wide(head.logits))
    norms = _row_norms(latent) * _row_norms(weight).T
    return _cosine(sign.to(head.logits) * head.unbiased, norms.to(head.logits.dtype))


def network_alignment(
    model: nn.Module, inputs: Tensor, labels: Tensor, *, parameters: Iterable[str] | None = None
) -> Tensor:
    """The same cosine over all parameters of a network, by per-sample gradients of the cross entropy.

    For small models (it holds B gradients at once), and to check the head's form. The model is evaluated as in
    `eval()`, as batch statistics are not a property of one sample; its modes and buffers are left as they were.

    Args:
        model: returns logits [B, C], C >= 2.
        inputs: [B, ...].
        labels: [B] given labels, integers in [0, C).
        parameters: names, as in `model.named_parameters()`, of those that the cosine is over; all trainable ones
            unless told. With the head's weight alone this is `head_alignment`.

    Returns:
        [B] in [-1, 1]: cos(-∇_θ loss, θ), float32 (float64 for float64 parameters); 0 where there is no gradient.

    Raises:
        ModelError: No parameters, or names that the model does not have.
    """
    everything = dict(model.named_parameters())
    names = [name for name, p in everything.items() if p.requires_grad] if parameters is None else list(parameters)
    _check_parameters(names, everything)
    chosen = {name: _at_least_float32(everything[name]) for name in names}
    fixed = {name: p.detach() for name, p in everything.items() if name not in chosen}
    fixed |= {name: b.detach() for name, b in model.named_buffers()}
    fixed = {name: _at_least_float32(t) if t.is_floating_point() else t for name, t in fixed.items()}

    def surplus(chosen: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        # logsumexp of the other logits, less the given one. Its gradient is the cross entropy's without the factor
        # 1 - p_y, which the cosine does not see and which rounds to 0 where the model is sure.
        logits: Tensor = torch.func.functional_call(model, (chosen, fixed), (x[None],))
        others = logits.scatter(1, y[None, None], -torch.inf)
        return others.logsumexp(1)[0] - logits.gather(1, y[None, None])[0, 0]

    inputs = _at_least_float32(inputs) if inputs.is_floating_point() else inputs
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.autocast(inputs.device.type, enabled=False):
            per_sample = torch.func.vmap(torch.func.grad(surplus), in_dims=(None, 0, 0))
            gradients = per_sample(chosen, inputs, labels.long())
            flat = {name: g.flatten(1) for name, g in gradients.items()}
            dot = torch.stack([-(g @ chosen[name].flatten()) for name, g in flat.items()]).sum(0)
    finally:
        for module, training in modes.items():
            module.training = training
    gradient_norm = vector_norm(torch.cat([_row_norms(g) for g in flat.values()], 1), dim=1)
    return _cosine(dot, gradient_norm * vector_norm(torch.stack([frobenius_norm(p) for p in chosen.values()])))


def frobenius_norm(weight: Tensor) -> Tensor:
    """‖W‖_F: [] in float32 or better, and exact to rounding.

    Row by row and then over the rows: in one go, float32 accumulation on a CPU is off by up to 1e-3 for 4 million
    elements.
    """
    norm: Tensor = vector_norm(_row_norms(weight.flatten(1) if weight.ndim > 1 else weight.reshape(1, -1)))
    return norm


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


Summation = Callable[[Tensor], Tensor]
"""Adds up a float64 tensor [k] over all processes that have a part of the samples."""


def _alone(sums: Tensor) -> Tensor:
    return sums


def epoch_moments(alignment: Tensor, beta: float = BETA, *, summed: Summation = _alone) -> EpochMoments:
    """E, K and GWA of an epoch's alignments.

    Args:
        alignment: [N]; NaN (missing) is left out. Accumulated in float64.
        beta: the paper's β.
        summed: where several processes have a part each, adds up their sums; all of them must call.
    """
    values = alignment.detach().cpu().double()
    values = values[~values.isnan()]
    count, total = summed(torch.stack([torch.tensor(len(values)).double(), values.sum()]))
    deviation = values - total / count
    second, fourth = summed(torch.stack([deviation.square().sum(), (deviation**4).sum()]))
    if count == 0:
        return EpochMoments(0, float("nan"), float("nan"), float("nan"), False)
    return _moments(int(count), float(total / count), float(second / count), float(fourth / count), beta)


class MovingMoments:
    """E, K and GWA from mini-batches alone, by exponential moving averages of the raw moments.

    The cheap streaming variant (arXiv 2510.25480): each step moves the averages by 1 / steps_per_epoch, so they span
    about an epoch; the start is corrected for as in Adam. Nothing is read back from the device before `moments`.

    Args:
        steps_per_epoch: steps that the averages span, at least 1.
        beta: the paper's β.

    Raises:
        SettingsError: steps_per_epoch below 1.
    """

    def __init__(self, steps_per_epoch: int, beta: float = BETA) -> None:
        if steps_per_epoch < 1:
            raise SettingsError(f"steps_per_epoch: expected at least 1, got {steps_per_epoch}")
        self._factor = 1 / steps_per_epoch
        self._beta = beta
        self._steps = 0
        self._count = 0
        self._raw: Tensor | None = None

    def update(self, alignment: Tensor) -> None:
        """Take in one mini-batch: [B] alignments, all finite."""
        if len(alignment) == 0:
            return
        first = _wide(alignment.detach())
        second = first * first
        raw = torch.stack([first, second, second * first, second * second]).mean(1)
        self._raw = torch.lerp(torch.zeros_like(raw) if self._raw is None else self._raw, raw, self._factor)
        self._steps += 1
        self._count += len(alignment)

    def moments(self, summed: Summation = _alone) -> EpochMoments:
        """The moments as they stand, averaged over processes as in `epoch_moments`; `count` is of all samples seen."""
        raw = torch.zeros(6, dtype=torch.float64)
        if self._raw is not None:
            corrected = self._raw / (1 - (1 - self._factor) ** self._steps)
            raw = torch.cat([corrected.cpu(), torch.tensor([self._count, 1.0], dtype=torch.float64)])
        *sums, count, parts = summed(raw).tolist()
        if parts == 0:
            return EpochMoments(0, float("nan"), float("nan"), float("nan"), False)
        first, second, third, fourth = (value / parts for value in sums)
        variance = second - first**2
        central = fourth - 4 * first * third + 6 * first**2 * second - 3 * first**4
        return _moments(int(count), first, variance, central, self._beta)


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


class _Head(NamedTuple):
    """What every form of the alignment is made of, in float32 or better and apart from the graph."""

    logits: Tensor  # [B, C]
    unbiased: Tensor  # [B, C] the logits less the bias: u = W z
    scale: Tensor  # [B, 1] ‖z‖ ‖W‖


def _read_head(
    latent: Tensor,
    logits: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    weight_norm: Tensor | None,
    *,
    fewest_classes: int = 2,
) -> _Head:
    _check_shapes(latent, logits, weight, bias, fewest_classes)
    logits = _at_least_float32(logits)
    unbiased = logits if bias is None else logits - bias.detach().to(logits.dtype)
    norm = frobenius_norm(weight) if weight_norm is None else weight_norm.detach()
    return _Head(logits, unbiased, (_row_norms(latent) * norm).to(logits.dtype))


class _Split(NamedTuple):
    """The softmax of each sample, split into its likeliest class and the rest."""

    top: Tensor  # [B, 1] the likeliest class
    top_logit: Tensor  # [B, 1]
    runner_up: Tensor  # [B, 1] the largest logit of the rest
    rest: Tensor  # [B, C] exp(l - runner_up), 0 for the likeliest
    rest_sum: Tensor  # [B, 1] its sum, in [1, C - 1]
    gap: Tensor  # [B, 1] log of the likeliest's odds


def _split(logits: Tensor) -> _Split:
    top_logit, top = logits.max(1, keepdim=True)
    rest = logits.scatter(1, top, -torch.inf)
    runner_up = rest.amax(1, keepdim=True)
    rest = rest.sub_(runner_up).exp_()
    rest_sum = rest.sum(1, keepdim=True)
    return _Split(top, top_logit, runner_up, rest, rest_sum, top_logit - runner_up - rest_sum.log())


def _latent_free_counterfactual(head: _Head, split: _Split) -> tuple[Tensor, Tensor]:
    """γ_c ‖z‖ ‖W‖ = (u_c - p·u) / ‖e_c - p‖ for all c, and ‖e_c - p‖²: [B, C] each, tensors of their own.

    With ‖e_c - p‖² = 1 + ‖p‖² - 2 p_c this is the textbook form, well conditioned for every class but the likeliest,
    as p_c <= 1/2 there. The likeliest gets the stable form, with q its softmax over the rest.
    """
    rival_mean = (split.rest * head.unbiased).sum(1, keepdim=True) / split.rest_sum
    rival_square = (_row_norms(split.rest) / split.rest_sum).square()
    top_unbiased = head.unbiased.gather(1, split.top)
    top_share, rest_share = split.gap.sigmoid(), (-split.gap).sigmoid()
    mean = top_share * top_unbiased + rest_share * rival_mean
    square = top_share.square() + rest_share.square() * rival_square
    error = (split.rest * (-2 * rest_share / split.rest_sum)).add_(1 + square)
    counterfactual = (head.unbiased - mean).mul_(error.rsqrt())
    counterfactual.scatter_(1, split.top, (top_unbiased - rival_mean) * (1 + rival_square).rsqrt())
    return counterfactual, error.scatter_(1, split.top, rest_share.square() * (1 + rival_square))


def _cosine_with_head(difference: Tensor, head: _Head) -> Tensor:
    """Cosine of `difference zᵀ` with W: [B], for a difference [B, C] in float64 of any scale but zero."""
    largest = difference.abs().amax(1, keepdim=True)
    difference = difference / torch.where(largest > 0, largest, 1)
    dot = (difference * head.unbiased).sum(1, keepdim=True)
    return _cosine(dot, vector_norm(difference, dim=1, keepdim=True) * head.scale)[:, 0].to(head.logits.dtype)


def _cosine(dot: Tensor, norms: Tensor) -> Tensor:
    # 0 where a norm is 0, no further than rounding allows; NaN stays NaN, for the recorder to refuse.
    return torch.where(norms == 0, 0, dot / norms).clamp(-1, 1)


def _row_norms(matrix: Tensor) -> Tensor:
    """Norms of the rows, in float32 or better and apart from the graph: [B, 1]."""
    dtype = torch.promote_types(matrix.dtype, torch.float32)
    norms: Tensor = vector_norm(matrix.detach(), dim=1, keepdim=True, dtype=dtype)
    return norms


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32))


def _wide(tensor: Tensor) -> Tensor:
    """In float64, or in float32 on Apple's GPUs, which know no other."""
    return tensor.to(torch.float32 if tensor.device.type == "mps" else torch.float64)


def _column(labels: Tensor, logits: Tensor) -> Tensor:
    if labels.shape != logits.shape[:1] or labels.is_floating_point():
        raise RecordingError(
            f"labels: expected integers of shape [{len(logits)}], one for each row of logits, "
            f"got {labels.dtype} of shape {list(labels.shape)}"
        )
    return labels.long()[:, None]


def _like_logits(targets: Tensor, logits: Tensor) -> Tensor:
    if targets.shape != logits.shape:
        raise RecordingError(f"targets: expected shape {list(logits.shape)}, that of logits, got {list(targets.shape)}")
    return targets.detach()


def _check_shapes(latent: Tensor, logits: Tensor, weight: Tensor, bias: Tensor | None, fewest_classes: int) -> None:
    matrices = latent.ndim == logits.ndim == weight.ndim == 2
    if not matrices or logits.shape != (len(latent), len(weight)) or latent.shape[1] != weight.shape[1]:
        raise RecordingError(
            "expected latent [B, D], logits [B, C] and weight [C, D] of one linear layer, got latent "
            f"{list(latent.shape)}, logits {list(logits.shape)} and weight {list(weight.shape)}"
        )
    if bias is not None and bias.shape != logits.shape[1:]:
        raise RecordingError(f"bias: expected shape [{logits.shape[1]}], one for each class, got {list(bias.shape)}")
    if logits.shape[1] < fewest_classes:
        raise RecordingError("logits: alignment compares a label with others, so it needs at least 2 classes, got 1")


def _check_parameters(names: list[str], everything: dict[str, nn.Parameter]) -> None:
    unknown = [name for name in names if name not in everything]
    if unknown:
        raise ModelError(f"no parameter named {', '.join(unknown)}; the model has {', '.join(everything)}")
    if not names:
        raise ModelError("no parameters to align with: the model has no trainable ones, so name some")
