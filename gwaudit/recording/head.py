"""Find the linear layer that makes a model's logits."""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from gwaudit.core.errors import ModelError


class LinearHead(NamedTuple):
    """The layer that makes a classifier's logits.

    Attributes:
        name: its name in the unwrapped model.
        module: an `nn.Linear`, an `nn.Conv2d`, or another layer with a weight [C, D].
        guessed: nobody said that it makes the logits, so the first forward pass has to show it.
    """

    name: str
    module: nn.Module
    guessed: bool = False

    @property
    def n_outputs(self) -> int:
        """C. Not read off the weight where that is computed anew at each look, as under `spectral_norm`."""
        for name in ("out_features", "out_channels"):
            if isinstance(count := getattr(self.module, name, None), int):
                return count
        return len(cast(Tensor, self.module.weight))


def find_head(model: nn.Module, head: str | nn.Module | None = None) -> LinearHead:
    """Find the layer that produces a model's logits.

    Args:
        model: A classifier, bare or inside DataParallel, DistributedDataParallel or `torch.compile`.
        head: The layer, or its name in `model.named_modules()`, where it cannot be found. Without it, timm's
            `get_classifier()` is asked, else the last `nn.Linear` (where there is none, the last `nn.Conv2d`) is taken,
            which need not be the right one: the recorder checks that at the first forward pass.

    Raises:
        ModelError: No such layer, or it has no weight [C, D]. The message lists the linear layers there are.
    """
    model = unwrap(model)
    if isinstance(head, str):
        return _head_by_name(model, head)
    if head is not None:
        return _head_by_identity(model, head)
    layers = model
    if callable(get_classifier := getattr(model, "get_classifier", None)):
        layers = get_classifier()
        if _is_head(layers):
            return _head_by_identity(model, layers)
    inside = list(layers.modules()) if isinstance(layers, nn.Module) else []
    for kind in (nn.Linear, nn.Conv2d):
        if candidates := [module for module in inside if isinstance(module, kind)]:
            return _head_by_identity(model, candidates[-1])._replace(guessed=True)
    if layers is model:
        raise ModelError(f"{type(model).__name__} has no nn.Linear and no nn.Conv2d, so no linear head to record at")
    raise ModelError(f"the head of {type(model).__name__} is {type(layers).__name__}, not one linear layer; "
                     f"{_candidates(model)}")  # fmt: skip


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
    # A name read off a wrapped model carries the wrapper's prefix.
    bare = name
    while bare not in modules and bare.startswith(("module.", "_orig_mod.")):
        bare = bare.partition(".")[2]
    if bare not in modules:
        raise ModelError(f"no layer is called {name!r}; {_candidates(model)}")
    if not _is_head(modules[bare]):
        raise ModelError(f"the layer {name!r} is {type(modules[bare]).__name__}, without a weight of a row for each "
                         f"class; {_candidates(model)}")  # fmt: skip
    return _head_by_identity(model, modules[bare])


def _head_by_identity(model: nn.Module, head: nn.Module) -> LinearHead:
    if not _is_head(head):
        raise ModelError(f"the given head is {type(head).__name__}, without a weight of a row for each class; "
                         f"{_candidates(model)}")  # fmt: skip
    for name, module in model.named_modules():
        if module is head:
            # Whether a map of logits is averaged over its positions only the model's output shows.
            return LinearHead(name, head, guessed=isinstance(head, nn.Conv2d))
    raise ModelError(f"the given head is not a layer of this {type(model).__name__}; {_candidates(model)}")


def _is_head(module: object) -> bool:
    if isinstance(module, nn.Linear | nn.Conv2d):
        return True
    weight = getattr(module, "weight", None)
    return isinstance(module, nn.Module) and isinstance(weight, Tensor) and weight.ndim == 2


def _candidates(model: nn.Module) -> str:
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not names:
        return "the model has no nn.Linear at all"
    shown = ", ".join(repr(name) for name in names[-5:])
    return f"give head= one of its nn.Linear layers: {'..., ' if len(names) > 5 else ''}{shown}"
