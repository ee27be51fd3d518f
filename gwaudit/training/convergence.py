"""Check after each epoch that a training has not diverged, before the epoch is committed."""

import torch
from torch import nn

from gwaudit.core.errors import RecordingError
from gwaudit.core.settings import ResolvedTrainingSettings

# Mean losses of a training that diverged, in multiples of the loss of equal probabilities. The first epochs of one that
# converges may pass through large losses.
_DIVERGED, _DIVERGED_AT_END = 20.0, 3.0


def require_converging(
    model: nn.Module, mean_loss: float, of_equal_probabilities: float, epoch: int, settings: ResolvedTrainingSettings
) -> None:
    """Check the weights and the loss after an epoch.

    Args:
        model: The model.
        mean_loss: Mean loss of the epoch, in nats.
        of_equal_probabilities: Loss of equal probabilities, in nats (`gwaudit.training.loss.Loss`).
        epoch: The epoch, counted from 0.
        settings: Settings of the training.

    Raises:
        RecordingError: The training diverged.
    """
    limit = _DIVERGED_AT_END if epoch + 1 == settings.epochs else _DIVERGED
    if not all(bool(torch.isfinite(p).all()) for p in model.parameters()):
        reason = "weights are NaN or infinite"
    elif mean_loss > limit * of_equal_probabilities:
        reason = f"the mean loss is {mean_loss:.3g}, and {of_equal_probabilities:.3g} without training"
    else:
        return
    raise RecordingError(
        f"epoch {epoch + 1}: the training diverged ({reason}): lower `learning_rate` "
        f"({settings.learning_rate:.3g}) or set `clip_norm`, and start a new run"
    )
