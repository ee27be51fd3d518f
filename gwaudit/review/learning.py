"""Calibrate an audit in the background while people review it, for the page to follow."""

import threading
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gwaudit.analysis.audit import Audit, rows_of
from gwaudit.analysis.calibrated_audit import calibrate, votes_of_neighbours
from gwaudit.review.decided_samples import DecidedSamples, decided_samples
from gwaudit.review.decision_log import LoggedDecision
from gwaudit.review.decisions import Decisions
from gwaudit.review.estimates import NEXT, estimate_wrong_labels
from gwaudit.review.review_sample import ReviewSample

FIT_EVERY = 10
"""Number of decisions after which the audit is calibrated again."""


class ReviewLearner:
    """Calibrate an audit again after every few decisions, in a thread of its own.

    Args:
        audit: Audit that is reviewed.
        shown: Ids of the labels that the page shows: their rows in the store.
        sample: Random sample that was drawn of the run; None where none was.
        logged: Ids of the labels whose decisions the log of the review holds. The audit may be calibrated on others
            too, which were given in files: these are counted on.
    """

    def __init__(
        self,
        audit: Audit,
        shown: Collection[int],
        sample: ReviewSample | None = None,
        *,
        logged: Collection[int] = (),
    ) -> None:
        self._audit, self._shown, self._sample = audit, np.array(sorted(shown), np.int64), sample
        self._given = audit.by_id("given_label").astype(np.int64)
        self._counted = {i: made for i, made in _counted_decisions(audit).items() if i not in logged}
        self._fitted: dict[int, LoggedDecision] = {}
        self._thread: threading.Thread | None = None
        self._revision = 0
        self._learned: dict[str, Any] = {}
        self._unseen = int((audit.is_to_review() & ~np.isin(audit.rows, self._shown)).sum()) if audit.has_cut else 0

    def follow(self, decisions: Mapping[int, LoggedDecision]) -> None:
        """Begin to calibrate on decisions, by the ids of labels, if enough are new and nothing is being fitted."""
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
            {"revision": the new one, "sentences": texts by the id of their element on the page, as `sentences` returns
            them, "samples": [id, rank, probability, suggested label, category] of each shown label without a decision,
            None for a withheld probability}; None if there is nothing new. Decided labels count as the first ranks, as
            they stand on the page before the others.
        """
        return self._learned if self._learned and self._revision != revision else None

    @cached_property
    def _votes(self) -> NDArray[np.float64] | None:
        return votes_of_neighbours(self._audit)

    def _fit(self, decisions: dict[int, LoggedDecision]) -> None:
        made, decisions = decisions, {**self._counted, **decisions}
        ids = np.fromiter(decisions, np.int64, len(decisions))
        words = [logged.decision for logged in decisions.values()]
        labels = [self._given[i] if logged.label is None else logged.label for i, logged in decisions.items()]
        answers = {"decision": np.array(words, object), "label": np.array(labels, np.int64)}
        frame = pd.DataFrame({**self._audit.names_of(ids), **answers})
        decided = decided_samples(self._audit, Decisions(frame, ()), self._sample)
        calibrated = calibrate(self._audit, frame, decided.is_random, self._votes)
        rows = calibrated.undecided
        ids = rows_of(rows, calibrated.class_names)
        ranks = np.arange(1, len(rows) + 1) + calibrated.n_labels - len(rows)
        is_shown = np.isin(ids, self._shown)
        unseen = int(calibrated.is_to_review().sum()) - int((is_shown & rows["suspect"].to_numpy(bool)).sum())
        rows, ids, ranks = rows[is_shown], ids[is_shown], ranks[is_shown]
        probabilities = rows["probability_wrong"].tolist() if calibrated.has_probabilities else [None] * len(rows)
        suggested, category = (rows[name].tolist() for name in ("suggested_label", "category"))
        columns = (ids.tolist(), ranks.tolist(), probabilities, suggested, category)
        texts = sentences(calibrated, None if self._sample is None else decided)
        if calibrated.has_cut and unseen > self._unseen:
            others = f"{_counted(unseen, 'suspect')} {'is' if unseen == 1 else 'are'} not on this page"
            texts["learned"] += f" {others}: gwaudit rank and a new review show them."
        self._fitted = made
        revision = self._revision + 1
        self._learned = {
            "revision": revision,
            "sentences": texts,
            "samples": [list(row) for row in zip(*columns, strict=True)],
        }
        self._revision = revision


def _counted_decisions(audit: Audit) -> dict[int, LoggedDecision]:
    """Return the decisions that an audit is calibrated on, by the ids of the labels."""
    if audit.calibration is None:
        return {}
    decided = audit.table.select(audit.column("decision") != "")
    relabelled = decided["decision"] == "relabel"
    columns = (rows_of(decided, audit.class_names), decided["decision"], decided["suggested_label"], relabelled)
    return {
        int(row): LoggedDecision(word, int(label) if has_label else None)
        for row, word, label, has_label in zip(*columns, strict=True)
    }


def sentences(audit: Audit, decided: DecidedSamples | None = None) -> dict[str, str]:
    """Return what the page says in numbers of an audit, by the id of the element that shows it; empty for nothing.

    Args:
        audit: Audit that is shown.
        decided: Decisions on it, where a random sample was drawn.

    Returns:
        "suspects": numbers of suspects and of expected wrong labels; "learned": what the decisions changed;
        "estimated": the estimate from decisions on a random sample; "left": numbers that are left to find, briefly.
    """
    return {
        "suspects": _suspects(audit),
        "learned": _learned(audit),
        "estimated": "" if decided is None else _estimated(audit, decided),
        "left": _left(audit),
    }


def _suspects(audit: Audit) -> str:
    if not audit.has_cut:
        return "No cut is offered, so no sample is a suspect. The samples below are the first of the ranking."
    left = audit.is_undecided
    n, n_suspects = int(left.sum()), int((left & audit.column("suspect")).sum())
    open_labels = "labels" if audit.calibration is None else "labels without a decision"
    text = f"{n_suspects:,} of {n:,} {open_labels} ({_share(n_suspects, n)}) are suspect."
    if not audit.has_probabilities:
        return text
    expected = audit.expected_wrong(of_undecided=True)
    if n_suspects:
        wrong = float(expected[n_suspects])
        text += f" About {wrong:,.0f} of these suspects ({_share(wrong, n_suspects)}) are expected to be wrong."
    in_all, n_judged = float(expected[-1]), int((left & audit.is_judged).sum())
    of_all = f"all {open_labels}" if n_judged == n else f"the {n_judged:,} {open_labels} that can be judged"
    return f"{text} About {in_all:,.0f} of {of_all} ({_share(in_all, n_judged)}) are expected to be wrong."


def _learned(audit: Audit) -> str:
    calibration = audit.calibration
    if calibration is None:
        return "The numbers are not yet calibrated on decisions." if audit.has_probabilities else ""
    order = "; the order follows them too" if calibration.scale else ""
    found = (
        f"Calibrated on {_counted(calibration.decided, 'decision')}, which found "
        f"{_counted(calibration.wrong, 'wrong label')}{order}."
    )
    if not audit.has_probabilities:
        return f"{found} How many others are wrong is withheld: 100 decisions on a random sample show it."
    if calibration.left is not None and calibration.is_left_open:
        found += (
            " Few of them are random, so they leave open how many others are wrong ({:,.0f} to {:,.0f}): decisions on "
            "a random sample show it.".format(*calibration.left)
        )
    doubtful = audit.expected_mistakes
    if doubtful < 0.5:
        return found
    return f"{found} About {doubtful:,.0f} of the decisions contradict what the scores are sure of: check them again."


def _estimated(audit: Audit, decided: DecidedSamples) -> str:
    total = estimate_wrong_labels(audit, decided).total
    if total.estimate is None:
        return ""
    limits = f"{total.low:,.0f} to {total.high:,.0f}, 95 % interval"
    return f"By decisions on a random sample, about {total.estimate:,.0f} of all labels are wrong ({limits})."


def _left(audit: Audit) -> str:
    if audit.calibration is None or not audit.has_probabilities:
        return ""
    expected = audit.expected_wrong(of_undecided=True)
    following = min(NEXT, len(expected) - 1)
    left = audit.calibration.left
    limits = "" if left is None else " ({:,.0f} to {:,.0f})".format(*left)
    return (
        f"about {expected[-1]:,.0f}{limits} more expected to be wrong, {expected[following]:,.0f} of the next "
        f"{following:,}"
    )


def _share(part: float, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "0.0%"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
