"""Keep the input and output of a classifier's head, with forward hooks, and check them.

The hooks only store tensors. Checks and errors are outside them, so that `torch.compile` can trace the hooks.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from gwaudit.core.errors import RecordingError
from gwaudit.recording.head import LinearHead
from gwaudit.recording.head_forms import HeadForward, is_plain


class HeadHooks:
    """Keep the last forward pass of a head.

    The hooks are closures over two dictionaries, not methods. `gwaudit.recording.attached_hook.AttachedHook` calls them
    for the module that they are made for and for its replicas, and keeps them out of copies of the model.
    """

    def __init__(self) -> None:
        # By device: DataParallel runs one replica on each.
        self._parts: dict[torch.device, HeadForward] = {}
        self._returned: dict[str, Any] = {}

    def head_hook(self, head: nn.Module) -> Callable[..., None]:
        """Return a forward hook for the head, to be registered with `with_kwargs=True`."""
        parts = self._parts
        computed = is_parametrized(head, "weight")
        needs_weight = not is_plain(head)  # as it is at the forward pass, to normalise it

        def keep_forward(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
            latent = (args[0] if args else next(iter(kwargs.values()))).detach()
            weight = _computed_weight(module) if computed else cast(Tensor, module.weight).detach()
            weight = weight.clone() if needs_weight else weight
            norm = torch.linalg.vector_norm(weight, dtype=torch.promote_types(weight.dtype, torch.float32))
            bias = getattr(module, "bias", None)
            parts[output.device] = HeadForward(
                _full_tensor(latent),
                _full_tensor(output.detach()).to(torch.promote_types(output.dtype, torch.float32), copy=True),
                weight,
                _full_tensor(norm),
                None if bias is None else _full_tensor(bias.detach()).clone(),
            )

        return keep_forward

    def output_hook(self) -> Callable[..., None]:
        """Return a forward hook for the whole model."""
        returned = self._returned

        def keep_output(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            returned["output"] = output

        return keep_output

    def take(self) -> tuple[dict[torch.device, HeadForward], Any]:
        """Return the last forward pass, by device, and the output of the model; both are discarded here."""
        taken = dict(self._parts), self._returned.get("output")
        self.clear()
        return taken

    def clear(self) -> None:
        """Discard everything."""
        self._parts.clear()
        self._returned.clear()


def _full_tensor(tensor: Tensor) -> Tensor:
    """Return the whole of a tensor that is distributed over ranks (a DTensor)."""
    gather: Callable[[], Tensor] | None = getattr(tensor, "full_tensor", None)
    return tensor if gather is None else gather()


def require_whole(forward: HeadForward, head: LinearHead) -> None:
    """Raise RecordingError if a rank has only a part of the head's weight, input or output.

    Args:
        forward: The forward pass, with `weight` [C, D].
        head: The head.
    """
    name, classes = head.name, head.n_outputs
    features = getattr(head.module, "in_features", forward.weight.shape[-1])
    shapes = {
        "weight": (tuple(forward.weight.shape), (classes, features)),
        "input": (tuple(forward.latent.shape), (len(forward.logits), features)),
        "output": (tuple(forward.logits.shape), (len(forward.logits), classes)),
    }
    for part, (shape, expected) in shapes.items():
        if shape != expected:
            raise RecordingError(
                f"the {part} of the head {name!r} was {list(shape)} in the forward pass, expected {list(expected)}: it "
                "is split over processes. Leave the head whole (out of the tensor-parallel plan or the sharding), or "
                "let it return whole logits (ColwiseParallel(output_layouts=Replicate()), or fully_shard)"
            )


def join_devices(parts: dict[torch.device, HeadForward], model: nn.Module) -> HeadForward:
    """Join the parts of a batch, in the order in which DataParallel dealt them out.

    Args:
        parts: The forward pass of each device, at least one.
        model: The model that the loop calls.

    Raises:
        RecordingError: There are several parts, and the model is not the DataParallel that orders them.
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
    """Return whether a model's output is, or holds as `logits` or in a tuple, these logits. Waits for the device.

    Args:
        logits: [B, C] output of the head.
        output: Output of the model.
        tolerance: Largest difference allowed, relative to the largest logit.
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
            _full_tensor(candidate.detach()).flatten(1).to(logits), logits, rtol=0, atol=allowed, equal_nan=True
        )
        for candidate in candidates
    )


def _computed_weight(module: nn.Module) -> Tensor:
    """Return the weight that a parametrization (`weight_norm`, `spectral_norm`) computes, its buffers unchanged."""
    parametrizations = [*cast(nn.ModuleDict, module.parametrizations)["weight"].modules()]
    modes = [part.training for part in parametrizations]
    for part in parametrizations:
        part.training = (
            False  # in training mode each access of the weight takes a step of spectral_norm's power iteration
        )
    with torch.no_grad():
        weight = cast(Tensor, module.weight).detach()
    for part, training in zip(parametrizations, modes, strict=True):
        part.training = training
    return weight
