"""What a training minimises: cross entropy, of classes that may be weighed, or of each class for itself."""

import torch
from torch import Tensor
from torch.nn import functional

from gwaudit.core.errors import SettingsError
from gwaudit.core.settings import TrainingSettings


class Objective:
    """The loss of the settings for labels [n], or [n, C] of 0 and 1 where samples have any number of classes.

    Raises:
        SettingsError: samples of any number of classes are to be balanced by sampling.
    """

    def __init__(self, labels: Tensor, n_classes: int, settings: TrainingSettings) -> None:
        self._several = labels.ndim == 2
        self._smoothing, self._weighted = settings.label_smoothing, settings.balance == "loss"
        if self._several and settings.balance == "sampling":
            raise SettingsError(
                "samples of any number of classes cannot be drawn so that each class is as frequent: use "
                "--balance loss, which weighs given against not given labels class by class"
            )
        self.class_weights = _class_weights(labels, n_classes)

    def loss(self, logits: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of a batch.

        Args:
            logits: [B, C].
            targets: what is learned: [B] classes or [B, C] distributions; [B, C] of 0 and 1, where samples have any
                number of classes.
            labels: the given labels, whose frequency weighs.
        """
        smoothing = self._smoothing
        if self._several:
            return self._of_pairs(logits, targets, labels)
        if not self._weighted:
            return functional.cross_entropy(logits, targets, label_smoothing=smoothing)
        each = functional.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none")
        return (each * self.class_weights[labels].to(each)).mean()

    def _of_pairs(self, logits: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
        """Binary cross entropy, summed over the classes: each learns as it would alone, however many there are.

        Smoothed by s, a label 1 is 1 - s/2 and a label 0 is s/2.
        """
        smoothing = self._smoothing
        soft = targets.to(logits) * (1 - smoothing) + smoothing / 2
        each = functional.binary_cross_entropy_with_logits(logits, soft, reduction="none")
        if self._weighted:
            weights = torch.where(labels == 1, self.class_weights[1], self.class_weights[0])
            each = each * weights.to(each)
        return each.sum(1).mean()


def _class_weights(labels: Tensor, n_classes: int) -> Tensor:
    """One on average over the samples: classes count alike, and the learning rate keeps its meaning.

    [C]; or [2, C], where samples have any number of classes, for a class that is not given and one that is: both count
    alike in each class.
    """
    if labels.ndim == 2:
        given = labels.double().sum(0)
        sizes = torch.stack([len(labels) - given, given])
        return len(labels) / (sizes.clamp_min(1) * (sizes > 0).sum(0))
    sizes = labels.bincount(minlength=n_classes).double()
    return len(labels) / (sizes.clamp_min(1) * int((sizes > 0).sum()))
