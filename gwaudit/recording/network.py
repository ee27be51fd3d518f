"""Measures that need gradients of the whole network: what alignment of the head is compared with. For small runs.

- gradient disparity: the mean distance between the gradients of a few batches (Forouzesh and Thiran, ECML 2021);
- stiffness: the cosine between the gradients of two samples, and its sign (Fort et al., 2019, arXiv 1901.09491);
- direction alignment: the cosine of the descent direction with the way to the final weights;
- head against network: the alignment of the head beside that of all parameters, sample by sample.

All look at the model in evaluation mode, as batch statistics are not a property of a sample, and leave its modes,
buffers and gradients as they were.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from gwaudit.core.errors import ModelError, SettingsError
from gwaudit.recording.alignment import network_alignment
from gwaudit.recording.head import find_head

Batch = tuple[Tensor, Tensor]
"""Inputs as the model takes them, and labels [B]."""


@dataclass(frozen=True)
class GradientDisparity:
    """Of a few batches.

    Attributes:
        disparity: the mean over all pairs of ‖g_i - g_j‖₂, each gradient that of its batch's losses divided by their
            standard deviation, as the authors do lest the shrinking of losses hide what they measure.
        gradient_norm: ‖mean of g_i‖₂, of the losses as they are.
    """

    disparity: float
    gradient_norm: float


@dataclass(frozen=True)
class Stiffness:
    """Means over pairs of different samples; NaN where there is no such pair.

    Attributes:
        cosine: of their gradients, all pairs, in [-1, 1].
        sign: of that cosine.
        cosine_within, sign_within: over pairs of one given label.
        cosine_between, sign_between: over pairs of two.
    """

    cosine: float
    sign: float
    cosine_within: float
    sign_within: float
    cosine_between: float
    sign_between: float


@dataclass(frozen=True)
class HeadAndNetwork:
    """The alignment of the same samples with the head's weight, and with all parameters.

    Attributes:
        head, network: [B] each.
        correlation: Pearson's over the samples; NaN where one does not vary.
    """

    head: Tensor
    network: Tensor
    correlation: float


def gradient_disparity(model: nn.Module, batches: Sequence[Batch]) -> GradientDisparity:
    """How far apart the gradients of a few batches lie.

    Args:
        model: returns logits [B, C].
        batches: at least two, of at least two samples each.

    Raises:
        SettingsError: fewer.
    """
    if len(batches) < 2 or any(len(labels) < 2 for _, labels in batches):
        raise SettingsError("gradient disparity needs at least two batches of at least two samples each")
    gradients, scales = [], []
    for inputs, labels in batches:
        gradient, losses = _batch_gradient(model, inputs, labels)
        gradients.append(gradient)
        scales.append(losses.std().clamp_min(1e-12))
    scaled = [gradient / scale for gradient, scale in zip(gradients, scales, strict=True)]
    distances = [float((a - b).norm()) for a, b in itertools.combinations(scaled, 2)]
    return GradientDisparity(sum(distances) / len(distances), float(torch.stack(gradients).mean(0).norm()))


def batch_gradient(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """The gradient of a batch's mean cross entropy with respect to all trainable parameters, flat: [P] float32."""
    return _batch_gradient(model, inputs, labels)[0]


def flat_weights(model: nn.Module) -> Tensor:
    """A copy of all trainable parameters, in the order of `batch_gradient`: [P] float32."""
    return _flat(_trainable(model).values())


def direction_alignment(gradient: Tensor, weights: Tensor, final_weights: Tensor) -> float:
    """cos(-gradient, final - weights): whether a step downhill leads to where the training ends.

    Args:
        gradient: [P] at these weights.
        weights: [P].
        final_weights: [P] at the end of the training.

    Returns:
        In [-1, 1]; 0 where there is no gradient, or no way left.
    """
    return float(functional.cosine_similarity(-gradient, final_weights - weights, dim=0))


def stiffness(model: nn.Module, inputs: Tensor, labels: Tensor) -> Stiffness:
    """How alike the gradients of samples are, pair by pair; holds all of them at once, [B, P].

    Args:
        model: returns logits [B, C].
        inputs: [B, ...] as the model takes them, B >= 2.
        labels: [B].
    """
    if len(labels) < 2:
        raise SettingsError("stiffness is of pairs: give at least two samples")
    unit = functional.normalize(_sample_gradients(model, inputs, labels), dim=1)
    first, second = torch.triu_indices(len(labels), len(labels), 1)
    cosine = (unit @ unit.T)[first, second]
    alike = labels[first] == labels[second]
    parts = {"": torch.ones_like(alike), "_within": alike, "_between": ~alike}
    means = {f"cosine{part}": float(cosine[chosen].mean()) for part, chosen in parts.items()}
    return Stiffness(**means, **{f"sign{part}": float(cosine[chosen].sign().mean()) for part, chosen in parts.items()})


def head_and_network_alignment(model: nn.Module, inputs: Tensor, labels: Tensor) -> HeadAndNetwork:
    """The alignment of each sample with the head alone and with the whole network.

    Args:
        model: with a linear head.
        inputs: [B, ...] as the model takes them.
        labels: [B].

    Raises:
        ModelError: no linear head.
    """
    head = find_head(model)
    alone = network_alignment(model, inputs, labels, parameters=[f"{head.name}.weight"])
    whole = network_alignment(model, inputs, labels)
    varied = len(alone) > 1 and bool(alone.std() > 0) and bool(whole.std() > 0)
    correlation = float(torch.corrcoef(torch.stack([alone, whole]))[0, 1]) if varied else float("nan")
    return HeadAndNetwork(alone, whole, correlation)


def _batch_gradient(model: nn.Module, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    parameters = _trainable(model)
    with _evaluated(model), torch.enable_grad():
        losses = functional.cross_entropy(model(inputs).float(), labels.long(), reduction="none")
        gradients = torch.autograd.grad(losses.mean(), list(parameters.values()), allow_unused=True)
    known = [torch.zeros_like(p) if g is None else g for g, p in zip(gradients, parameters.values(), strict=True)]
    return _flat(known), losses.detach()


def _sample_gradients(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """[B, P] float32."""
    chosen = {name: p.detach() for name, p in _trainable(model).items()}
    fixed = {name: p.detach() for name, p in model.named_parameters() if name not in chosen}
    fixed |= {name: b.detach() for name, b in model.named_buffers()}

    def loss(chosen: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        logits: Tensor = torch.func.functional_call(model, (chosen, fixed), (x[None],))
        return functional.cross_entropy(logits.float(), y[None])

    with _evaluated(model):
        gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(chosen, inputs, labels.long())
    return torch.cat([gradients[name].flatten(1).float() for name in chosen], 1)


def _trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    found = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not found:
        raise ModelError(f"{type(model).__name__} has no trainable parameters, so no gradients to compare")
    return found


def _flat(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().float().flatten() for tensor in tensors])


@contextmanager
def _evaluated(model: nn.Module) -> Iterator[None]:
    """In evaluation mode and full precision; every module's mode is given back."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.autocast(next(model.parameters()).device.type, enabled=False):
            yield
    finally:
        for module, training in modes.items():
            module.training = training
