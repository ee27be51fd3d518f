"""What an audit says of the noise as a whole: which labels stand for which, and how each class fares."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gwaudit.analysis.audit import Audit


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
    names = list(audit.answers)
    return pd.DataFrame(shares, index=pd.Index(names, name="given"), columns=pd.Index(names, name="true"))


def class_health(audit: Audit) -> pd.DataFrame:
    """How each class fares, a row each by name.

    Returns:
        Columns `given` (samples with the label), `expected_wrong` (of these), `share_wrong`, `expected_missing` (of the
        class, under another label), `mistaken_for` (the class that most of the wrong ones are of) and `suspects`.

        Where samples have any number of classes `expected_missing` is of those that lack the class, and
        `share_missing` its share of all that truly have it.
    """
    if audit.is_multi_label:
        return _multi_label_health(audit)
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
        Where samples have any number of classes: suspects of one sample, the one given and not true, the other true
        and not given.
    """
    counts = _swapped(audit) if audit.is_multi_label else expected_counts(audit)
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


def worst_first(health: pd.DataFrame) -> pd.DataFrame:
    """The classes with the largest share of wrong labels first; with missing ones counted in, where these are known."""
    if "share_missing" not in health:
        return health.sort_values("share_wrong", ascending=False)
    share = health["share_wrong"].fillna(0) + health["share_missing"].fillna(0)
    return health.iloc[np.argsort(-share.to_numpy(), kind="stable")]


def expected_counts(audit: Audit) -> NDArray[np.float64]:
    """[C, C] expected numbers of samples by given (row) and true label (column)."""
    n_classes = len(audit.answers)
    given = audit.frame["given_label"].to_numpy()
    suggested = audit.frame["suggested_label"].to_numpy()
    probability = np.nan_to_num(audit.frame["probability_wrong"].to_numpy(np.float64))
    probability = np.where(suggested >= 0, probability, 0.0)
    counts = np.zeros((n_classes, n_classes))
    np.add.at(counts, (given, np.where(suggested >= 0, suggested, given)), probability)
    np.add.at(counts, (given, given), 1 - probability)
    return counts


def _multi_label_health(audit: Audit) -> pd.DataFrame:
    frame, names, n_classes = audit.frame, audit.class_names, len(audit.class_names)
    label, given = frame["class_id"].to_numpy(), frame["given_label"].to_numpy() == 1
    probability = np.nan_to_num(frame["probability_wrong"].to_numpy(np.float64))
    suspect = frame["suspect"].to_numpy(bool)
    n_given = np.bincount(label[given], minlength=n_classes)
    superfluous = np.bincount(label[given], probability[given], minlength=n_classes)
    missing = np.bincount(label[~given], probability[~given], minlength=n_classes)
    true = n_given - superfluous + missing
    swapped = _swapped(audit)
    with np.errstate(invalid="ignore", divide="ignore"):
        share_wrong, share_missing = superfluous / n_given, missing / true
    return pd.DataFrame(
        {
            "given": n_given,
            "expected_wrong": superfluous,
            "share_wrong": share_wrong,
            "expected_missing": missing,
            "share_missing": share_missing,
            "mistaken_for": np.where(swapped.max(1) > 0, np.array(names, object)[swapped.argmax(1)], ""),
            "suspects": np.bincount(label[suspect], minlength=n_classes),
        },
        index=pd.Index(names, name="class"),
    )


def _swapped(audit: Audit) -> NDArray[np.float64]:
    """[C, C] expected numbers of samples with a suspect that is given and not true (row), and one that is missing."""
    suspects = audit.suspects
    probability = suspects["probability_wrong"].to_numpy(np.float64)
    _, sample = np.unique(suspects["sample_id"].to_numpy(), return_inverse=True)
    wrong = np.zeros((2, int(sample.max(initial=-1)) + 1, len(audit.class_names)))
    wrong[suspects["given_label"].to_numpy(), sample, suspects["class_id"].to_numpy()] = probability
    return np.asarray(wrong[1].T @ wrong[0])
