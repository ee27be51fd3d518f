"""Hold what is particular to a cross-fitted training: which head learns which sample, with which weight.

`gwaudit.training.fold_heads` has the heads, `gwaudit.training.label_weights` the weights.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gwaudit.core.settings import Head, ResolvedTrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.copies import copies_among
from gwaudit.training.feeding import Batch
from gwaudit.training.fold_heads import FoldHeads, assign_heads, learned_by_heads, loss_of_heads
from gwaudit.training.head_choice import HeadChoice, HeadProgress, choose_head, samples_to_try
from gwaudit.training.label_weights import LabelWeights
from gwaudit.training.loss import Loss
from gwaudit.training.trees import TreeOdds, Trees, can_have_trees


class CrossFitting:
    """Assign the samples to the heads, set the weights of their labels, and compute the loss of all heads.

    Args:
        labels: [n] given labels, or [n, C] of 0 and 1 for multi-label samples.
        settings: Those of the training, with more than one fold.
        copies: Groups of samples, by their ids, that are copies of one another.

    Attributes:
        left_out: [n, R] heads that do not learn each sample, in R divisions into folds.
        n_heads: Number of heads, K folds times R.
    """

    def __init__(self, labels: Tensor, settings: ResolvedTrainingSettings, copies: Sequence[Sequence[int]]) -> None:
        repeats = settings.fold_repeats
        self.left_out = assign_heads(labels, settings.folds, repeats, settings.seed, copies)
        self.n_heads = settings.folds * repeats
        self._labels, self._copies, self._seed, self._repeats = labels, copies, settings.seed, repeats
        self._trees: TreeOdds | None = None
        self._of_epochs, self._weights = LabelWeights(settings.epochs), torch.ones(len(labels))

    def choose_head(
        self,
        dataset: LabeledDataset,
        prepare: Callable[[Tensor], Tensor],
        loss: Loss,
        settings: ResolvedTrainingSettings,
        progress: HeadProgress | None,
    ) -> HeadChoice:
        """Choose among the heads that the settings leave open, tried on all samples or on some.

        Args:
            dataset: Features, as the heads take them.
            prepare: Function that returns them on the device of the training.
            loss: The loss of a label.
            settings: Those of the training; `head` or `weight_decay` is "auto".
            progress: Receives the number of heads that were tried, and the choice.
        """
        ids = samples_to_try(len(dataset), settings.seed)
        features = prepare(dataset.read(ids))
        labels, n_classes = self._labels[ids].to(features.device), len(dataset.class_names)
        copies, trees = copies_among(self._copies, ids), can_have_trees(dataset)
        return choose_head(features, labels, n_classes, loss, settings, progress, copies, trees=trees)

    def fit_trees(self, dataset: LabeledDataset, progress: HeadProgress | None) -> LabeledDataset:
        """Fit the trees of `head="trees"`, and return the data with their held-out log odds as features."""
        on_fold = None if progress is None else progress.on_trees
        values, n_classes = dataset.read(torch.arange(len(dataset))).float(), len(dataset.class_names)
        trees = Trees(values, self._labels, n_classes, self._seed, self._copies, self._repeats)
        self._trees = trees.fit(on_fold)
        return self._trees.as_features(dataset)

    def as_heads_take(self, dataset: LabeledDataset) -> LabeledDataset:
        """Return data with the features that the heads take: log odds, if trees were fitted."""
        return dataset if self._trees is None else self._trees.as_features(dataset)

    def build_heads(self, kind: Head, dataset: LabeledDataset) -> FoldHeads:
        """Build the heads of all folds on the features of a data set."""
        return FoldHeads(
            kind,
            n_features=dataset.input_shape[0],
            n_classes=len(dataset.class_names),
            n_heads=self.n_heads,
            multi_label=dataset.is_multi_label,
        )

    def begin_epoch(self, epoch: int, store: TrajectoryStore) -> None:
        """Set the weights of the labels for an epoch, by the probabilities of earlier ones. All ranks must call."""
        self._weights = self._of_epochs.of_epoch(epoch, store)

    def loss(self, loss: Loss, logits: Tensor, targets: Tensor, batch: Batch) -> Tensor:
        """Return the mean loss of all heads on this rank's part of a batch, [] with a gradient.

        Args:
            loss: The loss of a label.
            logits: [H, b, C] of all heads.
            targets: [b] classes or [b, C] distributions that are learned.
            batch: The batch.
        """
        of_rank, of_batch = (
            learned_by_heads(self.left_out[ids], self._weights[ids], self.n_heads).to(logits.device)
            for ids in (batch.own_ids, batch.ids)
        )
        return loss_of_heads(loss, logits, targets, self._labels[batch.own_ids], of_rank, of_batch)
