"""Find label errors by the peers of the trust benchmark: cleanlab in its recommended use on features, and AUM."""

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from gwaudit.analysis.detectors import Detection
from gwaudit.core.errors import MissingExtraError

FOLDS = 5
_ITERATIONS = 400  # as in cleanlab's tutorials
_NEIGHBOURS = 5
_AUM_EPOCHS, _AUM_BATCH, _AUM_RATE = 30, 64, 0.1  # the batch and the rate of the paper
_AUM_FEATURES = 32  # number of features above which the rate is lower


def cleanlab_detection(features: NDArray[np.float64], labels: NDArray[np.int64], *, seed: int) -> Detection:
    """Return cleanlab's label quality by self-confidence, and the label issues that it flags.

    The class probabilities are out of sample: five folds of a logistic regression, as cleanlab's tutorials compute
    them (Northcutt et al., JAIR 2021). The folds are drawn at random: in a file that is sorted by the true classes,
    folds of consecutive rows put the wrong labels of a class together, and so show them.

    Args:
        features: [n, D] standardised features.
        labels: [n] given labels; classes that are not given count as absent.
        seed: Seed of the folds.

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
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
        probabilities = cross_val_predict(model, features, given, cv=folds, method="predict_proba")
        probabilities = _with_rows_of_one(probabilities)
        flagged = np.asarray(find_label_issues(given, probabilities, n_jobs=1), bool)
        quality = np.asarray(get_label_quality_scores(given, probabilities, method="self_confidence"))
    assert probabilities.shape == (len(labels), len(present))
    return Detection(-quality, flagged)


def aum_detection(features: NDArray[np.float64], labels: NDArray[np.int64], *, seed: int) -> Detection:
    """Return the negative area under the margin of a linear head that learns every sample.

    As in Pleiss et al., NeurIPS 2020, without their threshold samples. The margin is the logit of the given label less
    the largest other one, averaged over 30 epochs of SGD with momentum, each at the sample's own training step.

    Args:
        features: [n, D] standardised features.
        labels: [n] given labels.
        seed: Seed of the order of the samples.
    """
    generator = torch.Generator().manual_seed(seed)
    inputs, given = torch.from_numpy(features).float(), torch.from_numpy(labels)
    head = torch.nn.Linear(inputs.shape[1], int(labels.max()) + 1)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    rate = _AUM_RATE * min(1.0, _AUM_FEATURES / inputs.shape[1])  # with many features a full step learns any label
    optimizer = torch.optim.SGD(head.parameters(), lr=rate, momentum=0.9, weight_decay=1e-4)
    margin = torch.zeros(len(given))
    for _ in range(_AUM_EPOCHS):
        for ids in torch.split(torch.randperm(len(given), generator=generator), _AUM_BATCH):
            logits = head(inputs[ids])
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(logits, given[ids]).backward()  # type: ignore[no-untyped-call]  # torch's
            optimizer.step()
            own = logits.detach().gather(1, given[ids, None])
            others = logits.detach().scatter(1, given[ids, None], -torch.inf)
            margin[ids] += (own[:, 0] - others.amax(1)) / _AUM_EPOCHS
    return Detection(-margin.numpy().astype(np.float64))


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
