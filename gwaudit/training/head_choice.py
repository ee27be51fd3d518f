"""Choose the head of a cross-fitted training by how well it predicts given labels that it did not learn.

No true label is needed: wrong labels make every head's predictions look worse, but all of them alike. Held-out
predictions are judged by their log loss after the best temperature a and the best share ε of uniform label noise,

    -mean log((1 - ε) p_y + ε (1 - p_y) / (C - 1)),    p = softmax(a l),

so that a head is not preferred because its logits are small, or because it follows wrong labels.

The head that was chosen is tried once more with weights of the labels (`gwaudit.training.label_weights`), for the
verdict.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from gwaudit.core.settings import Head, ResolvedTrainingSettings
from gwaudit.training.fold_heads import FoldHeads, assign_heads, held_out_log_probabilities
from gwaudit.training.label_weights import WeightsTrial, try_weights
from gwaudit.training.loss import Loss

_HEADS: tuple[Head, ...] = ("linear", "mlp")
_WEIGHT_DECAYS: dict[Head, tuple[float, ...]] = {"linear": (0.0005, 0.005, 0.05, 0.3), "mlp": (0.005, 0.02, 0.1)}
_TEMPERATURES = tuple(10 ** (step / 10) for step in range(-3, 12))  # from 0.5 to 13
_NOISE_SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
_MOST_SAMPLES = 4000
_EPOCHS = 30  # and fewer, if the training has fewer
_MOST_REPEATED, _MOST_VALUES = 3000, 1_200_000  # samples and their features, in all divisions into folds


@dataclass(frozen=True)
class HeadCandidate:
    """Describe a head that was tried.

    Attributes:
        head: Kind of the head.
        weight_decay: Its weight decay.
        log_loss: Log loss of held-out given labels in nats, after the best temperature and share of label noise.
        accuracy: Accuracy on held-out given labels, in [0, 1].
    """

    head: Head
    weight_decay: float
    log_loss: float
    accuracy: float


@dataclass(frozen=True)
class HeadChoice:
    """Hold the heads that were tried.

    Attributes:
        candidates: All of them.
        majority: Share of the largest class, or of the more frequent answer of each class of multi-label samples: the
            accuracy of a constant prediction.
        multi_label: Whether the labels are those of multi-label samples.
        weights: How the best head with weights of the labels compares with itself without; None if not tried.
    """

    candidates: tuple[HeadCandidate, ...]
    majority: float
    multi_label: bool = False
    weights: WeightsTrial | None = None

    @property
    def best(self) -> HeadCandidate:
        """Return the head with the lowest log loss."""
        return min(self.candidates, key=lambda candidate: candidate.log_loss)

    def best_of(self, head: Head) -> HeadCandidate | None:
        """Return the candidate of a kind with the lowest log loss, or None where none of this kind was tried."""
        of_kind = [candidate for candidate in self.candidates if candidate.head == head]
        return min(of_kind, key=lambda candidate: candidate.log_loss, default=None)

    def describe(self) -> str:
        """Return which head is trained and how well each kind predicts held-out given labels, in one sentence."""
        best, tried = self.best, [self.best_of(head) for head in _HEADS]
        texts = [f"{of_kind.head} {of_kind.accuracy:.1%}" for of_kind in tried if of_kind is not None]
        return (
            f"head: {best.head}, weight decay {best.weight_decay:g}; accuracy on held-out given labels: "
            f"{', '.join(texts)} ({self._constant} {self.majority:.1%})"
        )

    @property
    def _constant(self) -> str:
        return "each class always or never" if self.multi_label else "largest class"

    def to_dict(self) -> dict[str, Any]:
        """Return the choice as JSON can hold it."""
        return asdict(self)


class HeadProgress(Protocol):
    """Receive the progress of the choice of a head."""

    def on_heads(self, done: int, heads: int) -> None:
        """Receive the number of heads that were tried, and the number of all."""

    def on_head(self, choice: HeadChoice) -> None:
        """Receive the heads that were tried, and with them the one that is trained."""


def samples_to_try(n_samples: int, seed: int) -> Tensor:
    """Return the ids of the samples that the heads are tried on: all, or as many as can be at random."""
    return torch.randperm(n_samples, generator=torch.Generator().manual_seed(seed))[:_MOST_SAMPLES]


def choose_head(
    features: Tensor,
    labels: Tensor,
    n_classes: int,
    loss: Loss,
    settings: ResolvedTrainingSettings,
    progress: HeadProgress | None = None,
    copies: Sequence[Sequence[int]] = (),
) -> HeadChoice:
    """Train the heads that the settings leave open, and compare their held-out predictions.

    Args:
        features: [n, D], as the heads take them.
        labels: [n] given labels, or [n, C] of 0 and 1, on the same device.
        n_classes: Number of classes C.
        loss: The loss of a label.
        settings: Those of the training; `head` or `weight_decay` is "auto".
        progress: Receives the number of heads that were tried, and the choice.
        copies: Groups of samples, by their ids, that are copies of one another; those of one label are held out
            together.
    """
    heads = [
        (head, decay)
        for head in (_HEADS if settings.head == "auto" else (settings.head,))
        for decay in (_WEIGHT_DECAYS[head] if settings.weight_decay == "auto" else (settings.weight_decay,))
    ]
    affordable = min(_MOST_REPEATED // len(labels), _MOST_VALUES // features.numel())
    repeats = min(settings.fold_repeats, max(1, affordable))
    left_out = assign_heads(labels.cpu(), settings.folds, repeats, settings.seed, copies).to(labels.device)

    def predicted_by(head: Head, decay: float, weights: Tensor | None = None) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            model = FoldHeads(
                head,
                n_features=features.shape[1],
                n_classes=n_classes,
                n_heads=settings.folds * repeats,
                multi_label=labels.ndim == 2,
            )
        trial = replace(settings, weight_decay=decay, epochs=min(settings.epochs, _EPOCHS))
        return held_out_log_probabilities(features, labels, left_out, model.to(features.device), loss, trial, weights)

    given, candidates = labels.reshape(-1), list[HeadCandidate]()
    best, lowest = None, float("inf")
    for head, decay in heads:
        if progress is not None:
            progress.on_heads(len(candidates), len(heads))
        predicted = predicted_by(head, decay)
        accuracy = float((predicted.argmax(1) == given).double().mean())
        candidates.append(HeadCandidate(head, decay, held_out_log_loss(predicted, given), accuracy))
        if candidates[-1].log_loss < lowest:
            best, lowest = predicted, candidates[-1].log_loss
    choice = HeadChoice(tuple(candidates), _majority(labels), labels.ndim == 2)
    if settings.reweighting and best is not None:
        train = partial(predicted_by, choice.best.head, choice.best.weight_decay)
        choice = replace(choice, weights=try_weights(best, labels, train))
    if progress is not None:
        progress.on_heads(len(candidates), len(heads))
        progress.on_head(choice)
    return choice


def _majority(labels: Tensor) -> float:
    """Return the accuracy of the best constant prediction of labels [n], or [n, C] of 0 and 1."""
    if labels.ndim == 1:
        return float(labels.bincount().max()) / len(labels)
    present = labels.double().mean(0)
    return float(torch.maximum(present, 1 - present).mean())


def held_out_log_loss(log_probability: Tensor, labels: Tensor) -> float:
    """Return the log loss of held-out predictions, after the best temperature and share of uniform label noise.

    Args:
        log_probability: [n, C] log probabilities, or logits.
        labels: [n] given labels.

    Returns:
        Nats per sample; infinite where a prediction is not finite.
    """
    if not bool(log_probability.isfinite().all()):
        return float("inf")
    losses = []
    for temperature in _TEMPERATURES:
        given = (log_probability.double() * temperature).softmax(1).gather(1, labels[:, None])[:, 0]
        for share in _NOISE_SHARES:
            likelihood = (1 - share) * given + share * (1 - given) / max(log_probability.shape[1] - 1, 1)
            losses.append(float(-likelihood.clamp_min(1e-12).log().mean()))
    return min(losses)
