"""A ranking against ground truth. A sample counts as positive where its given label is wrong."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from gwaudit.analysis.audit import Audit
from gwaudit.analysis.noise import transition_matrix
from gwaudit.core.errors import DataError

CHECKED_COUNTS = (500, 1000, 2000, 5000)
"""Where the expected number of wrong labels among the first is held against the found one."""

HARDEST_SHARE = 0.1


@dataclass(frozen=True)
class Quality:
    """How well a ranking, and a cut of it, finds the wrong labels; in [0, 1] but the counts, NaN where undefined.

    Attributes:
        n: samples.
        n_wrong: samples whose given label is not the true one.
        n_suspects: samples flagged at the cut.
        precision: share of the suspects that are wrong (undefined without suspects).
        recall: share of the wrong that are suspects (undefined without wrong labels).
        f1: harmonic mean of the two.
        best_f1: the highest F1 that any cut of this ranking has.
        best_f1_suspects: how many that cut flags.
        precision_at_true_count: precision among the n_wrong most suspicious; one less it is the share of the wrong
            that a budget of n_wrong misses.
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
        """As JSON can hold it: None where undefined."""
        return {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in asdict(self).items()}


@dataclass(frozen=True)
class ExpectedCount:
    """Among the `first` most suspicious: the number of wrong labels that was `expected`, and that was `found`."""

    first: int
    expected: float
    found: int


@dataclass(frozen=True)
class Evaluation(Quality):
    """How well an audit found the wrong labels.

    Attributes:
        suggested_accuracy: share of the wrong whose suggested label is the true one.
        suggested_accuracy_flagged: the same among the wrong that are flagged.
        expected_wrong: number of wrong labels that the audit expects, to hold against `n_wrong`.
        expected_counts: the same for the first 500, 1,000, 2,000, 5,000 and for the suspects.
        hard_flagged: of the right labels with the highest mean loss (a tenth of the right ones), the share flagged.
        transition_error: mean absolute error of the estimated noise transition matrix (given to true label).
        class_error: mean absolute error of each class's estimated share of wrong labels.
        missing: where samples have any number of classes, how well the labels were found that are true and not given:
            of the pairs whose class is not given alone.
        superfluous: the same of the labels that are given and not true.
    """

    suggested_accuracy: float
    suggested_accuracy_flagged: float
    expected_wrong: float
    expected_counts: tuple[ExpectedCount, ...]
    hard_flagged: float
    transition_error: float
    class_error: float
    missing: Quality | None = None
    superfluous: Quality | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it: None where undefined; missing and superfluous only where there are such."""
        kinds = {"missing": self.missing, "superfluous": self.superfluous}
        plain = {name: value for name, value in super().to_dict().items() if name not in kinds}
        return plain | {name: kind.to_dict() for name, kind in kinds.items() if kind is not None}


def quality(score: ArrayLike, wrong: ArrayLike, flagged: ArrayLike | None = None) -> Quality:
    """Score a ranking of n samples.

    Args:
        score: [n] higher is more suspicious; NaN, never scored, is the least suspicious of all.
        wrong: [n] whether the given label is wrong.
        flagged: [n] what is flagged; nothing unless told.
    """
    values, positive = _filled(score), np.asarray(wrong, bool)
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
    """Score an audit.

    Args:
        audit: of n samples.
        true_labels: [n] the true label of each sample id.

    Raises:
        DataError: another number of labels.
    """
    truth = _truth_by_rank(audit, true_labels)
    frame = audit.frame
    wrong = frame["given_label"].to_numpy() != truth
    suspect = frame["suspect"].to_numpy(bool)
    right_suggestion = frame["suggested_label"].to_numpy() == truth
    plain = quality(frame["log_odds_wrong"].to_numpy(), wrong, suspect)
    expected, found = audit.expected_wrong(), np.concatenate([[0], np.cumsum(wrong)])
    counts = sorted({*(k for k in CHECKED_COUNTS if k <= plain.n), plain.n_suspects})
    loss = np.where(wrong, -np.inf, np.nan_to_num(frame["mean_loss"].to_numpy(np.float64), nan=-np.inf))
    hardest = np.argsort(-loss, kind="stable")[: round((plain.n - plain.n_wrong) * HARDEST_SHARE)]
    error = _transition_error(audit, truth)
    kinds: dict[str, Any] = {}
    if audit.is_multi_label:
        given = frame["given_label"].to_numpy()
        for kind, answer in (("missing", 0), ("superfluous", 1)):
            of = given == answer
            kinds[kind] = quality(frame["log_odds_wrong"].to_numpy()[of], wrong[of], suspect[of])
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
        **kinds,
    )


def pr_curve(audit: Audit, true_labels: ArrayLike) -> pd.DataFrame:
    """Precision and recall at every cut: columns `threshold`, `precision`, `recall`, from the loosest cut on.

    Raises:
        DataError: another number of labels.
    """
    wrong = audit.frame["given_label"].to_numpy() != _truth_by_rank(audit, true_labels)
    precision, recall, thresholds = precision_recall_curve(wrong, _filled(audit.frame["log_odds_wrong"].to_numpy()))
    return pd.DataFrame({"threshold": thresholds, "precision": precision[:-1], "recall": recall[:-1]})


def _truth_by_rank(audit: Audit, true_labels: ArrayLike) -> NDArray[np.int64]:
    truth = np.asarray(true_labels)
    expected = (audit.n_samples, len(audit.class_names)) if audit.is_multi_label else (audit.n_samples,)
    if truth.shape != expected:
        each = f"{expected} of 0 and 1 are needed" if audit.is_multi_label else "one each is needed"
        raise DataError(f"{truth.shape} true labels for the {expected[0]} samples of {audit.run}: {each}")
    return np.asarray(truth.reshape(-1)[audit.rows], np.int64)


def _filled(score: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(score, np.float64)
    scored = values[~np.isnan(values)]
    return np.where(np.isnan(values), (scored.min() if len(scored) else 0.0) - 1, values)


def _transition_error(audit: Audit, truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """[k, k] absolute errors of the estimated transition matrix, for the k classes that any sample has."""
    given, n_classes = audit.frame["given_label"].to_numpy(), len(audit.answers)
    counts = np.zeros((n_classes, n_classes))
    np.add.at(counts, (given, truth), 1)
    there = np.unique(given)
    rows = counts[there].sum(1, keepdims=True)
    error = np.abs(transition_matrix(audit).to_numpy()[there] - counts[there] / rows)
    return np.asarray(error[:, there])


def _best_f1(wrong: NDArray[np.bool_], score: NDArray[np.float64]) -> tuple[float, int]:
    if not wrong.any():
        return float("nan"), 0
    precision, recall, thresholds = precision_recall_curve(wrong, score)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    best = int(np.argmax(f1[:-1]))
    return float(f1[best]), int((score >= thresholds[best]).sum())


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
