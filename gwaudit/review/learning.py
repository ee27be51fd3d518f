"""Calibrate an audit in the background while people review it, for the page to follow."""

import threading
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gwaudit.analysis.audit import Audit
from gwaudit.analysis.calibrated_audit import calibrate, votes_of_neighbours
from gwaudit.review.decided_samples import decided_samples
from gwaudit.review.decision_log import LoggedDecision
from gwaudit.review.decisions import Decisions
from gwaudit.review.review_sample import ReviewSample

FIT_EVERY = 10
"""Number of decisions after which the audit is calibrated again."""


class ReviewLearner:
    """Calibrate an audit again after every few decisions, in a thread of its own.

    Args:
        audit: Audit that is reviewed.
        shown: Ids of the samples that the page shows.
        sample: Random sample that was drawn of the run; None where none was.
    """

    def __init__(self, audit: Audit, shown: Collection[int], sample: ReviewSample | None = None) -> None:
        self._audit, self._shown, self._sample = audit, np.array(sorted(shown), np.int64), sample
        self._given = audit.by_id("given_label").astype(np.int64)
        self._fitted: dict[int, LoggedDecision] = {}
        self._thread: threading.Thread | None = None
        self._revision = 0
        self._learned: dict[str, Any] = {}

    def follow(self, decisions: Mapping[int, LoggedDecision]) -> None:
        """Begin to calibrate on decisions, by sample id, if enough of them are new and nothing is being fitted."""
        if self._thread is not None and self._thread.is_alive():
            return
        changed = sum(self._fitted.get(i) != decisions.get(i) for i in self._fitted.keys() | decisions.keys())
        if changed >= FIT_EVERY or (changed and not decisions):
            self._thread = threading.Thread(target=self._fit, args=(dict(decisions),), daemon=True)
            self._thread.start()

    def wait(self) -> None:
        """Return when nothing is being fitted."""
        if self._thread is not None:
            self._thread.join()

    def learned_since(self, revision: int) -> dict[str, Any] | None:
        """Return what the page has to show, if it is another calibration than the one that the page has seen.

        Args:
            revision: Revision of the calibration that the page has seen; 0 for none.

        Returns:
            {"revision": the new one, "headline": sentences, "samples": [id, rank, probability, suggested label] of each
            shown sample without a decision, None for a withheld probability}; None if there is nothing new.
        """
        return self._learned if self._learned and self._revision != revision else None

    @cached_property
    def _votes(self) -> NDArray[np.float64] | None:
        return votes_of_neighbours(self._audit)

    def _fit(self, decisions: dict[int, LoggedDecision]) -> None:
        ids = np.fromiter(decisions, np.int64, len(decisions))
        words = [logged.decision for logged in decisions.values()]
        labels = [self._given[i] if logged.label is None else logged.label for i, logged in decisions.items()]
        frame = pd.DataFrame(
            {"sample_id": ids, "decision": np.array(words, object), "label": np.array(labels, np.int64)}
        )
        decided = decided_samples(self._audit.n_samples, Decisions(frame, ()), self._sample)
        calibrated = calibrate(self._audit, frame, decided.is_random, self._votes)
        rows = calibrated.undecided
        rows = rows[rows["sample_id"].isin(self._shown)]
        probabilities = rows["probability_wrong"].tolist() if calibrated.has_probabilities else [None] * len(rows)
        columns = (rows["sample_id"].tolist(), rows["rank"].tolist(), probabilities, rows["suggested_label"].tolist())
        self._fitted = decisions
        revision = self._revision + 1
        self._learned = {
            "revision": revision,
            "headline": headline(calibrated),
            "samples": [list(row) for row in zip(*columns, strict=True)],
        }
        self._revision = revision


def headline(audit: Audit) -> str:
    """Return what decisions say of an audit, as sentences."""
    calibration = audit.calibration
    if calibration is None:
        return "The numbers are not yet calibrated on decisions." if audit.has_probabilities else ""
    order = "; the order follows them too" if calibration.scale else ""
    found = f"Calibrated on {calibration.decided:,} decisions, which found {calibration.wrong:,} wrong labels{order}."
    if not audit.has_probabilities:
        return f"{found} How many others are wrong is withheld: 100 decisions on a random sample show it."
    expected, mistakes = audit.expected_wrong(of_undecided=True)[-1], audit.expected_mistakes
    doubt = "" if mistakes < 0.5 else f" About {mistakes:,.0f} of the decisions seem to be mistakes."
    return f"{found}{doubt} Of the {len(audit.undecided):,} without a decision, about {expected:,.0f} are wrong."
