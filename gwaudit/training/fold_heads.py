"""Train the heads of all folds at once: each sample has one head that did not learn it.

A head on few features can learn every wrong label, and in its own training set a wrong label then looks right. So the
samples are divided into K folds, as in cross-validation, and there are K heads: head k learns all samples but those of
fold k, and only these are recorded with it. The samples can be divided anew R times, so that the result depends less on
how they are. All R K heads are layers of one network, so that each step trains all of them on one batch.

Copies of one input that have one label are in one fold (`gwaudit.training.copies`): a head that learned a copy would
predict its label. Copies with different labels contradict each other, and each is evidence on the other.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from gwaudit.core.settings import Head, ResolvedTrainingSettings
from gwaudit.recording.head_forms import HeadForward
from gwaudit.training.loss import Loss
from gwaudit.training.optimizer import build_optimizer, build_schedule

_HIDDEN, _HIDDEN_OF_SEVERAL = 64, 128  # units; the classes of multi-label samples share them, one by one
_INPUT_LENGTH = 4.0
_MOST_AT_ONCE = 4096
_SEED_STEP = 1_000_003
_LEAST_SUM = 1e-6  # of the weights; a head that learns nothing of a batch has the loss 0


def assign_heads(
    labels: Tensor, n_folds: int, n_repeats: int, seed: int, copies: Sequence[Sequence[int]] = ()
) -> Tensor:
    """Assign to each sample the head that does not learn it, in each of several divisions into folds.

    Args:
        labels: [n] int64 given labels, or [n, C] of 0 and 1 for multi-label samples: a sample counts as one of the
            rarest class that is given to it.
        n_folds: Number of folds K.
        n_repeats: Number of divisions R.
        seed: Seed of the random numbers.
        copies: As for `assign_folds`.

    Returns:
        [n, R] int64; those of division r are in [r K, (r + 1) K).
    """
    if labels.ndim == 2:
        copies = [same for group in copies for same in _of_equal_labels(group, labels)]
        labels = _rarest_given(labels)
    divisions = [assign_folds(labels, n_folds, seed + _SEED_STEP * repeat, copies) for repeat in range(n_repeats)]
    return torch.stack([folds + repeat * n_folds for repeat, folds in enumerate(divisions)], 1)


def _of_equal_labels(group: Sequence[int], labels: Tensor) -> list[list[int]]:
    """Divide a group of multi-label samples by their labels."""
    of_labels: dict[tuple[int, ...], list[int]] = {}
    for sample in group:
        of_labels.setdefault(tuple(labels[sample].tolist()), []).append(sample)
    return list(of_labels.values())


def _rarest_given(labels: Tensor) -> Tensor:
    """Return the rarest of the classes given to each sample, [n]; C for a sample without any."""
    n_classes = labels.shape[1]
    by_size = labels.sum(0).argsort(stable=True)
    given = labels[:, by_size] == 1
    return torch.where(given.any(1), by_size[given.long().argmax(1)], n_classes)


def assign_folds(labels: Tensor, n_folds: int, seed: int, copies: Sequence[Sequence[int]] = ()) -> Tensor:
    """Assign samples at random to folds of equal size, each class as equally as possible over the folds.

    Args:
        labels: [n] int64 given labels.
        n_folds: Number of folds K.
        seed: Seed of the random numbers.
        copies: Groups of samples, by their ids, that are copies of one another. Those of one label are assigned as one
            sample, so folds differ in size by the copies. If they are more than a fold, or more than half of the class,
            they are divided among the folds: the other heads could not learn that class.

    Returns:
        [n] int64 in [0, K).

    Example:
        >>> assign_folds(torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]), 2, seed=0).bincount().tolist()
        [4, 4]
        >>> assign_folds(torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]), 2, seed=0, copies=[[0, 5]])[[0, 5]].unique().numel()
        1
    """
    n = len(labels)
    leader, size, class_sizes = torch.arange(n), torch.ones(n, dtype=torch.int64), labels.bincount()
    for group in map(torch.tensor, copies):
        for label in labels[group].bincount().nonzero():
            same = group[labels[group] == label]
            if len(same) * n_folds <= n and 2 * len(same) <= class_sizes[label]:
                leader[same], size[same[0]] = same[0], len(same)
    shuffled = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    shuffled = shuffled[leader[shuffled] == shuffled]
    # The large groups of a class come first, so that they are in different folds.
    shuffled = shuffled[size[shuffled].argsort(descending=True, stable=True)]
    # Class after class, each in random order, the samples are dealt to the folds in turn. The classes follow each other
    # as they first occur: their numbers, which follow their names, change nothing.
    ordered = labels[shuffled]
    first = torch.full((len(class_sizes),), n).scatter_reduce(0, ordered, torch.arange(len(ordered)), "amin")
    dealt = shuffled[first[ordered].argsort(stable=True)]
    folds = torch.empty(n, dtype=torch.int64)
    folds[dealt] = torch.arange(len(dealt)) % n_folds
    return folds[leader]


def learned_by_heads(left_out: Tensor, weights: Tensor, n_heads: int) -> Tensor:
    """Return the weight with which each head learns each sample, [H, B]: 0 for a head that leaves it out.

    Args:
        left_out: [B, R] heads that do not learn the sample.
        weights: [B] weights of the samples for the other heads.
        n_heads: Number of heads H.
    """
    return (left_out != torch.arange(n_heads, device=left_out.device)[:, None, None]).all(2) * weights


def loss_of_heads(
    loss: Loss, logits: Tensor, targets: Tensor, labels: Tensor, learned: Tensor, of_batch: Tensor
) -> Tensor:
    """Return the mean over all heads of their mean losses, each of the samples that it learns: [] with a gradient.

    The losses of the classes of multi-label samples are summed.

    Times the number of heads, each head has the gradient that it would have alone. A rank computes a part of the batch.
    Heads learn different numbers of its samples, so each is divided by what it learns of the whole batch: the mean over
    the ranks, weighted by their samples, is the loss of one process.

    Args:
        loss: The loss of a label.
        logits: [H, B, C] of all heads.
        targets: [B] classes or [B, C] distributions that are learned.
        labels: [B] given labels, or [B, C] of 0 and 1.
        learned: [H, B] weights with which the heads learn the samples.
        of_batch: [H, N] those of the whole batch; `learned` where these samples are all of it.
    """
    n_heads, n_samples, _ = logits.shape

    def for_all_heads(values: Tensor) -> Tensor:
        return values.repeat(n_heads, *(1,) * (values.ndim - 1))

    losses = loss.by_label(logits.flatten(0, 1), for_all_heads(targets), for_all_heads(labels))
    of_samples = losses.view(n_heads, n_samples, -1).sum(2)
    sums = (of_samples * learned.to(losses)).sum(1) * (of_batch.shape[1] / n_samples)
    return (sums / of_batch.to(losses).sum(1).clamp_min(_LEAST_SUM)).mean()


def held_out_log_probabilities(
    features: Tensor,
    labels: Tensor,
    left_out: Tensor,
    model: "FoldHeads",
    loss: Loss,
    settings: ResolvedTrainingSettings,
    weights: Tensor | None = None,
) -> Tensor:
    """Train the heads of all folds, and return their held-out log probabilities, [n, C].

    Those of multi-label samples are [n C, 2], of the answers absent and present, in the order of the rows of a store.
    They are the means over the last half of the epochs, which a ranking reads by default.

    Args:
        features: [n, D], as the heads take them.
        labels: [n] given labels, or [n, C] of 0 and 1.
        left_out: [n, R] heads that do not learn the sample.
        model: The heads, which are trained.
        loss: The loss of a label.
        settings: Optimizer, schedule, batch size, number of epochs and seed.
        weights: [n] weights with which the labels are learned; by default 1.
    """
    weights = torch.ones(len(labels), device=labels.device) if weights is None else weights
    batches = -(-len(labels) // settings.batch_size)
    optimizer = build_optimizer(model, settings)
    schedule = build_schedule(optimizer, settings, batches * settings.epochs)
    generator = torch.Generator().manual_seed(settings.seed)
    total, update, window = torch.zeros((), device=labels.device), 0, range(settings.epochs // 2, settings.epochs)
    for epoch in range(settings.epochs):
        for ids in torch.randperm(len(labels), generator=generator).to(labels.device).tensor_split(batches):
            _, logits = model(features[ids])
            learned = learned_by_heads(left_out[ids], weights[ids], model.n_heads)
            mean = loss_of_heads(loss, logits, labels[ids], labels[ids], learned, learned)
            (mean * model.n_heads).backward()  # type: ignore[no-untyped-call]  # torch's
            optimizer.step()
            update += 1
            schedule.step_update(update)
            optimizer.zero_grad(set_to_none=True)
        if epoch not in window:
            continue
        with torch.no_grad():
            parts = torch.arange(len(labels), device=labels.device).tensor_split(-(-len(labels) // _MOST_AT_ONCE))
            total = total + torch.cat(
                [
                    _held_out_log_probabilities(model, features[ids], left_out[ids], multi_label=labels.ndim == 2)
                    for ids in parts
                ]
            )
    return total / len(window)


def _held_out_log_probabilities(model: "FoldHeads", features: Tensor, left_out: Tensor, *, multi_label: bool) -> Tensor:
    """Return the mean log probabilities [B, C] of each sample by the heads [B, R] that do not learn it.

    Those of multi-label samples are [B C, 2].
    """
    logits: Tensor = model(features)[1]
    held_out = logits[left_out, torch.arange(len(left_out), device=left_out.device)[:, None]]
    if multi_label:
        return torch.stack([functional.logsigmoid(-held_out), functional.logsigmoid(held_out)], 3).mean(1).flatten(0, 1)
    return held_out.log_softmax(2).mean(1)


class FoldHeads(nn.Module):
    """Hold the heads of all folds on features: linear layers, or networks with one hidden layer.

    The features are scaled to a length that does not grow with their number, so that one learning rate suits all.
    All heads start from the same output, equal probabilities, so that the order of the classes changes nothing.

    Args:
        kind: "linear", or "mlp" with a hidden layer of 64 units, of 128 for multi-label samples.
        n_features: Number of features D, each of mean 0 and standard deviation 1.
        n_classes: Number of classes C.
        n_heads: Number of heads H, one for each fold.
        multi_label: Whether the samples may have several classes.
    """

    def __init__(self, kind: Head, *, n_features: int, n_classes: int, n_heads: int, multi_label: bool = False) -> None:
        super().__init__()
        n_hidden = _HIDDEN_OF_SEVERAL if multi_label else _HIDDEN
        self._scale = _INPUT_LENGTH / n_features**0.5
        self.hidden = _Layers(n_heads, n_features, n_hidden) if kind == "mlp" else None
        if self.hidden is not None:
            nn.init.normal_(self.hidden.weight, std=2 / n_features**0.5)
        self.head = _Layers(n_heads, n_features if self.hidden is None else n_hidden, n_classes)

    @property
    def n_heads(self) -> int:
        """Return the number of heads H."""
        return len(self.head.weight)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the latents [H, B, F] and the logits [H, B, C] of all heads, of features [B, D]."""
        latent = (features * self._scale).expand(self.n_heads, -1, -1)
        if self.hidden is not None:
            latent = self.hidden(latent).relu()
        return latent, self.head(latent)

    def of_head(self, head: int, latent: Tensor, logits: Tensor) -> HeadForward:
        """Return a forward pass through a head, as it is recorded.

        Args:
            head: Number of the head.
            latent: [B, F] input of that head.
            logits: [B, C] its output.
        """
        weight, bias = self.head.weight[head].detach(), self.head.bias[head].detach()
        return HeadForward(latent, logits.float(), weight, torch.linalg.vector_norm(weight), bias)


class _Layers(nn.Module):
    """Hold H linear layers [H, outputs, inputs], which start at zero."""

    def __init__(self, n_layers: int, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_layers, n_outputs, n_inputs))
        self.bias = nn.Parameter(torch.zeros(n_layers, n_outputs))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return [H, B, outputs] of [H, B, inputs]."""
        return torch.baddbmm(self.bias[:, None], inputs, self.weight.mT)
