"""Estimate the noise of the whole data set from an audit: which labels replace which, and the errors of each class."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gwaudit.analysis.audit import Audit, require_audit


def transition_matrix(audit: Audit) -> pd.DataFrame:
    """Return the estimated share of the given labels of each class that truly are of each class.

    A sample counts for its suggested label by its probability of being wrong, and for its given label by the rest.

    Returns:
        [C, C], given labels in the rows and true labels in the columns, by class name; each row sums to 1, and is NaN
        if no sample has the label or none of them can be judged. [2, 2] of absent and present in a multi-label audit.
    """
    require_audit(audit)
    counts = expected_counts(audit)
    counts[~_judged_classes(audit, audit.column("given_label"), len(counts))] = np.nan
    total = counts.sum(1, keepdims=True)
    with np.errstate(invalid="ignore"):
        shares = counts / np.where(total > 0, total, np.nan)
    names = list(audit.answers)
    return pd.DataFrame(shares, index=pd.Index(names, name="given"), columns=pd.Index(names, name="true"))


def class_health(audit: Audit) -> pd.DataFrame:
    """Estimate the errors of each class.

    Returns:
        A row a class, by name, with the columns `given` (number of samples with the label), `expected_wrong` (expected
        number of wrong labels among them), `share_wrong`, `expected_missing` (expected number of samples of the class
        with another label), `mistaken_for` (the true class of most of the wrong labels) and `suspects`. What is
        expected of a class is NaN where none of its labels can be judged.

        In a multi-label audit `expected_missing` counts samples that lack the class, and the further column
        `share_missing` is its share of all samples that truly have the class.
    """
    require_audit(audit)
    if audit.is_multi_label:
        return _multi_label_health(audit)
    counts = expected_counts(audit)
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    given = audit.column("given_label")
    n_given = np.bincount(given, minlength=len(counts))
    n_wrong = np.where(_judged_classes(audit, given, len(counts)), wrong.sum(1), np.nan)
    names = np.array(audit.class_names, object)
    with np.errstate(invalid="ignore"):
        share = n_wrong / np.where(n_given > 0, n_given, np.nan)
    return pd.DataFrame(
        {
            "given": n_given,
            "expected_wrong": n_wrong,
            "share_wrong": share,
            "expected_missing": wrong.sum(0),
            "mistaken_for": np.where(wrong.max(1) > 0, names[wrong.argmax(1)], ""),
            "suspects": np.bincount(given[audit.column("suspect").astype(bool)], minlength=len(counts)),
        },
        index=pd.Index(names, name="class"),
    )


def confusions(audit: Audit) -> pd.DataFrame:
    """Count which labels replace which, the most frequent error first.

    Returns:
        A row a confusion, with the columns `given` and `true` (class names), `expected` (expected number of samples)
        and `share` (of all samples that are expected to be wrong). In a multi-label audit a confusion is two suspects
        of one sample, `given` present and not true, `true` true and absent.
    """
    counts = _suspect_confusions(audit) if audit.is_multi_label else expected_counts(audit)
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
    """Sort classes by their share of wrong labels, plus that of missing ones if multi-label, largest first."""
    if "share_missing" not in health:
        return health.sort_values("share_wrong", ascending=False)
    share = health["share_wrong"].fillna(0) + health["share_missing"].fillna(0)
    return health.iloc[np.argsort(-share.to_numpy(), kind="stable")]


def expected_counts(audit: Audit) -> NDArray[np.float64]:
    """Return the expected number of samples by given label (row) and true label (column), [C, C]."""
    n_classes = len(audit.answers)
    given, suggested = audit.column("given_label"), audit.column("suggested_label")
    probability = audit.judged_probability()
    probability = np.where(suggested >= 0, probability, 0.0)
    counts = np.zeros((n_classes, n_classes))
    np.add.at(counts, (given, np.where(suggested >= 0, suggested, given)), probability)
    np.add.at(counts, (given, given), 1 - probability)
    return counts


def _judged_classes(audit: Audit, label: NDArray[np.integer], n_classes: int) -> NDArray[np.bool_]:
    """Return whether each class has a row that can be judged, or no row at all, [C].

    Args:
        audit: The audit.
        label: [n] the class of each row.
        n_classes: C.
    """
    n_judged = np.bincount(label[audit.is_judged], minlength=n_classes)
    return np.asarray((n_judged > 0) | (np.bincount(label, minlength=n_classes) == 0))


def _multi_label_health(audit: Audit) -> pd.DataFrame:
    frame, names, n_classes = audit.frame, audit.class_names, len(audit.class_names)
    label, given = frame["class_id"].to_numpy(), frame["given_label"].to_numpy() == 1
    probability = audit.judged_probability()
    suspect = frame["suspect"].to_numpy(bool)
    is_judged = _judged_classes(audit, label, n_classes)
    n_given = np.bincount(label[given], minlength=n_classes)
    extra = np.bincount(label[given], probability[given], minlength=n_classes)
    missing = np.bincount(label[~given], probability[~given], minlength=n_classes)
    extra[~is_judged] = missing[~is_judged] = np.nan
    true = n_given - extra + missing
    counts = _suspect_confusions(audit)
    with np.errstate(invalid="ignore", divide="ignore"):
        share_wrong, share_missing = extra / n_given, missing / true
    return pd.DataFrame(
        {
            "given": n_given,
            "expected_wrong": extra,
            "share_wrong": share_wrong,
            "expected_missing": missing,
            "share_missing": share_missing,
            "mistaken_for": np.where(counts.max(1) > 0, np.array(names, object)[counts.argmax(1)], ""),
            "suspects": np.bincount(label[suspect], minlength=n_classes),
        },
        index=pd.Index(names, name="class"),
    )


def _suspect_confusions(audit: Audit) -> NDArray[np.float64]:
    """Return the expected number of samples with a suspect extra label (row) and a suspect missing one (column)."""
    suspects = audit.suspects
    probability = suspects["probability_wrong"].to_numpy(np.float64)
    _, sample = np.unique(suspects["sample_id"].to_numpy(), return_inverse=True)
    wrong = np.zeros((2, int(sample.max(initial=-1)) + 1, len(audit.class_names)))
    wrong[suspects["given_label"].to_numpy(), sample, suspects["class_id"].to_numpy()] = probability
    return np.asarray(wrong[1].T @ wrong[0])
