"""Compute log odds of classes by trees that did not learn a sample's label: the features of a head on tables.

A linear head or a small network predicts little where classes are boxes of columns with units of their own, as in many
tables. There, boosted trees and random forests are hard to beat (Grinsztajn et al., NeurIPS 2022). Trees have no
gradient to compare with weights, so they are stacked (Wolpert, Neural Networks 1992): the samples are divided into
folds, both kinds of trees predict each fold after they learned the others, and a linear head learns from the log odds
of their geometric mean. As that of any head, its gradient can agree with its weights or oppose them, and its labels get
weights. The trees learn the given labels all alike, also in a round of refinement.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from threadpoolctl import threadpool_limits
from torch import Tensor

from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.inputs import are_in_memory, features
from gwaudit.training.fold_heads import assign_heads

_FOLDS = 5
_SMALLEST_PROBABILITY = 1e-3
_MOST_FEATURES = 256  # embeddings have more: each split of a tree looks at one
_MOST_ROWS_OF_A_TREE = 10_000  # of a forest
_MOST_COST = 4e7  # rows, features and classes, multiplied: a quarter of a minute a fold, on one core
_MOST_LABELS = 30_000  # of multi-label samples, where each class has a forest of its own: as long a fold
_ROWS_OF_A_HISTOGRAM = 2000  # as many take as long as the bins of one tree
_SEEDS = 2**32  # scikit-learn takes those below

Floats = NDArray[np.float64]
_LogOdds = Callable[[NDArray[np.float32]], Floats]


class _Trees(Protocol):
    """Predict the classes that it learned."""

    classes_: NDArray[np.int64]

    def fit(self, features: NDArray[np.float32], labels: NDArray[np.int64], /) -> Self: ...

    def predict_proba(self, features: NDArray[np.float32], /) -> Floats: ...


def can_have_trees(dataset: LabeledDataset) -> bool:
    """Return whether trees are tried on a data set: on features in memory, not too many of them, nor of samples."""
    if dataset.modality != "features" or not are_in_memory(dataset.inputs):
        return False
    n_features, n_classes = dataset.input_shape[0], len(dataset.class_names)
    if dataset.is_multi_label and len(dataset) * n_classes > _MOST_LABELS:
        return False
    cost = n_features * n_classes * (len(dataset) + _ROWS_OF_A_HISTOGRAM)
    return n_features <= _MOST_FEATURES and cost <= _MOST_COST


class Trees:
    """Fit boosted trees and a random forest to all folds but one, for each of five folds, once or several times.

    All trees of a fold run in one thread, so that the result is the same on any number of cores.

    Args:
        values: [n, D] features of any scale.
        labels: [n] given labels, or [n, C] of 0 and 1.
        n_classes: Number of classes C.
        seed: Seed of the folds and of the trees.
        copies: Groups of samples that are copies of one another; those of one label are in one fold.
        repeats: Number of divisions into folds R, whose log odds are averaged.
    """

    def __init__(
        self,
        values: Tensor,
        labels: Tensor,
        n_classes: int,
        seed: int,
        copies: Sequence[Sequence[int]] = (),
        repeats: int = 1,
    ) -> None:
        n_folds = min(_FOLDS, len(labels))
        self._values, self._n_classes, self._seed = values, n_classes, seed
        self._array, self._labels = values.cpu().float().numpy(), labels.cpu().numpy()
        self._left_out = assign_heads(labels.cpu(), n_folds, repeats, seed, copies).numpy()
        self._fitted: dict[int, _LogOdds] = {}

    def first_fold(self) -> tuple[Tensor, Tensor]:
        """Return the samples [m] of the first fold and their log odds [m, C], for a part of the time of `fit`."""
        first = np.flatnonzero(self._left_out[:, 0] == 0)
        self._fitted[0] = self._fit_fold(0)
        device = self._values.device
        return torch.from_numpy(first).to(device), torch.from_numpy(self._fitted[0](self._array[first])).to(device)

    def fit(self, on_fold: Callable[[int, int], None] | None = None) -> "TreeOdds":
        """Fit the trees of all folds.

        Args:
            on_fold: Receives the number of folds that are done, and of all.
        """
        n_folds = int(self._left_out.max()) + 1
        held_out = np.zeros((len(self._array), self._n_classes))
        pool = ThreadPoolExecutor(torch.get_num_threads())
        try:
            for fold, of_fold in enumerate(pool.map(self._fit_fold, range(n_folds))):
                self._fitted[fold] = of_fold
                samples = (self._left_out == fold).any(1)
                held_out[samples] += of_fold(self._array[samples]) / self._left_out.shape[1]
                if on_fold is not None:
                    on_fold(fold + 1, n_folds)
        finally:
            pool.shutdown(cancel_futures=True)  # an interrupt does not wait for folds that have not begun
        return TreeOdds(self._values, torch.from_numpy(held_out).float(), tuple(self._fitted.values()))

    def _fit_fold(self, fold: int) -> _LogOdds:
        """Fit both kinds of trees to all samples but those of a fold."""
        if fold in self._fitted:
            return self._fitted[fold]
        learned, seed = (self._left_out != fold).all(1), (self._seed + fold) % _SEEDS
        values, labels = self._array[learned], self._labels[learned]
        if labels.ndim == 1:
            return partial(_log_odds, _both_kinds(values, labels, seed), self._n_classes)
        return partial(_log_odds_of_each, [_both_kinds(values, present, seed) for present in labels.T])


@dataclass(frozen=True)
class TreeOdds:
    """Hold fitted trees, with the log odds of the samples that they were fitted on.

    Attributes:
        values: [n, D] features of these samples.
        held_out: [n, C] log odds of each of them by the trees that did not learn it.
        folds: The trees of each fold: functions of features [m, D] that return log odds [m, C].
    """

    values: Tensor
    held_out: Tensor
    folds: tuple[_LogOdds, ...]

    def as_features(self, dataset: LabeledDataset) -> LabeledDataset:
        """Return data with log odds as features: held out if they are the fitted ones, else the mean over the folds."""
        values = dataset.read(torch.arange(len(dataset))).float()
        odds = self.held_out
        if not torch.equal(values, self.values):
            odds = torch.from_numpy(np.mean([of_fold(values.numpy()) for of_fold in self.folds], 0)).float()
        return replace(dataset, inputs=features(odds), are_scaled=False)


def standardised(odds: Tensor) -> Tensor:
    """Return log odds [n, C] with mean 0 and variance 1 in each column, as a training has them."""
    deviations = odds - odds.mean(0)
    return deviations / deviations.square().mean(0).sqrt().clamp_min(1e-6)


def _both_kinds(values: NDArray[np.float32], labels: NDArray[np.int64], seed: int) -> list[_Trees]:
    if len(np.unique(labels)) == 1:
        return []
    boosted = HistGradientBoostingClassifier(
        learning_rate=0.08,
        max_iter=60,
        max_leaf_nodes=15,
        min_samples_leaf=10,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=seed,
    )
    drawn = _MOST_ROWS_OF_A_TREE if len(labels) > _MOST_ROWS_OF_A_TREE else None  # otherwise as many as there are
    forest = RandomForestClassifier(100, min_samples_leaf=3, max_samples=drawn, random_state=seed)
    with threadpool_limits(1, user_api="openmp"):
        return [trees.fit(values, labels) for trees in (boosted, forest)]


def _log_odds(kinds: Sequence[_Trees], n_classes: int, values: NDArray[np.float32]) -> Floats:
    """Return the log probabilities [m, C] less their mean: the mean of both kinds; 0 where there was one class."""
    total = np.zeros((len(values), n_classes))
    for trees in kinds:
        probability = np.zeros((len(values), n_classes))
        with threadpool_limits(1, user_api="openmp"):
            probability[:, trees.classes_] = trees.predict_proba(values)
        total += np.log(np.maximum(probability, _SMALLEST_PROBABILITY))
    return np.asarray((total - total.mean(1, keepdims=True)) / max(len(kinds), 1))


def _log_odds_of_each(of_classes: Sequence[Sequence[_Trees]], values: NDArray[np.float32]) -> Floats:
    """Return the log odds [m, C] of the classes of multi-label samples."""
    return np.stack([2 * _log_odds(trees, 2, values)[:, 1] for trees in of_classes], 1)
