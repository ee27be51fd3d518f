"""Find the linear layer that computes a model's logits."""

from contextlib import suppress
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from gwaudit.core.errors import ModelError


class LinearHead(NamedTuple):
    """Describe the layer that computes a classifier's logits.

    Attributes:
        name: Its name in the unwrapped model.
        module: An `nn.Linear`, an `nn.Conv2d`, or another layer with a weight [C, D].
        guessed: Whether the layer was guessed, so that the first forward pass has to show that it computes the logits.
    """

    name: str
    module: nn.Module
    guessed: bool = False

    @property
    def n_outputs(self) -> int:
        """Return C, from the layer's attributes where possible, as `spectral_norm` recomputes the weight."""
        for name in ("out_features", "out_channels"):
            if isinstance(count := getattr(self.module, name, None), int):
                return count
        return len(cast(Tensor, self.module.weight))


def find_head(model: nn.Module, head: str | nn.Module | None = None, *, n_outputs: int | None = None) -> LinearHead:
    """Find the layer that computes a model's logits.

    Args:
        model: A classifier, with or without DataParallel, DistributedDataParallel or `torch.compile` around it.
        head: The layer, or its name in `model.named_modules()`. Without it, the layer is timm's `get_classifier()`, or
            else the last `nn.Linear` (if there is none, the last `nn.Conv2d`). That can be the wrong layer: the
            recorder checks it at the first forward pass.
        n_outputs: Number of outputs that a guessed layer should have; one with another number is taken only if there is
            none.

    Raises:
        ModelError: There is no such layer, or it has no weight [C, D]. The message lists the model's linear layers.
    """
    model = unwrap(model)
    if isinstance(head, str):
        return _head_by_name(model, head)
    if head is not None:
        return _head_by_identity(model, head)
    layers: object = model
    if callable(get_classifier := getattr(model, "get_classifier", None)):
        with suppress(AttributeError, TypeError):  # timm's looks for a layer inside a head, which was replaced
            layers = get_classifier()
        if isinstance(layers, nn.Module) and _is_head(layers):
            return _head_by_identity(model, layers)
    inside = [module for _, module in linear_layers(layers)] if isinstance(layers, nn.Module) else []
    for is_convolution in (False, True):
        if candidates := [module for module in inside if isinstance(module, nn.Conv2d) == is_convolution]:
            of_width = [module for module in candidates if LinearHead("", module).n_outputs == n_outputs]
            return _head_by_identity(model, (of_width or candidates)[-1])._replace(guessed=True)
    if layers is model:
        raise ModelError(f"{type(model).__name__} has no nn.Linear and no nn.Conv2d, so no linear head to record")
    raise ModelError(f"the head of {type(model).__name__} is {type(layers).__name__}, not one linear layer; "
                     f"{_linear_layers(model)}")  # fmt: skip


def require_head(model: nn.Module, name: str, n_classes: int) -> None:
    """Raise ModelError unless a model has a linear head with an output for each class.

    Args:
        model: The model.
        name: Its name, for the message.
        n_classes: Number of classes.
    """
    head = find_head(model)
    if head.n_outputs != n_classes:
        raise ModelError(f"the linear head of {name} has {head.n_outputs} outputs, the data have {n_classes} classes")


def unwrap(model: nn.Module) -> nn.Module:
    """Return the model inside DataParallel, DistributedDataParallel, AveragedModel and `torch.compile` wrappers."""
    while True:
        if isinstance(
            model,
            nn.DataParallel | nn.parallel.DistributedDataParallel | torch.optim.swa_utils.AveragedModel,
        ):
            model = model.module
        elif isinstance(inner := model._modules.get("_orig_mod"), nn.Module):
            model = inner
        else:
            return model


def _head_by_name(model: nn.Module, name: str) -> LinearHead:
    modules = dict(model.named_modules())
    # A name taken from a wrapped model has the prefix of the wrapper.
    bare = name
    while bare not in modules and bare.startswith(("module.", "_orig_mod.")):
        bare = bare.partition(".")[2]
    if bare not in modules:
        raise ModelError(f"no layer is called {name!r}; {_linear_layers(model)}")
    if not _is_head(modules[bare]):
        raise ModelError(f"the layer {name!r} is {type(modules[bare]).__name__}, without a weight with one row per "
                         f"class; {_linear_layers(model)}")  # fmt: skip
    return _head_by_identity(model, modules[bare])


def _head_by_identity(model: nn.Module, head: nn.Module) -> LinearHead:
    if not _is_head(head):
        raise ModelError(f"the given head is {type(head).__name__}, without a weight with one row per class; "
                         f"{_linear_layers(model)}")  # fmt: skip
    for name, module in model.named_modules():
        if module is head:
            return LinearHead(name, head)
    raise ModelError(f"the given head is not a layer of this {type(model).__name__}; {_linear_layers(model)}")


def _is_head(module: object) -> bool:
    if isinstance(module, nn.Linear | nn.Conv2d) or is_adapted(module):
        return True
    weight = getattr(module, "weight", None)
    return isinstance(module, nn.Module) and isinstance(weight, Tensor) and weight.ndim == 2


def _linear_layers(model: nn.Module) -> str:
    names = [name for name, module in linear_layers(model) if not isinstance(module, nn.Conv2d)]
    if not names:
        return "the model has no nn.Linear"
    shown = ", ".join(repr(name) for name in names[-5:])
    return f"give head= one of its nn.Linear layers: {'..., ' if len(names) > 5 else ''}{shown}"


def layers_with_outputs(model: nn.Module, n_outputs: int) -> list[str]:
    """Return the names of the linear layers and convolutions that have that many outputs, in the model's order."""
    return [name for name, module in linear_layers(model) if LinearHead(name, module).n_outputs == n_outputs]


def linear_layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the linear layers and convolutions of a model with their names, an adapted one as one layer."""
    adapted = tuple(f"{name}." for name, module in model.named_modules() if is_adapted(module))
    return [
        (name, module)
        for name, module in model.named_modules()
        if (isinstance(module, nn.Linear | nn.Conv2d) or is_adapted(module)) and not name.startswith(adapted)
    ]


def is_adapted(module: object) -> bool:
    """Return whether a module is an `nn.Linear` with adapters of peft (LoRA and its kin), which change its weight."""
    inside = getattr(module, "base_layer", None)
    return isinstance(inside, nn.Linear) and callable(getattr(module, "get_delta_weight", None))
