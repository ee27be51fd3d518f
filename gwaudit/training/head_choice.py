"""Choose the head of a cross-fitted training by how well it predicts given labels that it did not learn.

No true label is needed: wrong labels make every head's predictions look worse, but all of them alike. Held-out
predictions are judged by their log loss after the best temperature a and the best share ε of uniform label noise,

    -mean log((1 - ε) p_y + ε (1 - p_y) / (C - 1)),    p = softmax(a l),

so that a head is not preferred because its logits are small, or because it follows wrong labels.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from gwaudit.core.settings import Head

_HEADS: tuple[Head, ...] = ("linear", "mlp")
_WEIGHT_DECAYS: dict[Head, tuple[float, ...]] = {"linear": (0.005, 0.05, 0.3), "mlp": (0.005, 0.02, 0.1)}
_TEMPERATURES = torch.logspace(-0.3, 1.1, 15, base=10)
_NOISE_SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
MOST_SAMPLES = 4000
"""Number of samples that the choice is made on; of more, as many are drawn at random."""


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

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self)


@dataclass(frozen=True)
class HeadChoice:
    """Hold the heads that were tried.

    Attributes:
        candidates: All of them.
        majority: Share of the largest class, the accuracy of a constant prediction.
    """

    candidates: tuple[HeadCandidate, ...]
    majority: float

    @property
    def best(self) -> HeadCandidate:
        """Return the head with the lowest log loss."""
        return min(self.candidates, key=lambda candidate: candidate.log_loss)

    def best_of(self, head: Head) -> HeadCandidate | None:
        """Return the candidate of a kind with the lowest log loss, or None where none of this kind was tried."""
        of_kind = [candidate for candidate in self.candidates if candidate.head == head]
        return min(of_kind, key=lambda candidate: candidate.log_loss, default=None)

    def to_dict(self) -> dict[str, Any]:
        """Return the choice as JSON can hold it."""
        return {"candidates": [candidate.to_dict() for candidate in self.candidates], "majority": self.majority}


def choose_head(
    labels: Tensor,
    head: Head | None,
    weight_decay: float | None,
    held_out_log_probabilities: Callable[[Head, float], Tensor],
) -> HeadChoice:
    """Try the heads that the settings leave open.

    Args:
        labels: [n] given labels.
        head: The kind of head, if it is given.
        weight_decay: The weight decay, if it is given.
        held_out_log_probabilities: Trains the heads of all folds, and returns [n, C] log probabilities, the mean over
            the epochs, each sample by the head that did not learn it.
    """
    candidates = []
    for kind in _HEADS if head is None else (head,):
        for decay in _WEIGHT_DECAYS[kind] if weight_decay is None else (weight_decay,):
            log_probability = held_out_log_probabilities(kind, decay)
            accuracy = float((log_probability.argmax(1) == labels).double().mean())
            candidates.append(HeadCandidate(kind, decay, held_out_log_loss(log_probability, labels), accuracy))
    return HeadChoice(tuple(candidates), float(labels.bincount().max()) / len(labels))


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
