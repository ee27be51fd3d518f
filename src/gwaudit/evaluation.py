"""An audit against ground truth. A sample counts as positive where its given label is wrong."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from gwaudit.errors import DataError
from gwaudit.ranking import Audit


@dataclass(frozen=True)
class Evaluation:
    """How well an audit found the wrong labels; all in [0, 1] but the counts, NaN where undefined.

    Attributes:
        n: samples.
        n_wrong: samples whose given label is not the true one.
        n_suspects: samples flagged at the audit's cut.
        precision: share of the suspects that are wrong (undefined without suspects).
        recall: share of the wrong that are suspects (undefined without wrong labels).
        f1: harmonic mean of the two.
        best_f1: the highest F1 that any cut of this ranking has.
        best_f1_suspects: how many that cut flags.
        precision_at_true_count: precision among the n_wrong most suspicious.
        average_precision: area under the precision-recall curve, as scikit-learn defines it.
        auroc: area under the ROC curve (undefined unless there are right and wrong labels).
        suggested_accuracy: share of the wrong whose suggested label is the true one.
        suggested_accuracy_flagged: the same among the wrong that are flagged.
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
    suggested_accuracy: float
    suggested_accuracy_flagged: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it: None where undefined."""
        return {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in asdict(self).items()}


def evaluate(audit: Audit, true_labels: ArrayLike) -> Evaluation:
    """Score an audit.

    Args:
        audit: of n samples.
        true_labels: [n] the true label of each sample id.

    Raises:
        DataError: another number of labels.
    """
    wrong, score = _wrong_and_score(audit, true_labels)
    truth = np.asarray(true_labels)[audit.frame["sample_id"].to_numpy()]
    suspect = audit.frame["suspect"].to_numpy(bool)
    right_suggestion = audit.frame["suggested_label"].to_numpy() == truth
    n_wrong, n_suspects, found = int(wrong.sum()), int(suspect.sum()), int((suspect & wrong).sum())
    best_f1, best_count = _best_f1(wrong, score)
    mixed = 0 < n_wrong < len(wrong)
    return Evaluation(
        n=len(wrong),
        n_wrong=n_wrong,
        n_suspects=n_suspects,
        precision=_ratio(found, n_suspects),
        recall=_ratio(found, n_wrong),
        f1=_ratio(2 * found, n_suspects + n_wrong),
        best_f1=best_f1,
        best_f1_suspects=best_count,
        precision_at_true_count=_ratio(int(wrong[:n_wrong].sum()), n_wrong),
        average_precision=float(average_precision_score(wrong, score)) if n_wrong else float("nan"),
        auroc=float(roc_auc_score(wrong, score)) if mixed else float("nan"),
        suggested_accuracy=_ratio(int((wrong & right_suggestion).sum()), n_wrong),
        suggested_accuracy_flagged=_ratio(int((wrong & suspect & right_suggestion).sum()), found),
    )


def pr_curve(audit: Audit, true_labels: ArrayLike) -> pd.DataFrame:
    """Precision and recall at every cut: columns `threshold`, `precision`, `recall`, from the loosest cut on.

    Raises:
        DataError: another number of labels.
    """
    wrong, score = _wrong_and_score(audit, true_labels)
    precision, recall, thresholds = precision_recall_curve(wrong, score)
    return pd.DataFrame({"threshold": thresholds, "precision": precision[:-1], "recall": recall[:-1]})


def _wrong_and_score(audit: Audit, true_labels: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """In the order of the ranking. What was never recorded is the least suspicious of all."""
    truth = np.asarray(true_labels)
    if truth.shape != (len(audit.frame),):
        raise DataError(
            f"{truth.shape} true labels for the {len(audit.frame)} samples of {audit.run}: one each is needed"
        )
    wrong = audit.frame["given_label"].to_numpy() != truth[audit.frame["sample_id"].to_numpy()]
    score = audit.frame["score"].to_numpy(np.float64)
    recorded = score[~np.isnan(score)]
    return wrong, np.where(np.isnan(score), (recorded.min() if len(recorded) else 0.0) - 1, score)


def _best_f1(wrong: NDArray[np.bool_], score: NDArray[np.float64]) -> tuple[float, int]:
    if not wrong.any():
        return float("nan"), 0
    precision, recall, thresholds = precision_recall_curve(wrong, score)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    best = int(np.argmax(f1[:-1]))
    return float(f1[best]), int((score >= thresholds[best]).sum())


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
