"""The definition of the alignment of a head, by automatic differentiation in float64, one sample after the other."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def linear(latent: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return functional.linear(latent, weight, bias)


def head_cosines(
    latents: Tensor,
    labels: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    logits_of: Callable[..., Tensor] = linear,
    loss_of: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy,
    *,
    alignment: str = "head",
) -> Tensor:
    """cos(-∇_θ loss, θ), [N] float64, with θ the weight and the bias, or the weight only (`alignment="weight"`)."""
    weight = weight.detach().double().requires_grad_()
    bias = None if bias is None else bias.detach().double().requires_grad_()
    parameters = [weight] if bias is None or alignment == "weight" else [weight, bias]
    cosines = []
    for latent, label in zip(latents.detach().double(), labels, strict=True):
        logits = logits_of(latent[None], weight) if bias is None else logits_of(latent[None], weight, bias)
        gradients = torch.autograd.grad(loss_of(logits.flatten(1), label[None]), parameters)
        downhill = -torch.cat([gradient.flatten() for gradient in gradients])
        cosines.append(functional.cosine_similarity(downhill, torch.cat([p.detach().flatten() for p in parameters]), 0))
    return torch.stack(cosines)
