"""Measure a ranking against ground truth. A sample is positive if its given label is wrong."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from gwaudit.analysis.audit import Audit, require_audit
from gwaudit.analysis.noise import transition_matrix
from gwaudit.core.errors import DataError
from gwaudit.core.json import without_nan
from gwaudit.data.labels import class_indices

CHECKED_COUNTS = (500, 1000, 2000, 5000)
"""Numbers of first samples for which the expected number of wrong labels is compared with the found one."""

HARDEST_SHARE = 0.1


@dataclass(frozen=True)
class Quality:
    """Measure how well a ranking and its cut find the wrong labels. Shares are in [0, 1], NaN if undefined.

    Attributes:
        n: number of samples.
        n_wrong: number of samples whose given label is not the true one.
        n_suspects: number of samples that the cut flags.
        precision: share of the suspects that are wrong (undefined without suspects).
        recall: share of the wrong that are suspects (undefined without wrong labels).
        f1: harmonic mean of precision and recall.
        best_f1: the highest F1 of all cuts of this ranking.
        best_f1_suspects: number of samples that the cut with the highest F1 flags.
        precision_at_true_count: precision among the n_wrong most suspicious samples; 1 - it is the share of the wrong
            labels that a budget of n_wrong misses.
        average_precision: area under the precision-recall curve, as scikit-learn defines it.
        auroc: area under the ROC curve (undefined unless there are right and wrong labels).
    """

    n: int
    n_wrong: int
    n_suspects: int
    precision: float
    recall: float
    f1: float
    best_f1: float
    best_f1_suspects: int
    precision_at_true_count: float
    average_precision: float
    auroc: float

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON can hold them: None where undefined."""
        values: dict[str, Any] = without_nan(asdict(self))
        return values


@dataclass(frozen=True)
class ExpectedCount:
    """Compare the expected with the found number of wrong labels among the most suspicious samples.

    Attributes:
        first: number of samples, from the most suspicious on.
        expected: number of wrong labels that the audit expects among them.
        found: number of wrong labels among them.
    """

    first: int
    expected: float
    found: int


@dataclass(frozen=True)
class Evaluation(Quality):
    """Measure how well an audit found the wrong labels.

    Attributes:
        suggested_accuracy: share of the wrong labels whose suggested label is the true one.
        suggested_accuracy_flagged: the same among the wrong labels that are flagged.
        expected_wrong: number of wrong labels that the audit expects, to compare with `n_wrong`.
        expected_counts: expected and found number among the first 500, 1,000, 2,000, 5,000 and among the suspects.
        hard_flagged: share flagged of the right labels with the highest mean loss (a tenth of all right labels).
        transition_error: mean absolute error of the estimated noise transition matrix (given to true label).
        class_error: mean absolute error of the estimated share of wrong labels of each class.
        missing: in a multi-label audit, how well missing labels were found (absent, though true): of the rows whose
            class is not given.
        extra: the same of extra labels (present, though not true): of the rows whose class is given.
    """

    suggested_accuracy: float
    suggested_accuracy_flagged: float
    expected_wrong: float
    expected_counts: tuple[ExpectedCount, ...]
    hard_flagged: float
    transition_error: float
    class_error: float
    missing: Quality | None = None
    extra: Quality | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON can hold them: None where undefined, `missing` and `extra` if multi-label."""
        kinds = {"missing": self.missing, "extra": self.extra}
        plain = {name: value for name, value in super().to_dict().items() if name not in kinds}
        return plain | {name: kind.to_dict() for name, kind in kinds.items() if kind is not None}


def quality(score: ArrayLike, wrong: ArrayLike, flagged: ArrayLike | None = None) -> Quality:
    """Measure a ranking of n samples.

    Args:
        score: [n], higher is more suspicious; NaN (never recorded) is the least suspicious of all.
        wrong: [n] whether the given label is wrong.
        flagged: [n] whether the sample is flagged; by default none is.
    """
    values, positive = _nan_as_lowest(score), np.asarray(wrong, bool)
    suspect = np.zeros(len(values), bool) if flagged is None else np.asarray(flagged, bool)
    n_wrong, n_suspects, found = int(positive.sum()), int(suspect.sum()), int((suspect & positive).sum())
    best_f1, best_count = _best_f1(positive, values)
    first = np.argsort(-values, kind="stable")[:n_wrong]
    return Quality(
        n=len(positive),
        n_wrong=n_wrong,
        n_suspects=n_suspects,
        precision=_ratio(found, n_suspects),
        recall=_ratio(found, n_wrong),
        f1=_ratio(2 * found, n_suspects + n_wrong),
        best_f1=best_f1,
        best_f1_suspects=best_count,
        precision_at_true_count=_ratio(int(positive[first].sum()), n_wrong),
        average_precision=float(average_precision_score(positive, values)) if n_wrong else float("nan"),
        auroc=float(roc_auc_score(positive, values)) if 0 < n_wrong < len(positive) else float("nan"),
    )


def evaluate(audit: Audit, true_labels: ArrayLike) -> Evaluation:
    """Measure an audit against the true labels.

    Args:
        audit: an audit of n samples.
        true_labels: [n] the true label of each sample id, a class or its name; [n, C] of 0 and 1 for a multi-label
            audit.

    Raises:
        DataError: There is another number of labels, or a name is none of the classes.
    """
    require_audit(audit)
    truth = _truth_by_rank(audit, true_labels)
    wrong, suspect = audit.column("given_label") != truth, audit.column("suspect").astype(bool)
    right_suggestion = audit.column("suggested_label") == truth
    plain = quality(_judged_log_odds(audit), wrong, suspect)
    expected, found = audit.expected_wrong(), np.concatenate([[0], np.cumsum(wrong)])
    counts = sorted({*(k for k in CHECKED_COUNTS if k <= plain.n), plain.n_suspects})
    loss = np.where(wrong, -np.inf, np.nan_to_num(audit.column("mean_loss").astype(np.float64), nan=-np.inf))
    hardest = np.argsort(-loss, kind="stable")[: round((plain.n - plain.n_wrong) * HARDEST_SHARE)]
    error = _transition_error(audit, truth)
    return Evaluation(
        **asdict(plain),
        suggested_accuracy=_ratio(int((wrong & right_suggestion).sum()), plain.n_wrong),
        suggested_accuracy_flagged=_ratio(
            int((wrong & suspect & right_suggestion).sum()), int((wrong & suspect).sum())
        ),
        expected_wrong=float(expected[-1]),
        expected_counts=tuple(ExpectedCount(k, float(expected[k]), int(found[k])) for k in counts),
        hard_flagged=_ratio(int(suspect[hardest].sum()), len(hardest)),
        transition_error=float(error.mean()),
        class_error=float(error.diagonal().mean()),
        missing=_quality_of_answer(audit, wrong, suspect, 0),
        extra=_quality_of_answer(audit, wrong, suspect, 1),
    )


def pr_curve(audit: Audit, true_labels: ArrayLike) -> pd.DataFrame:
    """Return precision and recall at every cut: columns `threshold`, `precision`, `recall`, from the lowest cut on.

    Raises:
        DataError: There is another number of labels.
    """
    wrong = audit.column("given_label") != _truth_by_rank(audit, true_labels)
    precision, recall, thresholds = precision_recall_curve(wrong, _nan_as_lowest(_judged_log_odds(audit)))
    return pd.DataFrame({"threshold": thresholds, "precision": precision[:-1], "recall": recall[:-1]})


def _quality_of_answer(
    audit: Audit, wrong: NDArray[np.bool_], suspect: NDArray[np.bool_], answer: int
) -> Quality | None:
    """Return how well the wrong labels were found in the rows whose given answer is 0 or 1; None if single-label."""
    if not audit.is_multi_label:
        return None
    rows = audit.column("given_label") == answer
    return quality(_judged_log_odds(audit)[rows], wrong[rows], suspect[rows])


def _judged_log_odds(audit: Audit) -> NDArray[np.float32]:
    """Return the log odds in the order of the ranking, [n]; NaN, last as there, where a label cannot be judged."""
    return np.where(audit.is_judged, audit.column("log_odds_wrong"), np.float32(np.nan))


def _truth_by_rank(audit: Audit, true_labels: ArrayLike) -> NDArray[np.int64]:
    truth = np.asarray(true_labels)
    expected = (audit.n_samples, len(audit.class_names)) if audit.is_multi_label else (audit.n_samples,)
    if truth.shape != expected:
        needed = f"{expected} of 0 and 1 are needed" if audit.is_multi_label else "one each is needed"
        raise DataError(f"{truth.shape} true labels for the {expected[0]} samples of {audit.run}: {needed}")
    if truth.dtype.kind in "OUS" and not audit.is_multi_label:
        truth = _classes_of(truth.tolist(), audit)
    n_values = 2 if audit.is_multi_label else len(audit.class_names)
    unknown = np.argwhere(~np.isin(truth, np.arange(n_values)))
    if len(unknown):
        raise DataError(
            f"the true label of sample {unknown[0][0]} of {audit.run} is {truth[tuple(unknown[0])]}: the truth of each "
            f"sample is needed, as numbers from 0 to {n_values - 1}" + ("" if audit.is_multi_label else " or names")
        )
    return np.asarray(truth.reshape(-1)[audit.rows], np.int64)


def _classes_of(names: list[Any], audit: Audit) -> NDArray[np.int64]:
    """Return the classes [n] of true labels that are names."""
    found = class_indices(names, audit.class_names, numbers_are_indices=True)
    for row in np.flatnonzero(found.labels < 0).tolist():
        reason = found.broken.get(row, "is no label")
        raise DataError(f"the true label of sample {row} {reason}: give one of the classes of {audit.run}")
    return found.labels


def _nan_as_lowest(score: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(score, np.float64)
    recorded = values[~np.isnan(values)]
    return np.where(np.isnan(values), (recorded.min() if len(recorded) else 0.0) - 1, values)


def _transition_error(audit: Audit, truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the absolute errors of the estimated transition matrix, [k, k], for the k classes that are given."""
    given, n_classes = audit.column("given_label"), len(audit.answers)
    counts = np.zeros((n_classes, n_classes))
    np.add.at(counts, (given, truth), 1)
    present = np.unique(given)
    rows = counts[present].sum(1, keepdims=True)
    error = np.abs(transition_matrix(audit).to_numpy()[present] - counts[present] / rows)
    return np.asarray(error[:, present])


def _best_f1(wrong: NDArray[np.bool_], score: NDArray[np.float64]) -> tuple[float, int]:
    if not wrong.any():
        return float("nan"), 0
    precision, recall, thresholds = precision_recall_curve(wrong, score)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    best = int(np.argmax(f1[:-1]))
    return float(f1[best]), int((score >= thresholds[best]).sum())


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
