"""Find label errors by cleanlab, in its recommended use on features: the peer of the trust benchmark."""

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from gwaudit.analysis.detectors import Detection
from gwaudit.core.errors import MissingExtraError

FOLDS = 5
_ITERATIONS = 400  # as in cleanlab's tutorials
_NEIGHBOURS = 5


def cleanlab_detection(features: NDArray[np.float64], labels: NDArray[np.int64]) -> Detection:
    """Return cleanlab's label quality by self-confidence, and the label issues that it flags.

    The class probabilities are out of sample: five folds of a logistic regression, as cleanlab's tutorials compute
    them (Northcutt et al., JAIR 2021).

    Args:
        features: [n, D] standardised features.
        labels: [n] given labels; classes that are not given count as absent.

    Raises:
        MissingExtraError: cleanlab is not installed.
        ValueError: All classes are too small for five folds.
    """
    try:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError as error:
        raise MissingExtraError("the trust benchmark", "peers") from error
    present, given = np.unique(labels, return_inverse=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes smaller than the folds, and iterations that did not converge
        model = LogisticRegression(max_iter=_ITERATIONS)
        probabilities = cross_val_predict(model, features, given, cv=FOLDS, method="predict_proba")
        probabilities = _with_rows_of_one(probabilities)
        flagged = np.asarray(find_label_issues(given, probabilities, n_jobs=1), bool)
        quality = np.asarray(get_label_quality_scores(given, probabilities, method="self_confidence"))
    assert probabilities.shape == (len(labels), len(present))
    return Detection(-quality, flagged)


def reference_accuracy(features: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Return the share of clean labels that a simple model predicts out of sample: how far the data can be learned.

    It is the higher one of a logistic regression and five nearest neighbours, both in five folds.

    Args:
        features: [n, D] standardised features.
        labels: [n] clean labels.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models = (LogisticRegression(max_iter=_ITERATIONS), KNeighborsClassifier(_NEIGHBOURS))
        return float(max((cross_val_predict(model, features, labels, cv=FOLDS) == labels).mean() for model in models))


def _with_rows_of_one(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return probabilities whose rows sum to one, also where a fold had no sample of a class."""
    total = probabilities.sum(1, keepdims=True)
    shares = probabilities / np.maximum(total, 1e-300)
    return np.asarray(np.where(total > 0, shares, 1 / probabilities.shape[1]))
