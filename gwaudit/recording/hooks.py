"""What goes through a classifier's head: the hooks that keep it.

The hooks only store tensors; whatever compares or raises happens outside them, so that `torch.compile` can trace them.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from gwaudit.core.errors import RecordingError
from gwaudit.recording.head import LinearHead
from gwaudit.recording.head_forms import HeadForward, is_plain


class HeadWatch:
    """Keeps the last forward pass of a head.

    The hooks are closures over two dictionaries, not methods: a copy of the model (an average of its weights, say)
    then copies neither recorder nor store, and what the copy computes is not taken for the model's.
    """

    def __init__(self) -> None:
        # By device: DataParallel runs one replica on each.
        self._parts: dict[torch.device, HeadForward] = {}
        self._returned: dict[str, Any] = {}

    def head_hook(self, head: nn.Module) -> Callable[..., None]:
        """A forward hook, with keyword arguments, for the head."""
        parts = self._parts
        computed = is_parametrized(head, "weight")
        needs_weight = not is_plain(head)  # as it was at the forward pass, to normalise it

        def keep_forward(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
            if module is not head and not getattr(module, "_is_replica", False):
                return
            latent = (args[0] if args else next(iter(kwargs.values()))).detach()
            weight = _computed_weight(module) if computed else cast(Tensor, module.weight).detach()
            weight = weight.clone() if needs_weight else weight
            norm = torch.linalg.vector_norm(weight, dtype=torch.promote_types(weight.dtype, torch.float32))
            bias = getattr(module, "bias", None)
            parts[output.device] = HeadForward(
                _gathered(latent),
                _gathered(output.detach()).to(torch.promote_types(output.dtype, torch.float32), copy=True),
                weight,
                _gathered(norm),
                None if bias is None else _gathered(bias.detach()).clone(),
            )

        return keep_forward

    def output_hook(self, model: nn.Module) -> Callable[..., None]:
        """A forward hook for the whole model."""
        returned = self._returned

        def keep_output(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if module is model or getattr(module, "_is_replica", False):
                returned["output"] = output

        return keep_output

    def take(self) -> tuple[dict[torch.device, HeadForward], Any]:
        """The last forward pass, by device, and what the model returned; both are forgotten here."""
        taken = dict(self._parts), self._returned.get("output")
        self.clear()
        return taken

    def clear(self) -> None:
        """Let go of everything."""
        self._parts.clear()
        self._returned.clear()


def _gathered(tensor: Tensor) -> Tensor:
    """The whole of a tensor that ranks have a part of each (a DTensor): every rank makes the same forward pass."""
    gather: Callable[[], Tensor] | None = getattr(tensor, "full_tensor", None)
    return tensor if gather is None else gather()


def require_whole(forward: HeadForward, head: LinearHead) -> None:
    """Refuse a part of a head's weight, input or output.

    Args:
        forward: with `weight` [C, D].
        head: what it went through.

    Raises:
        RecordingError: what is a part, and what to do.
    """
    name, classes = head.name, head.n_outputs
    features = getattr(head.module, "in_features", forward.weight.shape[-1])
    found = {
        "weight": (tuple(forward.weight.shape), (classes, features)),
        "input": (tuple(forward.latent.shape), (len(forward.logits), features)),
        "output": (tuple(forward.logits.shape), (len(forward.logits), classes)),
    }
    for what, (shape, expected) in found.items():
        if shape != expected:
            raise RecordingError(
                f"the {what} of the head {name!r} was {list(shape)} in the forward pass, expected {list(expected)}: it "
                "is split over processes. Leave the head whole (out of the tensor-parallel plan or the sharding), or "
                "let it return whole logits (ColwiseParallel(output_layouts=Replicate()), or fully_shard)"
            )


def whole_batch(parts: dict[torch.device, HeadForward], model: nn.Module) -> HeadForward:
    """Put together the parts of a batch, in the order in which DataParallel dealt them out.

    Args:
        parts: what each device computed, at least one.
        model: the model as the loop calls it.

    Raises:
        RecordingError: several parts, and the model does not say their order.
    """
    if len(parts) == 1:
        return next(iter(parts.values()))
    if not isinstance(model, nn.DataParallel):
        raise RecordingError(
            f"the head ran on {len(parts)} devices: give the recorder the DataParallel model, not the one inside it"
        )
    order = [parts[d] for index in model.device_ids if (d := torch.device("cuda", index)) in parts]
    first = order[0]
    device = first.logits.device
    return first._replace(
        latent=torch.cat([part.latent.to(device, non_blocking=True) for part in order]),
        logits=torch.cat([part.logits.to(device, non_blocking=True) for part in order]),
    )


def is_returned(logits: Tensor, output: Any, *, tolerance: float = 0) -> bool:
    """Whether a model's output is, or holds as `logits` or in a tuple, these logits [B, C]. Waits for the device.

    Args:
        logits: [B, C] what the head made.
        output: what the model returned.
        tolerance: how far apart the two may be, as a share of the largest logit.
    """
    if isinstance(output, Mapping):
        output = output.get("logits")
    elif hasattr(output, "logits"):
        output = output.logits
    candidates = output if isinstance(output, tuple | list) else [output]
    allowed = tolerance * float(logits.abs().max()) if tolerance and logits.numel() else 0
    return any(
        isinstance(candidate, Tensor)
        and candidate.numel() == logits.numel()
        and candidate.shape[:2] == logits.shape
        and torch.allclose(
            _gathered(candidate.detach()).flatten(1).to(logits), logits, rtol=0, atol=allowed, equal_nan=True
        )
        for candidate in candidates
    )


def _computed_weight(module: nn.Module) -> Tensor:
    """The weight that a parametrization (`weight_norm`, `spectral_norm`) makes, without moving what it keeps."""
    parametrizations = [*cast(nn.ModuleDict, module.parametrizations)["weight"].modules()]
    modes = [part.training for part in parametrizations]
    for part in parametrizations:
        part.training = False  # spectral_norm takes a step of its power iteration at each look while training
    with torch.no_grad():
        weight = cast(Tensor, module.weight).detach()
    for part, training in zip(parametrizations, modes, strict=True):
        part.training = training
    return weight
