"""What an audit says of the noise as a whole: which labels stand for which, and how each class fares."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gwaudit.ranking import Audit


def transition_matrix(audit: Audit) -> pd.DataFrame:
    """The estimated share of each class's given labels that truly are of each class.

    A sample counts for its suggested label by the probability of being wrong, and for its given one by the rest.

    Returns:
        [C, C], given labels in the rows and true ones in the columns, by class name; each row sums to 1, and is NaN
        where no sample has the label.
    """
    counts = expected_counts(audit)
    total = counts.sum(1, keepdims=True)
    with np.errstate(invalid="ignore"):
        shares = counts / np.where(total > 0, total, np.nan)
    names = list(audit.class_names)
    return pd.DataFrame(shares, index=pd.Index(names, name="given"), columns=pd.Index(names, name="true"))


def class_health(audit: Audit) -> pd.DataFrame:
    """How each class fares, a row each by name.

    Returns:
        Columns `given` (samples with the label), `expected_wrong` (of these), `share_wrong`, `expected_missing` (of the
        class, under another label), `mistaken_for` (the class that most of the wrong ones are of) and `suspects`.
    """
    counts = expected_counts(audit)
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    given = audit.frame["given_label"].to_numpy()
    n_given = np.bincount(given, minlength=len(counts))
    names = np.array(audit.class_names, object)
    with np.errstate(invalid="ignore"):
        share = wrong.sum(1) / np.where(n_given > 0, n_given, np.nan)
    return pd.DataFrame(
        {
            "given": n_given,
            "expected_wrong": wrong.sum(1),
            "share_wrong": share,
            "expected_missing": wrong.sum(0),
            "mistaken_for": np.where(wrong.max(1) > 0, names[wrong.argmax(1)], ""),
            "suspects": np.bincount(given[audit.frame["suspect"].to_numpy(bool)], minlength=len(counts)),
        },
        index=pd.Index(names, name="class"),
    )


def confused_pairs(audit: Audit) -> pd.DataFrame:
    """Which labels stand for which, the most frequent error first.

    Returns:
        Columns `given`, `true`, `expected` (number of samples) and `share` (of all the samples expected to be wrong).
    """
    counts = expected_counts(audit)
    np.fill_diagonal(counts, 0)
    given, true = np.nonzero(counts)
    order = np.argsort(-counts[given, true], kind="stable")
    given, true = given[order], true[order]
    names = np.array(audit.class_names, object)
    expected = counts[given, true]
    return pd.DataFrame(
        {
            "given": names[given],
            "true": names[true],
            "expected": expected,
            "share": expected / max(expected.sum(), 1e-12),
        }
    )


def expected_counts(audit: Audit) -> NDArray[np.float64]:
    """[C, C] expected numbers of samples by given (row) and true label (column)."""
    n_classes = len(audit.class_names)
    given = audit.frame["given_label"].to_numpy()
    suggested = audit.frame["suggested_label"].to_numpy()
    probability = np.nan_to_num(audit.frame["probability_wrong"].to_numpy(np.float64))
    probability = np.where(suggested >= 0, probability, 0.0)
    counts = np.zeros((n_classes, n_classes))
    np.add.at(counts, (given, np.where(suggested >= 0, suggested, given)), probability)
    np.add.at(counts, (given, given), 1 - probability)
    return counts
