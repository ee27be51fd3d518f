"""Choose the head of a cross-fitted training by how well it predicts given labels that it did not learn.

No true label is needed: wrong labels make every head's predictions look worse, but all of them alike. Held-out
predictions are judged by their log loss after the best temperature a and the best share ε of uniform label noise,

    -mean log((1 - ε) p_y + ε (1 - p_y) / (C - 1)),    p = softmax(a l),

so that a head is not preferred because its logits are small, or because it follows wrong labels.

Heads on the log odds of trees (`gwaudit.training.trees`) must be better than the others beyond chance: by more than
twice the standard error of the mean difference. The trees are fitted by folds of their own, so a small difference may
be that of the folds. They are not tried where the trees of the first fold predict it worse than the best other head.

The head that was chosen is tried once more with weights of the labels (`gwaudit.training.label_weights`), for the
verdict.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from gwaudit.core.settings import Head, ResolvedTrainingSettings
from gwaudit.training.fold_heads import FoldHeads, assign_heads, held_out_log_probabilities
from gwaudit.training.label_weights import WeightsTrial, try_weights
from gwaudit.training.loss import Loss
from gwaudit.training.trees import Trees, standardised

_HEADS: tuple[Head, ...] = ("linear", "mlp", "trees")
_WEIGHT_DECAYS: dict[Head, tuple[float, ...]] = {
    "linear": (0.0005, 0.005, 0.05, 0.3),
    "mlp": (0.005, 0.02, 0.1),
    "trees": (0.0005, 0.005, 0.05, 0.3),
}
_BEYOND_CHANCE = 2.0  # standard errors
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
        best: The one that is trained.
        majority: Share of the largest class, or of the more frequent answer of each class of multi-label samples: the
            accuracy of a constant prediction.
        multi_label: Whether the labels are those of multi-label samples.
        weights: How the best head with weights of the labels compares with itself without; None if not tried.
    """

    candidates: tuple[HeadCandidate, ...]
    best: HeadCandidate
    majority: float
    multi_label: bool = False
    weights: WeightsTrial | None = None

    def best_of(self, head: Head) -> HeadCandidate | None:
        """Return the candidate of a kind with the lowest log loss, or None where none of this kind was tried."""
        of_kind = [candidate for candidate in self.candidates if candidate.head == head]
        return min(of_kind, key=lambda candidate: candidate.log_loss, default=None)

    def describe(self) -> str:
        """Return which head is trained and how well each kind predicts held-out given labels, in one sentence."""
        best, tried = self.best, [self.best_of(head) for head in _HEADS]
        texts = [f"{of_kind.head} {of_kind.accuracy:.1%}" for of_kind in tried if of_kind is not None]
        lowest = min(self.candidates, key=lambda candidate: candidate.log_loss)
        by_chance = "; trees may be better by chance" if lowest.head == "trees" != best.head else ""
        return (
            f"head: {best.head}, weight decay {best.weight_decay:g}; accuracy on held-out given labels: "
            f"{', '.join(texts)} ({self._constant} {self.majority:.1%}){by_chance}"
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

    def on_trees(self, done: int, folds: int) -> None:
        """Receive the number of folds whose trees are fitted, and the number of all."""


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
    *,
    trees: bool = False,
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
        trees: Whether heads on the log odds of trees may be tried.
    """
    tried = _HEADS if trees else _HEADS[:-1]
    heads = [
        (head, decay)
        for head in (tried if settings.head == "auto" else (settings.head,))
        for decay in (_WEIGHT_DECAYS[head] if settings.weight_decay == "auto" else (settings.weight_decay,))
    ]
    affordable = min(_MOST_REPEATED // len(labels), _MOST_VALUES // features.numel())
    repeats = min(settings.fold_repeats, max(1, affordable))
    left_out = assign_heads(labels.cpu(), settings.folds, repeats, settings.seed, copies).to(labels.device)

    @cache
    def of_trees() -> Trees:
        return Trees(features, labels, n_classes, settings.seed, copies)

    @cache
    def odds_of_trees() -> Tensor:
        odds = of_trees().fit(None if progress is None else progress.on_trees)
        return standardised(odds.held_out).to(features.device)

    def predicted_by(head: Head, decay: float, weights: Tensor | None = None) -> Tensor:
        values = odds_of_trees() if head == "trees" else features
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            model = FoldHeads(
                head,
                n_features=values.shape[1],
                n_classes=n_classes,
                n_heads=settings.folds * repeats,
                multi_label=labels.ndim == 2,
            )
        trial = replace(settings, weight_decay=decay, epochs=min(settings.epochs, _EPOCHS))
        return held_out_log_probabilities(values, labels, left_out, model.to(features.device), loss, trial, weights)

    given, candidates = labels.reshape(-1), list[HeadCandidate]()
    best: _Tried | None = None
    for head, decay in heads:
        if progress is not None:
            progress.on_heads(len(candidates), len(heads))
        if head == "trees" and best is not None and best.candidate.head != "trees":
            fold, odds = of_trees().first_fold()
            rows = torch.stack([torch.zeros_like(odds), odds], 2).flatten(0, 1) if labels.ndim == 2 else odds
            if best.losses[fold].mean() <= _of_samples(rows, labels[fold]).mean():
                break
        predicted = predicted_by(head, decay)
        accuracy = float((predicted.argmax(1) == given).double().mean())
        losses = _of_samples(predicted, labels)
        candidates.append(HeadCandidate(head, decay, float(losses.sum()) / len(given), accuracy))
        this = _Tried(candidates[-1], predicted, losses)
        if best is None or this.is_better_than(best):
            best = this
    assert best is not None  # heads are given
    choice = HeadChoice(tuple(candidates), best.candidate, _majority(labels), labels.ndim == 2)
    if settings.reweighting and bool(best.losses.isfinite().all()):
        train = partial(predicted_by, choice.best.head, choice.best.weight_decay)
        choice = replace(choice, weights=try_weights(best.predicted, labels, train))
    if progress is not None:
        progress.on_heads(len(heads), len(heads))
        progress.on_head(choice)
    return choice


class _Tried(NamedTuple):
    """Hold a head that was tried: what it predicted, and the log loss of each sample, [n]."""

    candidate: HeadCandidate
    predicted: Tensor
    losses: Tensor

    def is_better_than(self, other: "_Tried") -> bool:
        """Return whether the log loss is lower, that of trees than that of other heads beyond chance."""
        less = other.losses - self.losses
        if self.candidate.head != "trees" or other.candidate.head == "trees" or not bool(less.isfinite().all()):
            return self.candidate.log_loss < other.candidate.log_loss
        return bool(less.mean() > _BEYOND_CHANCE * less.std() / len(less) ** 0.5)


def _of_samples(predicted: Tensor, labels: Tensor) -> Tensor:
    """Return the log loss of each sample, [n]: the sum over its rows, of labels [n] or [n, C]."""
    return held_out_log_losses(predicted, labels.reshape(-1)).view(len(labels), -1).sum(1)


def _majority(labels: Tensor) -> float:
    """Return the accuracy of the best constant prediction of labels [n], or [n, C] of 0 and 1."""
    if labels.ndim == 1:
        return float(labels.bincount().max()) / len(labels)
    present = labels.double().mean(0)
    return float(torch.maximum(present, 1 - present).mean())


def held_out_log_losses(log_probability: Tensor, labels: Tensor) -> Tensor:
    """Return the log losses of held-out predictions, after the best temperature and share of uniform label noise.

    Args:
        log_probability: [n, C] log probabilities, or logits.
        labels: [n] given labels.

    Returns:
        [n] nats; infinite where any prediction is not finite.
    """
    best = torch.full((len(labels),), torch.inf, dtype=torch.float64, device=labels.device)
    if not bool(log_probability.isfinite().all()):
        return best
    for temperature in _TEMPERATURES:
        given = (log_probability.double() * temperature).softmax(1).gather(1, labels[:, None])[:, 0]
        for share in _NOISE_SHARES:
            likelihood = (1 - share) * given + share * (1 - given) / max(log_probability.shape[1] - 1, 1)
            losses = -likelihood.clamp_min(1e-12).log()
            if losses.mean() < best.mean():
                best = losses
    return best
