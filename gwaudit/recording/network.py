"""Compute measures from gradients of the whole network, to compare the alignment of the head with. For small models.

- network alignment: the cosine of the head's alignment, over all parameters;
- gradient disparity: the mean distance between the gradients of a few batches (Forouzesh and Thiran, ECML 2021);
- stiffness: the cosine between the gradients of two samples, and its sign (Fort et al., 2019, arXiv 1901.09491);
- direction alignment: the cosine between the descent direction and the direction to the final weights.

All evaluate the model in evaluation mode, as batch statistics are not a property of one sample, and leave its modes,
buffers and gradients unchanged. Shapes: B samples, C classes, P parameters.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm
from torch.nn import functional

from gwaudit.core.errors import ModelError, SettingsError
from gwaudit.recording.cosine import at_least_float32, cosine, frobenius_norm, row_norms
from gwaudit.recording.head import find_head
from gwaudit.recording.modes import evaluation_mode

Batch = tuple[Tensor, Tensor]
"""Inputs as the model takes them, and labels [B]."""


@dataclass(frozen=True)
class GradientDisparity:
    """Hold the gradient disparity of a few batches.

    Attributes:
        disparity: Mean over all pairs of batches of ‖g_i - g_j‖₂. Each gradient is divided by the standard deviation of
            the batch's losses, as the authors do, so that shrinking losses do not hide the disparity.
        gradient_norm: ‖mean of g_i‖₂, of gradients that are not divided.
    """

    disparity: float
    gradient_norm: float


@dataclass(frozen=True)
class Stiffness:
    """Hold means over pairs of different samples; NaN where there is no such pair.

    Attributes:
        cosine: Mean cosine between their gradients, over all pairs, in [-1, 1].
        sign: Mean sign of that cosine.
        cosine_within, sign_within: The same over pairs with one given label.
        cosine_between, sign_between: The same over pairs with two given labels.
    """

    cosine: float
    sign: float
    cosine_within: float
    sign_within: float
    cosine_between: float
    sign_between: float


@dataclass(frozen=True)
class HeadAndNetworkAlignment:
    """Hold the alignment of the same samples with the weight of the head (without its bias), and with all parameters.

    Attributes:
        head, network: [B] each, in [-1, 1].
        correlation: Pearson's correlation over the samples; NaN where one of the two does not vary.
    """

    head: Tensor
    network: Tensor
    correlation: float


def network_alignment(
    model: nn.Module, inputs: Tensor, labels: Tensor, *, parameters: Iterable[str] | None = None
) -> Tensor:
    """Return the alignment of each sample with all parameters of a network.

    The per-sample gradients of the cross entropy are computed in full, B at once: use it for small models, and to check
    `gwaudit.recording.alignment.head_alignment`.

    Args:
        model: Returns logits [B, C], C >= 2.
        inputs: [B, ...] as the model takes them.
        labels: [B] given labels, integers in [0, C).
        parameters: Names, as in `model.named_parameters()`, of the parameters to take the cosine over; by default all
            trainable ones. With the weight and the bias of the head, the result is that of `head_alignment`.

    Returns:
        [B] in [-1, 1]: cos(-∇_θ loss, θ), float32 (float64 for float64 parameters); 0 where there is no gradient.

    Raises:
        ModelError: There are no parameters, or the model has none of a given name.
    """
    all_parameters = dict(model.named_parameters())
    if parameters is None:
        names = [name for name, parameter in all_parameters.items() if parameter.requires_grad]
    else:
        names = list(parameters)
    _check_parameters(names, all_parameters)
    chosen = {name: at_least_float32(all_parameters[name]) for name in names}
    fixed = {
        name: at_least_float32(tensor) if tensor.is_floating_point() else tensor
        for name, tensor in _fixed_tensors(model, chosen).items()
    }

    def other_less_given(chosen: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        # logsumexp of the other logits minus the given one. Its gradient is that of the cross entropy without the
        # factor 1 - p_y, on which the cosine does not depend and which rounds to 0 where the model is confident.
        logits: Tensor = torch.func.functional_call(model, (chosen, fixed), (x[None],))
        others = logits.scatter(1, y[None, None], -torch.inf)
        return others.logsumexp(1)[0] - logits.gather(1, y[None, None])[0, 0]

    inputs = at_least_float32(inputs) if inputs.is_floating_point() else inputs
    with evaluation_mode(model), torch.autocast(inputs.device.type, enabled=False):
        per_sample = torch.func.vmap(torch.func.grad(other_less_given), in_dims=(None, 0, 0))
        gradients = per_sample(chosen, inputs, labels.long())
        flat = {name: gradient.flatten(1) for name, gradient in gradients.items()}
        dot = torch.stack([-(gradient @ chosen[name].flatten()) for name, gradient in flat.items()]).sum(0)
    gradient_norm = vector_norm(torch.cat([row_norms(gradient) for gradient in flat.values()], 1), dim=1)
    return cosine(dot, gradient_norm * vector_norm(torch.stack([frobenius_norm(p) for p in chosen.values()])))


def gradient_disparity(model: nn.Module, batches: Sequence[Batch]) -> GradientDisparity:
    """Return how far apart the gradients of a few batches lie (Forouzesh and Thiran, ECML 2021).

    Args:
        model: Returns logits [B, C].
        batches: At least two, with at least two samples each.

    Raises:
        SettingsError: There are fewer.
    """
    if len(batches) < 2 or any(len(labels) < 2 for _, labels in batches):
        raise SettingsError("gradient disparity needs at least two batches of at least two samples each")
    gradients, scales = [], []
    for inputs, labels in batches:
        gradient, losses = _batch_gradient_and_losses(model, inputs, labels)
        gradients.append(gradient)
        scales.append(losses.std().clamp_min(1e-12))
    scaled = [gradient / scale for gradient, scale in zip(gradients, scales, strict=True)]
    distances = [float((a - b).norm()) for a, b in itertools.combinations(scaled, 2)]
    return GradientDisparity(sum(distances) / len(distances), float(torch.stack(gradients).mean(0).norm()))


def batch_gradient(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """Return the gradient of a batch's mean cross entropy with respect to all trainable parameters: [P] float32."""
    return _batch_gradient_and_losses(model, inputs, labels)[0]


def flat_weights(model: nn.Module) -> Tensor:
    """Return a copy of all trainable parameters, in the order of `batch_gradient`: [P] float32."""
    return _flatten(_trainable(model).values())


def direction_alignment(gradient: Tensor, weights: Tensor, final_weights: Tensor) -> float:
    """Return cos(-gradient, final_weights - weights): whether a descent step leads to the end of the training.

    Args:
        gradient: [P] gradient at these weights.
        weights: [P].
        final_weights: [P] weights at the end of the training.

    Returns:
        A number in [-1, 1]; 0 where there is no gradient, or where the weights are the final ones.
    """
    return float(functional.cosine_similarity(-gradient, final_weights - weights, dim=0))


def stiffness(model: nn.Module, inputs: Tensor, labels: Tensor) -> Stiffness:
    """Return how similar the gradients of samples are, pair by pair (Fort et al., 2019, arXiv 1901.09491).

    All gradients are held at once, [B, P].

    Args:
        model: Returns logits [B, C].
        inputs: [B, ...] as the model takes them, B >= 2.
        labels: [B] given labels.

    Raises:
        SettingsError: There are fewer than two samples.
    """
    if len(labels) < 2:
        raise SettingsError("stiffness is a mean over pairs of samples: give at least two samples")
    unit = functional.normalize(_sample_gradients(model, inputs, labels), dim=1)
    first, second = torch.triu_indices(len(labels), len(labels), 1)
    cosines = (unit @ unit.T)[first, second]
    same = labels[first] == labels[second]
    groups = {"": torch.ones_like(same), "_within": same, "_between": ~same}
    means = {f"cosine{group}": float(cosines[pairs].mean()) for group, pairs in groups.items()}
    signs = {f"sign{group}": float(cosines[pairs].sign().mean()) for group, pairs in groups.items()}
    return Stiffness(**means, **signs)


def head_and_network_alignment(model: nn.Module, inputs: Tensor, labels: Tensor) -> HeadAndNetworkAlignment:
    """Return the alignment of each sample with the weight of the head, and with the whole network.

    The bias of the head is left out of the first, as in arXiv 2510.25480, which compares the two.

    Args:
        model: A classifier with a linear head.
        inputs: [B, ...] as the model takes them.
        labels: [B] given labels.

    Raises:
        ModelError: The model has no linear head.
    """
    head = find_head(model)
    head_only = network_alignment(model, inputs, labels, parameters=[f"{head.name}.weight"])
    whole = network_alignment(model, inputs, labels)
    varied = len(head_only) > 1 and bool(head_only.std() > 0) and bool(whole.std() > 0)
    correlation = float(torch.corrcoef(torch.stack([head_only, whole]))[0, 1]) if varied else float("nan")
    return HeadAndNetworkAlignment(head_only, whole, correlation)


def _batch_gradient_and_losses(model: nn.Module, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    parameters = _trainable(model)
    with _full_precision_evaluation(model), torch.enable_grad():
        losses = functional.cross_entropy(model(inputs).float(), labels.long(), reduction="none")
        gradients = torch.autograd.grad(losses.mean(), list(parameters.values()), allow_unused=True)
    filled = [torch.zeros_like(p) if g is None else g for g, p in zip(gradients, parameters.values(), strict=True)]
    return _flatten(filled), losses.detach()


def _sample_gradients(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """Return the gradient of each sample's cross entropy: [B, P] float32."""
    chosen = {name: parameter.detach() for name, parameter in _trainable(model).items()}
    fixed = _fixed_tensors(model, chosen)

    def loss(chosen: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        logits: Tensor = torch.func.functional_call(model, (chosen, fixed), (x[None],))
        return functional.cross_entropy(logits.float(), y[None])

    with _full_precision_evaluation(model):
        gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(chosen, inputs, labels.long())
    return torch.cat([gradients[name].flatten(1).float() for name in chosen], 1)


def _trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not parameters:
        raise ModelError(f"{type(model).__name__} has no trainable parameters, so no gradients to compare")
    return parameters


def _fixed_tensors(model: nn.Module, chosen: Iterable[str]) -> dict[str, Tensor]:
    """Return all parameters but the chosen ones, and all buffers, detached, by name."""
    excluded = set(chosen)
    tensors = {name: tensor.detach() for name, tensor in model.named_parameters() if name not in excluded}
    return tensors | {name: tensor.detach() for name, tensor in model.named_buffers()}


def _check_parameters(names: list[str], all_parameters: dict[str, nn.Parameter]) -> None:
    unknown = [name for name in names if name not in all_parameters]
    if unknown:
        raise ModelError(f"no parameter named {', '.join(unknown)}; the model has {', '.join(all_parameters)}")
    if not names:
        raise ModelError("no parameters to align with: the model has no trainable ones, so name some")


def _flatten(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().float().flatten() for tensor in tensors])


@contextmanager
def _full_precision_evaluation(model: nn.Module) -> Iterator[None]:
    """Evaluate a model in evaluation mode and without autocast inside the block."""
    device = next(model.parameters()).device
    with evaluation_mode(model), torch.autocast(device.type, enabled=False):
        yield
