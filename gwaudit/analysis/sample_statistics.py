"""Reduce the trajectories of a run to one row of statistics a sample.

The work is done block by block: a reduction over epochs stays inside one block of rows, and any
`concurrent.futures.Executor` can compute the blocks. A block is read in parts, the row groups of its files, so that the
votes of all epochs are those of one part; its statistics are written to files (`gwaudit.core.column_files`). Memory is
O(block) for any number of samples and epochs.
"""

from concurrent.futures import Executor
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gwaudit.analysis.blocks import map_blocks, map_parts, threads_of
from gwaudit.core.column_files import ColumnFiles
from gwaudit.core.errors import SettingsError
from gwaudit.store.store import MISSING_LABEL, TrajectoryStore

Floats = NDArray[np.float32]
Labels = NDArray[np.int32]

_VOTE_ROWS = 2**16

COLUMNS = {
    "epochs": "epochs of the window that recorded the sample",
    "mean_alignment": "mean alignment γ over the window",
    "mean_gap": "mean over the window of γ less the highest γ_c of another label (alignment gap)",
    "mean_margin": "mean margin of the logits over the window (AUM)",
    "mean_probability_margin": "mean over the window of the given label's probability less the highest other one",
    "mean_loss": "mean cross entropy over the window, in nats",
    "mean_given_probability": "mean probability of the given label over the window",
    "alternative_label": "best label other than the given one in most epochs of the window; ties by its summed γ_c",
    "alternative_votes": "share of the recorded epochs of the window with that label",
    "predicted_label": "label that most epochs of the window predict",
    "predicted_votes": "share of the recorded epochs of the window with that label",
    "share_negative": "share of all recorded epochs with γ < 0",
    "longest_negative_run": "longest run of recorded epochs with γ < 0",
    "last_alignment": "γ in the last epoch that recorded the sample",
    "trend": "slope of γ over all recorded epochs, per epoch",
    "early_alignment": "mean γ over the first third of the run",
    "late_alignment": "mean γ over the last third of the run",
    "final_probability_margin": "mean of the probability margin over the final evaluation passes; NaN without them",
    "times_learned": "number of times the prediction changed to the given label",
    "times_forgotten": "number of times the prediction changed from it (forgetting events, Toneva et al., ICLR 2019)",
}
"""The columns of `sample_statistics`, with their texts. Values that were never recorded are NaN, labels -1."""

HALVES = ("first_half", "second_half")
"""The halves of the window. `statistics_files` has the mean gap and the mean margin of each, `HALF_gap` and
`HALF_margin`, in double precision: the verdict compares what they rank first."""

_WINDOW_SIGNALS = (
    "alignment", "predicted_label", "alternative_label", "alternative_alignment",
    "margin", "loss", "given_probability",
)  # fmt: skip


def default_window(store: TrajectoryStore) -> range:
    """Return the last half of a run's training epochs: before, a network has learned little."""
    n_epochs = len(store.training_epochs)
    return range(n_epochs // 2, n_epochs)


def is_held_out(store: TrajectoryStore) -> bool:
    """Return whether each sample of a run was recorded with a head that did not learn it (`folds`)."""
    folds = (store.settings.get("training") or {}).get("folds", 1)
    return folds != "auto" and int(folds) > 1


def sample_statistics(store: TrajectoryStore, window: range, *, executor: Executor | None = None) -> pd.DataFrame:
    """Return the statistics of every sample's trajectory, in memory.

    Args:
        store: a run with at least one epoch.
        window: the epochs of the means and votes, counted from 0.
        executor: computes the blocks; by default they are computed one after the other.

    Returns:
        A row for each row of the store, index `sample_id` (`row_id` in a multi-label run), the columns of `COLUMNS`.

    Raises:
        SettingsError: The window is empty, or has epochs that the run does not have.
    """
    files = statistics_files(store, window, executor=executor)
    index = pd.RangeIndex(store.n_rows, name=store.layout.id_column)
    return pd.DataFrame({name: files[name] for name in COLUMNS}, index=index)


def statistics_files(store: TrajectoryStore, window: range, *, executor: Executor | None = None) -> ColumnFiles:
    """Write the statistics of every sample's trajectory to temporary files, about 110 bytes a row.

    Args:
        store: as for `sample_statistics`, as are the other arguments and errors.
        window: the epochs of the means and votes.
        executor: computes the blocks.

    Returns:
        The columns of `COLUMNS`, and those of `HALVES`, [rows of the store] each.
    """
    n_epochs = len(store.training_epochs)
    if not len(window) or window[0] < 0 or window[-1] >= n_epochs:
        raise SettingsError(
            f"window: epochs {window.start} to {window.stop - 1} are not within the {n_epochs} training epochs of "
            f"{store.path}"
        )
    block_statistics = partial(
        _block_statistics,
        window=window,
        n_epochs=n_epochs,
        final_passes=store.final_passes,
        threads=threads_of(executor),
    )
    files = ColumnFiles()
    for columns in map_blocks(block_statistics, store, executor):
        files.append(columns)
    return files


def _block_statistics(
    store: TrajectoryStore, block: int, *, window: range, n_epochs: int, final_passes: range, threads: int
) -> dict[str, NDArray[Any]]:
    given = store.given_labels(block=block)

    def statistics(part: range) -> dict[str, NDArray[Any]]:
        whole_run = _RunStatistics(given[part.start : part.stop], n_epochs)
        in_window = _WindowStatistics(len(part), len(window), n_labels=len(store.layout.answers))
        for epoch in range(n_epochs):
            names = _WINDOW_SIGNALS if epoch in window else _WINDOW_SIGNALS[:2]
            signals = store.read_block(epoch, block, names, part=part)
            whole_run.add(epoch, signals["alignment"], signals["predicted_label"])
            if epoch in window:
                in_window.add(window.index(epoch), signals)
        final = _Mean(len(part))
        for epoch in final_passes:
            signals = store.read_block(epoch, block, ("given_probability", "margin", "loss"), part=part)
            final.add(_probability_margin(signals))
        return {**in_window.columns(), **whole_run.columns(), "final_probability_margin": final.value()}

    return map_parts(statistics, store, block, range(n_epochs + len(final_passes)), threads)


def _probability_margin(signals: dict[str, NDArray[Any]]) -> Floats:
    """Return p_y less the highest p_c of another label, [rows].

    With the loss -log p_y and the margin z_y - z_c of the logits, p_c = p_y exp(z_c - z_y) = exp(-(loss + margin)).
    """
    other = np.exp(-(signals["loss"] + signals["margin"]))
    return np.asarray(signals["given_probability"] - other, np.float32)


class _Mean:
    """Accumulate a mean over epochs, without missing values."""

    def __init__(self, rows: int) -> None:
        self.total = np.zeros(rows, np.float64)
        self.count = np.zeros(rows, np.int32)

    def add(self, values: Floats) -> None:
        """Add the values of an epoch, [rows]."""
        absent = np.isnan(values)
        if absent.any():
            self.total += np.where(absent, 0, values)
            self.count += ~absent
        else:  # the same, in a third of the time
            self.total += values
            self.count += 1

    def value(self) -> Floats:
        """Return the means, [rows]; NaN where nothing was recorded."""
        return self.double_value().astype(np.float32)

    def double_value(self) -> NDArray[np.float64]:
        """Return the means in double precision."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.total / np.where(self.count, self.count, np.nan), np.float64)


class _WindowStatistics:
    """Accumulate the means and the votes over the window."""

    def __init__(self, rows: int, n_epochs: int, *, n_labels: int) -> None:
        names = (
            "mean_alignment", "mean_gap", "mean_margin", "mean_probability_margin", "mean_loss",
            "mean_given_probability",
        )  # fmt: skip
        self._means = {name: _Mean(rows) for name in names}
        self._of_halves = {f"{half}_{part}": _Mean(rows) for half in HALVES for part in ("gap", "margin")}
        self._middle = n_epochs // 2
        # Two bytes a vote, if the labels fit: the votes are the only thing here that grows with the window.
        vote_type = np.int16 if n_labels < 2**15 else np.int32
        self._alternative = np.empty((n_epochs, rows), vote_type)
        self._weight = np.empty((n_epochs, rows), np.float32)
        self._predicted = np.empty((n_epochs, rows), vote_type)

    def add(self, voter: int, signals: dict[str, NDArray[Any]]) -> None:
        """Add the signals of an epoch, the `voter`-th of the window."""
        gap, half = signals["alignment"] - signals["alternative_alignment"], HALVES[voter >= self._middle]
        self._means["mean_alignment"].add(signals["alignment"])
        self._means["mean_gap"].add(gap)
        self._means["mean_margin"].add(signals["margin"])
        self._of_halves[f"{half}_gap"].add(gap)
        self._of_halves[f"{half}_margin"].add(signals["margin"])
        self._means["mean_probability_margin"].add(_probability_margin(signals))
        self._means["mean_loss"].add(signals["loss"])
        self._means["mean_given_probability"].add(signals["given_probability"])
        self._predicted[voter] = signals["predicted_label"]
        self._alternative[voter] = signals["alternative_label"]
        self._weight[voter] = signals["alternative_alignment"]

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the columns of the window, [rows] each; call it once, as it frees the votes."""
        alternative_label, alternative_votes = most_voted(self._alternative, self._weight)
        del self._alternative, self._weight
        predicted_label, predicted_votes = most_voted(self._predicted)
        return {
            "epochs": self._means["mean_alignment"].count,
            **{name: mean.value() for name, mean in self._means.items()},
            "alternative_label": alternative_label,
            "alternative_votes": alternative_votes,
            "predicted_label": predicted_label,
            "predicted_votes": predicted_votes,
            **{name: mean.double_value() for name, mean in self._of_halves.items()},
        }


class _RunStatistics:
    """Accumulate the statistics of the whole run: negative epochs, trend, thirds of the run, learning, forgetting."""

    def __init__(self, given: Labels, n_epochs: int) -> None:
        rows = len(given)
        self._given, self._n_epochs = given, n_epochs
        self._early, self._late = _Mean(rows), _Mean(rows)
        self._count = np.zeros(rows, np.int32)
        self._negative = np.zeros(rows, np.int32)
        self._run = np.zeros(rows, np.int32)
        self._longest = np.zeros(rows, np.int32)
        self._last = np.full(rows, np.nan, np.float32)
        self._sums = np.zeros((4, rows), np.float64)  # of t, t², γ, tγ
        self._was_right = np.zeros(rows, bool)
        self._learned = np.zeros(rows, np.int32)
        self._forgotten = np.zeros(rows, np.int32)

    def add(self, epoch: int, alignment: Floats, predicted: Labels) -> None:
        """Add the alignments and predictions of an epoch, [rows] each."""
        third = max(1, round(self._n_epochs / 3))
        if epoch < third:
            self._early.add(alignment)
        if epoch >= self._n_epochs - third:
            self._late.add(alignment)
        negative, right = alignment < 0, predicted == self._given
        absent = np.isnan(alignment)
        if absent.any():
            self._add_recorded(epoch, alignment, ~absent, negative, right)
            return
        # The same as for some rows, in a third of the time.
        self._count += 1
        self._negative += negative
        self._run += 1
        self._run *= negative
        np.maximum(self._longest, self._run, out=self._longest)
        self._last = alignment
        self._sums[0] += epoch
        self._sums[1] += epoch**2
        self._sums[2] += alignment
        self._sums[3] += epoch * alignment
        self._learned += right & ~self._was_right
        self._forgotten += self._was_right & ~right
        self._was_right = right

    def _add_recorded(
        self,
        epoch: int,
        alignment: Floats,
        recorded: NDArray[np.bool_],
        negative: NDArray[np.bool_],
        right: NDArray[np.bool_],
    ) -> None:
        """Add the rows that an epoch recorded."""
        self._count += recorded
        self._negative += negative
        self._run = np.where(recorded, np.where(negative, self._run + 1, 0), self._run).astype(np.int32)
        np.maximum(self._longest, self._run, out=self._longest)
        self._last = np.where(recorded, alignment, self._last)
        value = np.where(recorded, alignment, 0)
        self._sums[0] += epoch * recorded
        self._sums[1] += epoch**2 * recorded
        self._sums[2] += value
        self._sums[3] += epoch * value
        self._learned += recorded & right & ~self._was_right
        self._forgotten += recorded & ~right & self._was_right
        self._was_right = np.where(recorded, right, self._was_right)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the columns of the whole run, [rows] each."""
        n, (t, tt, a, ta) = self._count.astype(np.float64), self._sums
        n[n == 0] = np.nan
        spread = n * tt - t * t
        spread[spread == 0] = np.nan  # one epoch has no slope
        return {
            "share_negative": (self._negative / n).astype(np.float32),
            "longest_negative_run": self._longest,
            "last_alignment": self._last,
            "trend": ((n * ta - t * a) / spread).astype(np.float32),
            "early_alignment": self._early.value(),
            "late_alignment": self._late.value(),
            "times_learned": self._learned,
            "times_forgotten": self._forgotten,
        }


def most_voted(votes: NDArray[np.integer], weights: Floats | None = None) -> tuple[Labels, Floats]:
    """Return the label with the most votes in each column.

    Args:
        votes: [voters, n] labels, `MISSING_LABEL` for no vote.
        weights: [voters, n] in [-1, 1]; of labels with equal votes the one with the larger sum of weights wins, then
            the smaller label.

    Returns:
        [n] labels, `MISSING_LABEL` without votes, and [n] the share of the votes cast that the label has (NaN without).
    """
    label, share = _majority(votes)
    divided = np.flatnonzero(label == MISSING_LABEL)
    for start in range(0, len(divided), _VOTE_ROWS):
        rows = divided[start : start + _VOTE_ROWS]
        label[rows], share[rows] = _most_voted(votes[:, rows], None if weights is None else weights[:, rows])
    return label, share


def _majority(votes: NDArray[np.integer]) -> tuple[Labels, Floats]:
    """Return the label that more than half of all voters name in each column, for any weights.

    Most columns have one. It is found by the vote of Boyer and Moore, one pass over the votes and another to count.

    Args:
        votes: As for `most_voted`.

    Returns:
        [n] labels, `MISSING_LABEL` where no label has such a majority, and [n] shares of the votes cast.
    """
    candidate, lead = np.full(votes.shape[1], MISSING_LABEL, votes.dtype), np.zeros(votes.shape[1], np.int32)
    for vote in votes:
        np.copyto(candidate, vote, where=lead == 0)
        lead += np.where(vote == candidate, np.int32(1), np.int32(-1))
    count, cast = np.zeros((2, votes.shape[1]), np.int32)
    for vote in votes:
        count += vote == candidate
        cast += vote != MISSING_LABEL
    has_majority = (2 * count > len(votes)) & (candidate != MISSING_LABEL)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (count / cast).astype(np.float32)
    return np.where(has_majority, candidate, MISSING_LABEL).astype(np.int32), share


def _most_voted(votes: NDArray[np.integer], weights: Floats | None) -> tuple[Labels, Floats]:
    voters, rows = votes.shape
    by_row = np.ascontiguousarray(votes.T)
    # Equal labels side by side, so that each is one run of the flattened rows.
    if weights is None:
        labels = np.sort(by_row, axis=1).ravel()
    else:
        order = np.argsort(by_row, axis=1, kind="stable")
        labels = np.take_along_axis(by_row, order, axis=1).ravel()
    starts_run = np.empty(len(labels), bool)
    starts_run[0] = True
    np.not_equal(labels[1:], labels[:-1], out=starts_run[1:])
    starts_run[::voters] = True
    starts = np.flatnonzero(starts_run)
    counts = np.diff(starts, append=len(labels))
    strength = counts.astype(np.float64)
    if weights is not None:
        sorted_weights = np.take_along_axis(weights.T, order, axis=1).ravel()
        # Any sum is less than half a vote: it decides ties only.
        strength += np.add.reduceat(np.nan_to_num(sorted_weights), starts, dtype=np.float64) / (2 * voters + 1)
    run_labels = labels[starts]
    strength[run_labels == MISSING_LABEL] = -1
    first_run = np.searchsorted(starts, np.arange(0, len(labels), voters))
    best = np.maximum.reduceat(strength, first_run)
    runs_a_row = np.diff(first_run, append=len(starts))
    winner = np.flatnonzero(strength == np.repeat(best, runs_a_row))
    row_of_winner = np.repeat(np.arange(rows), runs_a_row)[winner]
    _, first = np.unique(row_of_winner, return_index=True)
    chosen = winner[first]
    cast = (by_row != MISSING_LABEL).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(cast > 0, counts[chosen] / cast, np.nan)
    return run_labels[chosen].astype(np.int32), share.astype(np.float32)
