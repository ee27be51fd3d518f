"""Build the optimizer of a training, and the schedule of its learning rate."""

from typing import Any, Protocol

import torch
from timm.optim import create_optimizer_v2, list_optimizers
from timm.scheduler import create_scheduler_v2
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from gwaudit.core.errors import SettingsError
from gwaudit.core.settings import ResolvedTrainingSettings

_FALLBACK_RATE = 1 / 9  # the head of a `WhitenedNet` starts with a ninth of the usual weights


class Schedule(Protocol):
    """Set the learning rate of every update."""

    def step_update(self, num_updates: int) -> None:
        """Set the learning rates of an update, counted from 0."""


def build_optimizer(model: nn.Module, settings: ResolvedTrainingSettings) -> torch.optim.Optimizer:
    """Return the optimizer of the settings for the parameters of a model.

    Args:
        model: The model to train.
        settings: `optimizer`, `learning_rate`, `weight_decay` and `momentum`.

    Raises:
        SettingsError: timm has no optimizer of this name.
    """
    if settings.optimizer not in list_optimizers():
        known = ", ".join(map(str, list_optimizers()))
        raise SettingsError(f"unknown optimizer {settings.optimizer!r}: timm has {known}")
    # Muon orthogonalises matrices. Parameters that the network exempts from decay, as its head, go to timm's fallback
    # (AdamW), which needs smaller steps.
    fallback: dict[str, Any] = {}
    if "muon" in settings.optimizer:
        fallback = {"fallback_no_weight_decay": True, "fallback_lr_scale": _FALLBACK_RATE}
    optimizer: torch.optim.Optimizer = create_optimizer_v2(
        model,
        opt=settings.optimizer,
        lr=settings.learning_rate,
        weight_decay=float(settings.weight_decay),
        momentum=settings.momentum,
        **fallback,
    )
    return optimizer


def build_schedule(optimizer: torch.optim.Optimizer, settings: ResolvedTrainingSettings, updates: int) -> Schedule:
    """Return the learning-rate schedule of the settings.

    Args:
        optimizer: The optimizer whose learning rates are set.
        settings: `schedule` and `learning_rate`.
        updates: Number of updates of the whole training.
    """
    if settings.schedule == "onecycle":
        return _OneCycle(optimizer, settings.learning_rate, updates)
    # timm counts in epochs or in updates; here every update is an "epoch" of one update.
    warmup = round(updates * 0.05)
    schedule: Schedule
    schedule, _ = create_scheduler_v2(
        optimizer,
        sched="cosine",
        num_epochs=max(1, updates - warmup),
        warmup_epochs=warmup,
        warmup_lr=settings.learning_rate / 25,
        warmup_prefix=True,
        step_on_epochs=False,
        updates_per_epoch=1,
    )
    return schedule


class _OneCycle:
    """Wrap torch's one-cycle policy in the interface of timm's schedules."""

    def __init__(self, optimizer: torch.optim.Optimizer, learning_rate: float, updates: int) -> None:
        self._policy = OneCycleLR(
            optimizer,
            max_lr=learning_rate,
            total_steps=max(updates, 8),  # with a warm-up of one update, of four in all, torch divides by zero
            pct_start=0.25,
            anneal_strategy="linear",
            cycle_momentum=False,
        )

    def step_update(self, num_updates: int) -> None:
        # The policy depends on the number only; a resumed run does not start from 0.
        self._policy.last_epoch = num_updates - 1
        self._policy.step()
