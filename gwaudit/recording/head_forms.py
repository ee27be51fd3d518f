"""Write a head as a linear layer: find the weight and the latent whose product, plus the bias, its logits are.

The alignment uses the weight that multiplies the latent, and the bias that is added, trained or not. For an
`nn.Linear`, also under `weight_norm`, these are its `weight` and `bias`. A convolution that gives one logit per class
and sample is a linear layer of its flattened or averaged input. A cosine head, l = s cos(z, w_c), is a linear layer
with the normalised weight s w_c / ‖w_c‖ and the normalised latent. With respect to its weight before normalisation,
every gradient is orthogonal to that weight (Euler: the loss does not depend on the weight's scale), so that cosine
would be 0 for every label.
"""

import copy
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from gwaudit.core.errors import ModelError, RecordingError
from gwaudit.recording.head import LinearHead, is_adapted

_PROBES, _AGREEMENT = 16, 1e-6


class HeadForward(NamedTuple):
    """Hold one forward pass through a head, detached from the graph.

    Attributes:
        latent: [B, D] input, in its own dtype; [B, D, H, W] for a convolution.
        logits: [B, C] output, float32 or float64; a copy, as the loss may change the output in place. [B, C, H', W']
            for a convolution.
        weight: [C, D] weight; for an `nn.Linear` the weight itself, not a copy. [C, D, h, w] for a convolution.
        weight_norm: [] Frobenius norm of the weight at the forward pass.
        bias: [C] a copy of the bias, or None.
    """

    latent: Tensor
    logits: Tensor
    weight: Tensor
    weight_norm: Tensor
    bias: Tensor | None


class HeadForm(NamedTuple):
    """Describe how a head computes its logits: l = s W' z' + b, with W' and z' normalised or not.

    Attributes:
        unit_latent: Whether the latent is normalised, z' = z / ‖z‖.
        unit_weight: Whether each row of the weight is normalised, w'_c = w_c / ‖w_c‖.
        scaled: Whether there can be a scale s other than 1.
    """

    unit_latent: bool
    unit_weight: bool
    scaled: bool

    def as_linear(self, forward: HeadForward) -> HeadForward:
        """Return the forward pass as that of a linear layer with the weight s W' and the latent z'."""
        if not self.scaled:
            return forward
        latent, weight = self.factors(forward.latent.to(forward.logits), forward.weight.to(forward.logits))
        with torch.autocast(latent.device.type, enabled=False):
            product = latent @ weight.T
        unbiased = forward.logits if forward.bias is None else forward.logits - forward.bias
        scale = _scale(product, unbiased)
        norm = torch.linalg.vector_norm(weight) * scale.abs()
        return forward._replace(latent=latent, weight=weight * scale, weight_norm=norm)

    def factors(self, latent: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return z' [B, D] and W' [C, D]."""
        return (
            normalize(latent, dim=1) if self.unit_latent else latent,
            normalize(weight, dim=1) if self.unit_weight else weight,
        )


PLAIN = HeadForm(unit_latent=False, unit_weight=False, scaled=False)
_SCALED = [HeadForm(latent, weight, scaled=True) for latent in (False, True) for weight in (False, True)]


def is_plain(head: nn.Module) -> bool:
    """Return whether a head is torch's own linear or convolutional layer, or such a linear layer with adapters.

    Its output is its input times its weight, for an adapted layer times the sum of the weight and its changes.
    """
    if is_adapted(head):
        head = cast(nn.Linear, head.base_layer)
    return type(head).forward in (nn.Linear.forward, nn.Conv2d.forward)


def find_form(head: LinearHead) -> HeadForm:
    """Find out how a head computes its logits, with a copy of it on random latents, weights and biases in float64.

    Args:
        head: The head; it is not changed.

    Raises:
        ModelError: The logits are not linear in a latent and a weight, each normalised or not.
    """
    if is_plain(head.module):
        return PLAIN
    description = f"{head.name!r} ({type(head.module).__name__})"
    probe = copy.deepcopy(head.module).eval().cpu().double()
    random = torch.Generator().manual_seed(0)
    for parameter in ("weight", "bias"):
        if isinstance(values := getattr(probe, parameter, None), nn.Parameter):
            # Each row gets its own norm, so that the test distinguishes a normalised weight from another.
            values.data = torch.randn(values.shape, generator=random, dtype=torch.float64)
    weight = cast(Tensor, probe.weight).detach()
    latent = torch.randn(_PROBES, *weight.shape[1:], generator=random, dtype=torch.float64)
    try:
        with torch.no_grad():
            logits = probe(latent)
    except Exception as error:  # a user's layer can raise any error
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"the head {description} cannot be run on a latent only, in float64 ({reason}), so its form is not known, "
            "as of quantized layers: let it take one input of any dtype and return the logits, or name another layer "
            "with head="
        ) from error
    bias = getattr(probe, "bias", None)
    if isinstance(logits, Tensor) and logits.shape == (_PROBES, len(weight)):
        unbiased = logits if bias is None else logits - bias.detach()
        for form in _SCALED:
            z, w = form.factors(latent, weight)
            product = z @ w.T
            if (_scale(product, unbiased) * product - unbiased).norm() <= _AGREEMENT * unbiased.norm():
                return form
    raise ModelError(
        f"the logits of the head {description} are neither linear in its input nor a scaled cosine of its input and "
        "the rows of its weight (a margin, a distance?): make a linear or cosine layer the head, and name it with head="
    )


def as_matrix(forward: HeadForward, head: LinearHead) -> HeadForward:
    """Return the forward pass of a convolution as that of a linear layer; any other is returned unchanged.

    A kernel that covers the whole input multiplies the flattened input. The logits of a 1x1 kernel, averaged over the
    positions, are the logits of the averaged input.

    Args:
        forward: The forward pass.
        head: The head.

    Raises:
        RecordingError: The head is a convolution of another kind.
    """
    layer = head.module
    if not isinstance(layer, nn.Conv2d) or forward.logits.ndim != 4:
        return forward
    flat = forward._replace(weight=forward.weight.flatten(1))
    unpadded = layer.groups == 1 and layer.padding in ("valid", (0, 0), 0)
    if unpadded and forward.latent.shape[1:] == forward.weight.shape[1:]:
        return flat._replace(latent=forward.latent.flatten(1), logits=forward.logits.flatten(1))
    if unpadded and layer.kernel_size == layer.stride == (1, 1):
        latent = forward.latent.to(torch.promote_types(forward.latent.dtype, torch.float32))
        return flat._replace(latent=latent.mean((2, 3)), logits=forward.logits.mean((2, 3)))
    raise RecordingError(
        f"the head {head.name!r} is a convolution with a kernel of {layer.kernel_size} on a map of "
        f"{tuple(forward.latent.shape[2:])}: its logits are linear in one latent per sample only if the kernel is 1x1 "
        "(groups 1, no padding) or covers the map; pool before it, or use such a head"
    )


def pool_tokens(forward: HeadForward, returned: Sequence[Tensor]) -> HeadForward:
    """Return the forward pass of a head that gives logits for every token as that of one latent per sample.

    Decoders return the logits of one position, that of the last token which is no padding. Other models return the mean
    over all positions: the logits of the mean latent. Which of the two it is shows in what the model returns.

    Args:
        forward: Latent [B, T, D], logits [B, T, C].
        returned: [B, C] each, what the model returned.

    Returns:
        Latent [B, D], logits [B, C]; unchanged if the model returned nothing of that shape and T is not 1.
    """
    latent, logits = forward.latent, forward.logits
    if logits.shape[1] == 1:
        return forward._replace(latent=latent[:, 0], logits=logits[:, 0])
    if not returned or not logits.numel():
        return forward
    rows = torch.arange(len(logits), device=logits.device)
    mean_latent = latent.to(torch.promote_types(latent.dtype, torch.float32)).mean(1)
    pooled = mean_latent, logits.mean(1)
    nearest = torch.full_like(logits[0, 0, 0], torch.inf)
    for tensor in returned:
        distances = (logits - tensor.to(logits)[:, None]).norm(dim=2)
        # The last of equal positions: padding stands before it, or has the same latent.
        position = logits.shape[1] - 1 - distances.flip(1).argmin(1)
        for option in [(mean_latent, logits.mean(1)), (latent[rows, position].to(mean_latent), logits[rows, position])]:
            distance = (option[1] - tensor).norm()
            nearer = distance < nearest
            pooled = torch.where(nearer, option[0], pooled[0]), torch.where(nearer, option[1], pooled[1])
            nearest = torch.minimum(distance, nearest)
    return forward._replace(latent=pooled[0], logits=pooled[1])


def scale_logits(forward: HeadForward, scale: Tensor) -> HeadForward:
    """Return the forward pass of a head whose logits are multiplied by a number: its weight and bias are, too.

    Args:
        forward: Of a linear layer.
        scale: [], at least 0.
    """
    return forward._replace(
        logits=forward.logits * scale,
        weight=forward.weight * scale,
        weight_norm=forward.weight_norm * scale,
        bias=None if forward.bias is None else forward.bias * scale,
    )


def _scale(product: Tensor, unbiased: Tensor) -> Tensor:
    """Return the least-squares solution s of unbiased = s product: []."""
    return (product * unbiased).sum() / product.square().sum().clamp_min(torch.finfo(product.dtype).tiny)
