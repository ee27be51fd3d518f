"""Compute the loss of a training: cross entropy, or binary cross entropy of each class for multi-label samples."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from gwaudit.core.errors import SettingsError
from gwaudit.core.settings import ResolvedTrainingSettings


class Loss:
    """Compute the mean loss of a batch, as the settings ask for.

    Args:
        labels: [n] given labels of all samples, or [n, C] of 0 and 1 for multi-label samples.
        n_classes: Number of classes C.
        settings: `label_smoothing` and `balance`.

    Raises:
        SettingsError: `balance` is "sampling" and the samples are multi-label.

    Attributes:
        class_weights: Weight of each class, one on average over the samples: [C] float64; or [2, C] for multi-label
            samples, for a class that is not given and for one that is given.
        of_equal_probabilities: Loss of equal probabilities, which an untrained network predicts: ln C; or C ln 2 for
            multi-label samples.
    """

    def __init__(self, labels: Tensor, n_classes: int, settings: ResolvedTrainingSettings) -> None:
        self._is_multi_label = labels.ndim == 2
        self._smoothing, self._weighted = settings.label_smoothing, settings.balance == "loss"
        if self._is_multi_label and settings.balance == "sampling":
            raise SettingsError(
                "multi-label samples cannot be drawn so that all classes are equally frequent: use `balance='loss'`, "
                "which weights given against not given labels class by class"
            )
        self.class_weights = _class_weights(labels, n_classes)
        self.of_equal_probabilities = n_classes * math.log(2) if self._is_multi_label else math.log(n_classes)

    def __call__(self, logits: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of a batch: [] with a gradient.

        Args:
            logits: [B, C].
            targets: What is learned: [B] classes or [B, C] distributions; [B, C] of 0 and 1 for multi-label samples.
            labels: Given labels, whose class weights are used: [B], or [B, C] for multi-label samples.
        """
        if self._is_multi_label:
            # Summed over the classes, so that a class learns as fast as it would alone.
            return self.by_label(logits, targets, labels).sum(1).mean()
        if not self._weighted:
            return functional.cross_entropy(logits, targets, label_smoothing=self._smoothing)
        return self.by_label(logits, targets, labels).mean()

    def by_label(self, logits: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each label of a batch: [B], or [B, C] for multi-label samples, with a gradient.

        Args:
            logits, targets, labels: As for a call.
        """
        if self._is_multi_label:
            return self._binary_cross_entropies(logits, targets, labels)
        losses = functional.cross_entropy(logits, targets, label_smoothing=self._smoothing, reduction="none")
        return losses * self.class_weights[labels].to(losses) if self._weighted else losses

    def _binary_cross_entropies(self, logits: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
        """Return the binary cross entropy of each class, [B, C].

        With a smoothing of s, the label 1 becomes 1 - s/2 and the label 0 becomes s/2.
        """
        smoothing = self._smoothing
        smoothed = targets.to(logits) * (1 - smoothing) + smoothing / 2
        losses = functional.binary_cross_entropy_with_logits(logits, smoothed, reduction="none")
        if self._weighted:
            weights = torch.where(labels == 1, self.class_weights[1], self.class_weights[0])
            losses = losses * weights.to(losses)
        return losses


def _class_weights(labels: Tensor, n_classes: int) -> Tensor:
    """Return weights under which all classes count alike, one on average, so that the learning rate keeps its meaning.

    [C]; or [2, C] for multi-label samples, where absent and present count alike in each class.
    """
    if labels.ndim == 2:
        given = labels.double().sum(0)
        sizes = torch.stack([len(labels) - given, given])
        return len(labels) / (sizes.clamp_min(1) * (sizes > 0).sum(0))
    sizes = labels.bincount(minlength=n_classes).double()
    return len(labels) / (sizes.clamp_min(1) * int((sizes > 0).sum()))
