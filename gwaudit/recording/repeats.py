"""Find out that `end_epoch` was forgotten: the samples of a whole pass over the data are observed again.

An epoch can hold repeated samples for good reasons: a sampler with replacement, several views of a batch, the padding
of a sampler for several ranks. Their repeats begin early in the epoch, or are few. If `end_epoch` was forgotten, a
whole pass without repeats comes first, and many repeats come after it.
"""

import warnings

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def are_several_passes(distinct_at_first: int, distinct: int, repeated: int) -> bool:
    """Return whether the observations of an epoch are several passes over the data.

    Args:
        distinct_at_first: Number of distinct rows before the first repeat.
        distinct: Number of distinct rows in all.
        repeated: Number of repeated rows in all.

    Example:
        >>> are_several_passes(60, 60, 60), are_several_passes(60, 60, 4), are_several_passes(9, 38, 22)
        (True, False, False)
    """
    # A loader that drops its last, incomplete batch leaves out other samples in each pass.
    return 3 * distinct_at_first >= 2 * distinct and 2 * repeated >= distinct > 0


def rows_before_first_repeat(first: NDArray[np.int64]) -> int:
    """Return the number of rows before the first repeat.

    Args:
        first: [number of distinct rows] position of the first observation of each row, in any order.
    """
    in_order = np.sort(first)
    late = np.flatnonzero(in_order != np.arange(len(in_order)))
    return int(late[0]) if len(late) else len(in_order)


MOST_WATCHED = 2**24
"""The largest number of samples that are watched, a byte each; of more, every second, third ... one is."""


class RepeatWatch:
    """Signal, by a warning, that the samples of an epoch are observed for the second time, as soon as they are.

    Args:
        n_samples: Number of samples of the run.
        n_expected: Number of samples that this rank observes in an epoch; nothing is said before half of them.
    """

    def __init__(self, n_samples: int, n_expected: int) -> None:
        self._step = -(-n_samples // MOST_WATCHED)
        self._n_watched, self._n_expected = -(-n_samples // self._step), n_expected // self._step
        self.clear()

    def clear(self) -> None:
        """Begin a new epoch."""
        self._seen: NDArray[np.bool_] | None = None
        self._distinct = self._repeated = 0
        self._distinct_at_first: int | None = None
        self._warned = False

    def see(self, sample_ids: Tensor) -> bool:
        """Count a batch, unless its ids are on another device, which would have to be waited for.

        Args:
            sample_ids: [B] int64, from 0 to n_samples - 1.

        Returns:
            Whether another pass begins with this batch: it has the first repeat, after (nearly) all samples.
        """
        if self._warned or sample_ids.device.type != "cpu" or not len(sample_ids):
            return False
        if self._seen is None:
            self._seen = np.zeros(self._n_watched, np.bool_)
        ids = sample_ids.numpy()
        if self._step > 1:
            ids = ids[ids % self._step == 0] // self._step
        new = len(np.unique(ids[~self._seen[ids]]))
        self._seen[ids] = True
        begins_again = False
        if new < len(ids) and self._distinct_at_first is None:
            self._distinct_at_first = self._distinct
            begins_again = 10 * self._distinct >= 9 * self._n_expected
        self._distinct += new
        self._repeated += len(ids) - new
        if self._distinct_at_first is None or 2 * self._distinct < self._n_expected:
            return begins_again
        if are_several_passes(self._distinct_at_first, self._distinct, self._repeated):
            self._warned = True
            watched = "samples" if self._step == 1 else f"samples (those whose id is divisible by {self._step})"
            warnings.warn(
                f"{self._repeated} of {self._distinct} {watched} were observed again since the last end_epoch(), which "
                "keeps the first observation of each: call end_epoch() after each pass over the data",
                stacklevel=3,
            )
        return begins_again
