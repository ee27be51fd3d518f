"""Read what people have decided about a run, with how each decided label got there: drawn at random, or not.

A decision says that a given label is wrong (`relabel`, `drop`) or right (`keep`). `unsure` says neither: the label
stays undecided, and its number is counted. So does one that two files decide differently. The id of a label is its row
in the store: that of the sample, or `sample * C + class` in multi-label data.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gwaudit.analysis.audit import Audit, rows_of
from gwaudit.core.errors import UnresolvedDecisionsError
from gwaudit.data.url_copies import local_file
from gwaudit.review.decisions import Decisions, listed_files, read_decisions
from gwaudit.review.review_sample import ReviewSample, load_sample

DECISIONS_FILE = "decisions.csv"
"""Name of the file in which a run keeps the decisions of its reviews."""

LEAST_ANSWERED = 0.8
"""The share of the drawn labels that people have to have looked at, from the first in random order on, for the decided
ones to stand for the others. Beyond it the decided ones are few that somebody chose."""


@dataclass(frozen=True, eq=False)
class DecidedSamples:
    """Hold what is decided about each label of a run, by its id.

    Attributes:
        is_wrong: Whether the given label was found wrong, [n].
        is_right: Whether the given label was found right, [n].
        is_unsure: Whether somebody looked and could not decide, [n].
        is_random: Whether the decision is one of a random sample of its stratum, [n]: it was drawn, and decided in the
            order of the draw. The others are known for themselves alone.
        cell: Number of the part of the ranking that each label is counted in, [n], from 0: its stratum, cut where
            people have decided about the top of it.
        weight: Number of labels for which each decided one stands, [n]: 1 for one that was not drawn; for a random
            one, the number of others in its cell divided by the random ones; 0 for undecided labels.
        sample: The sample that was drawn; None where none was.
        decisions: The decisions as they were read, with their problems and notes.
    """

    is_wrong: NDArray[np.bool_]
    is_right: NDArray[np.bool_]
    is_unsure: NDArray[np.bool_]
    is_random: NDArray[np.bool_]
    cell: NDArray[np.int64]
    weight: NDArray[np.float64]
    sample: ReviewSample | None
    decisions: Decisions

    @property
    def is_decided(self) -> NDArray[np.bool_]:
        """Return whether each given label was found right or wrong, [n]."""
        return self.is_wrong | self.is_right


def read_decided(
    audit: Audit, files: Path | str | Sequence[Path | str] = (), *, run_decisions: bool = True, with_sample: bool = True
) -> DecidedSamples:
    """Read the decisions of a run, and of further files.

    Args:
        audit: Audit of the run.
        files: Further files with decisions, as `read_decisions` takes them.
        run_decisions: Whether to read the run's own `decisions.csv`, where there is one.
        with_sample: Whether to read the sample that was drawn; without it no decision is random.

    Raises:
        DataError: A file cannot be read, or is about other data.
        StoreDamagedError: The sample of the run is damaged.
    """
    own = audit.run / DECISIONS_FILE
    paths = [own] if run_decisions and own.exists() else []
    paths += [file for file in map(local_file, listed_files(files)) if not (paths and file.resolve() == own.resolve())]
    decisions = read_decisions(paths, audit)
    if audit.calibration is not None:
        counted = audit.rows[audit.column("decision") != ""]
        if missing := len(np.setdiff1d(counted, rows_of(decisions.frame, audit.class_names))):
            note = (
                f"The ranking is calibrated on {missing:,} decision{'s' * (missing != 1)} more, which {DECISIONS_FILE} "
                "of the run does not hold: give their file too."
            )
            decisions = replace(decisions, notes=(*decisions.notes, note))
    return decided_samples(audit, decisions, load_sample(audit) if with_sample else None)


def require_usable(decisions: Decisions, refused: str) -> None:
    """Raise UnresolvedDecisionsError if decisions contradict each other or are invalid.

    Args:
        decisions: Decisions as they were read.
        refused: What is not done because of them, as the beginning of the message.
    """
    if problems := decisions.problems:
        raise UnresolvedDecisionsError(
            f"{refused}, as {len(problems)} decision{'s' * (len(problems) > 1)} cannot be used, and which these are "
            "depends on the answers: fix the files",
            problems,
        )


def decided_samples(audit: Audit, decisions: Decisions, sample: ReviewSample | None) -> DecidedSamples:
    """Return what is decided about the labels of a run, from decisions and the random sample that was drawn."""
    n, frame = audit.n_labels, decisions.frame
    ids, words = rows_of(frame, audit.class_names), frame["decision"].to_numpy(str)
    is_wrong, is_right, is_unsure = (np.zeros(n, bool) for _ in range(3))
    is_wrong[ids[np.isin(words, ("relabel", "drop"))]] = True
    is_right[ids[words == "keep"]] = True
    is_unsure[ids[words == "unsure"]] = True
    is_decided = is_wrong | is_right
    is_random, cell = np.zeros(n, bool), np.zeros(n, np.int64)
    if sample is not None:
        is_random = _random_decisions(sample, is_decided, is_unsure)
        cell = _cells(sample, is_decided & ~is_random, ~is_decided)
    weight = _weights(cell, is_decided, is_random)
    return DecidedSamples(is_wrong, is_right, is_unsure, is_random, cell, weight, sample, decisions)


def _cells(sample: ReviewSample, is_chosen: NDArray[np.bool_], is_undecided: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the cell of each label, [n]: the strata, each cut below those at its top that were decided.

    People who review the most suspicious samples first decide the top of a stratum: what was drawn there does not stand
    for the rest. The cut depends on the labels that are not random decisions alone, so that these are a random sample
    of both parts. It is where decided samples above it and undecided ones below it are most.

    Args:
        sample: The sample that was drawn.
        is_chosen: Whether each label was decided, but not at random, [n].
        is_undecided: Whether each label is undecided, [n].
    """
    cell = np.zeros(len(is_chosen), np.int64)
    first = 0
    for stratum in np.unique(sample.stratum):
        members = np.flatnonzero(sample.stratum == stratum)
        members = members[np.argsort(sample.rank[members])]
        gain = np.cumsum(is_chosen[members].astype(np.int64) - is_undecided[members])
        best = len(gain) - 1 - int(gain[::-1].argmax())  # the last: random decisions at the cut do not stand for more
        top = members[: best + 1] if gain[best] > 0 else members[:0]
        cell[members] = first
        cell[top] = first + 1
        first += 2
    return np.asarray(np.unique(cell, return_inverse=True)[1], np.int64)


def _weights(
    cell: NDArray[np.int64], is_decided: NDArray[np.bool_], is_random: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the number of labels for which each decided one stands, [n]."""
    weight = is_decided.astype(np.float64)
    n_cells = int(cell.max(initial=-1)) + 1
    others = np.bincount(cell[~is_decided | is_random], minlength=n_cells)
    random = np.bincount(cell[is_random], minlength=n_cells)
    weight[is_random] = (others / np.maximum(random, 1))[cell[is_random]]
    return weight


def _random_decisions(
    sample: ReviewSample, is_decided: NDArray[np.bool_], is_unsure: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return which decided labels are a random sample of their stratum, [n].

    These are the decided ones among the first k in random order, for the largest k of which enough were looked at: of
    all strata together, after any enlargement of the draw, and of each stratum. Somebody may have decided a few drawn
    samples for another reason, as the most suspicious ones: these do not stand for their stratum. Nor do those of
    somebody who filled in the wrong labels alone, although they are most of a stratum of suspects.
    """
    is_looked_at = is_decided | is_unsure
    is_first, is_random = np.zeros((2, len(is_decided)), bool)
    for n_draws in range(1, len(sample.draws) + 1):
        ids = replace(sample, draws=sample.draws[:n_draws]).ids()
        is_first[_first_looked_at(ids, is_looked_at)] = True
    for stratum in range(len(sample.draws[-1])):
        members = np.flatnonzero((sample.stratum == stratum) & is_first)
        first = _first_looked_at(members[np.argsort(sample.order[members])], is_looked_at)
        is_random[first[is_decided[first]]] = True
    return is_random


def _first_looked_at(ids: NDArray[np.int64], is_looked_at: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the first of some labels in random order, for the largest number of which enough were looked at."""
    looked_at = is_looked_at[ids]
    enough = np.flatnonzero((np.cumsum(looked_at) / np.arange(1, len(ids) + 1) >= LEAST_ANSWERED) & looked_at)
    return ids[: enough[-1] + 1] if len(enough) else ids[:0]
