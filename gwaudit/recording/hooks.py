"""Keep the input and output of a classifier's head, with forward hooks, and check them.

The hooks only store tensors. Checks and errors are outside them, so that `torch.compile` can trace the hooks.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from gwaudit.core.errors import RecordingError
from gwaudit.recording.fit import product_misfit, returned_tensors
from gwaudit.recording.head import LinearHead, is_adapted
from gwaudit.recording.head_forms import HeadForward, is_plain
from gwaudit.recording.passes import HeadCall, ModelPass, Returned, group_calls


class HeadHooks:
    """Keep the forward passes through a head, until they are observed.

    The hooks are closures over containers, not methods. `gwaudit.recording.attached_hook.AttachedHook` calls them for
    the module that they are made for and for its replicas, and keeps them out of copies of the model.
    """

    def __init__(self) -> None:
        # By kind: whether gradients were enabled, and whether the head was in training mode. A compiled forward pass is
        # compiled again for each number of calls that it finds here, so that number has to stay small.
        self._calls: dict[tuple[bool, bool], dict[torch.device, list[HeadCall]]] = {kind: {} for kind in _KINDS}
        self._returned: dict[bool, dict[torch.device, list[Returned]]] = {False: {}, True: {}}
        # The last output of the head, and the count of in-place changes that it had then.
        self._output_versions: dict[torch.device, tuple[Tensor, int]] = {}

    def head_hook(self, head: nn.Module) -> Callable[..., None]:
        """Return a forward hook for the head, to be registered with `with_kwargs=True`."""
        calls, versions = self._calls, self._output_versions
        read_weight: Callable[[nn.Module], Tensor] = _weight
        if is_adapted(head):
            read_weight = _adapted_weight
        elif is_parametrized(head, "weight"):
            read_weight = _computed_weight
        needs_weight = not is_plain(head)  # as it is at the forward pass, to normalise it

        def keep_forward(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
            if _in_backward() or _is_transformed(output):
                return
            latent = _full_tensor((args[0] if args else next(iter(kwargs.values()))).detach())
            weight = read_weight(module)
            weight = weight.clone() if needs_weight else weight
            norm = torch.linalg.vector_norm(weight, dtype=torch.promote_types(weight.dtype, torch.float32))
            bias = _adapted_bias(module) if read_weight is _adapted_weight else getattr(module, "bias", None)
            bias = None if bias is None else _full_tensor(bias.detach()).clone()
            output = _full_tensor(output.detach())
            logits = output.to(torch.promote_types(output.dtype, torch.float32), copy=True)
            forward = HeadForward(latent, logits, weight, _full_tensor(norm), bias)
            misfit = norm.new_zeros(()) if needs_weight else product_misfit(latent, output, weight, bias)
            compiling = torch.compiler.is_compiling()
            version = 0 if compiling else sum(parameter._version for parameter in module.parameters())
            on_device = calls[torch.is_grad_enabled(), module.training].setdefault(output.device, [])
            is_first = not compiling and bool(on_device) and on_device[-1].weight_version < version
            capacity = _capacity(torch.is_grad_enabled() and module.training, compiling)
            _keep(on_device, HeadCall(forward, output, misfit, version, is_first, capacity), capacity)
            if not compiling:
                versions[output.device] = output, _version(output)

        return keep_forward

    def output_hook(self, head: nn.Module) -> Callable[..., None]:
        """Return a forward hook for the whole model."""
        returned, versions = self._returned, self._output_versions

        def keep_output(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if _in_backward() or not (tensors := returned_tensors(output)) or _is_transformed(*tensors):
                return
            compiling = torch.compiler.is_compiling()
            device = tensors[0].device
            # What the model changed in place after the head is copied, so that it is compared with the head's output.
            if compiling or ((last := versions.get(device)) is not None and _version(last[0]) != last[1]):
                tensors = tuple(tensor.clone() if tensor.ndim <= 3 else tensor for tensor in tensors)
            _keep(returned[head.training].setdefault(device, []), tensors, _capacity(head.training, compiling))

        return keep_output

    def __bool__(self) -> bool:
        return any(self._calls.values())

    def take(self) -> list[ModelPass]:
        """Return the forward passes since the last call; they are discarded here."""
        passes = [
            one
            for (with_gradient, training), calls in self._calls.items()
            for one in group_calls(
                calls,
                with_gradient=with_gradient,
                training=training,
                returned=[tensors for on_device in self._returned[training].values() for tensors in on_device],
            )
        ]
        self.clear()
        return passes

    def clear(self) -> None:
        """Discard everything."""
        for calls in self._calls.values():
            calls.clear()
        for returned in self._returned.values():
            returned.clear()
        self._output_versions.clear()


_KINDS = [(with_gradient, training) for with_gradient in (False, True) for training in (False, True)]


def _capacity(in_training: bool, compiling: bool) -> int:
    """Return how many passes of one kind are kept."""
    if compiling:
        return 2 if in_training else 1
    return 16 if in_training else 2  # multi-crop training makes a dozen


def _keep(kept: list[Any], new: object, capacity: int) -> None:
    """Append to a list, or replace its last element if it is full."""
    if len(kept) < capacity:
        kept.append(new)
    else:
        kept[-1] = new


def _in_backward() -> bool:
    """Return whether a backward pass runs: activation checkpointing repeats the forward pass in it."""
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1


def _version(tensor: Tensor) -> int:
    """Return the count of a tensor's in-place changes; 0 in inference mode, which does not count them."""
    return 0 if tensor.is_inference() else tensor._version


def _is_transformed(*tensors: Tensor) -> bool:
    """Return whether tensors are those of a function transform, such as `vmap` for the gradients of each sample."""
    return not torch.compiler.is_compiling() and any(map(torch._C._functorch.is_functorch_wrapped_tensor, tensors))


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


def _weight(module: nn.Module) -> Tensor:
    return cast(Tensor, module.weight).detach()


def _adapted_weight(module: Any) -> Tensor:
    """Return the weight that a layer with adapters multiplies by, without their dropout."""
    weight: Tensor = module.base_layer.weight.detach()
    if module.merged or module.disable_adapters:
        return weight
    with torch.no_grad():
        for adapter in module.active_adapters:
            if adapter in module.lora_A:
                weight = weight + module.get_delta_weight(adapter).to(weight)
    return weight


def _adapted_bias(module: Any) -> Tensor | None:
    """Return the bias that a layer with adapters adds, or None; adapters have a bias with peft's `lora_bias`."""
    bias: Tensor | None = module.base_layer.bias
    if module.merged or module.disable_adapters:
        return bias
    with torch.no_grad():
        for adapter in module.active_adapters:
            change = module.lora_B[adapter].bias if adapter in module.lora_B else None
            if change is not None:
                change = change * module.scaling[adapter]
                bias = change if bias is None else bias + change
    return bias


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
