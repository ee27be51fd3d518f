"""Fit label noise to predictions of multi-label samples by heads that did not learn them.

A held-out logit l of a class says how likely the class is, given the input alone. So it is given with the probability

    P(given) = (1 - m_c) p + e_c (1 - p),    p = σ(a_c l + b + b_c)

m_c is the share of missing labels among the samples that truly have class c, e_c that of extra labels among the others.
The temperature a_c makes up for predictions that are too sure or not sure enough, and the shift b + b_c for label noise
that the heads learned: where labels are missing, no sample looks certain to have the class.

All have the highest posterior probability of the given labels. m_c and e_c have beta distributions whose means are
those of all classes, with the weight of `WEIGHT` samples; log a_c, b and b_c are normal.

A class that the heads do not predict better than its share does fits label noise as well as no noise: all samples that
have it could be wrong. Of such a class the predictions are taken as they are, with the shares of wrong labels of the
other classes.

The form of the noise, the weight and the spreads were chosen on Gaussian features with linear classes, digits under two
sets of tags, and scikit-learn's multi-label generator (docs/benchmarks/multilabel.md).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit

from gwaudit.analysis.learned_classes import LogitHistogram, learned_classes, multilabel_histogram

WEIGHT = 20.0
"""The weight of the prior on the shares of wrong labels of a class, in samples."""

_USUAL_LOG_TEMPERATURE = np.log(2.0)  # its standard deviation is 1, as is that of b
_SPREAD_OF_SHIFTS = 0.25  # the standard deviation of b_c
_USUAL_SHARE, _LEAST_SHARE = 0.02, 1e-9
_USUAL_WEIGHT = 0.05  # of the prior on the shares of all classes
_MOST_STEPS = 300
_TINY = 1e-300

Floats = NDArray[np.float64]


class MultilabelNoise(NamedTuple):
    """Hold label noise that is fitted to held-out predictions of C classes.

    Attributes:
        learned: [C] whether the heads predict the class better than its share does.
        shares: [C, 2] e_c and m_c, the shares of extra and of missing labels.
        temperature: [C] a_c.
        shift: [C] b + b_c.
    """

    learned: NDArray[np.bool_]
    shares: Floats
    temperature: Floats
    shift: Floats

    def log_odds_wrong(self, logits: Floats, given: NDArray[np.integer]) -> Floats:
        """Return the log odds of each label being wrong, [n, C]; NaN where the logit is.

        Args:
            logits: [n, C] held-out logits.
            given: [n, C] of 0 and 1.
        """
        z = self.temperature * logits + self.shift
        log_present, log_absent = log_expit(z), log_expit(-z)
        extra, missing = self.shares.T
        of_present = log_absent + np.log(extra) - log_present - np.log1p(-missing)
        of_absent = log_present + np.log(missing) - log_absent - np.log1p(-extra)
        return np.asarray(np.where(given == 1, of_present, of_absent))


def fit_multilabel_noise(logits: Floats, given: NDArray[np.integer]) -> MultilabelNoise:
    """Return the label noise with the highest posterior probability.

    Args:
        logits: [n, C] held-out logits; NaN where nothing was recorded.
        given: [n, C] of 0 and 1.
    """
    n_classes = logits.shape[1]
    counts = multilabel_histogram(logits, given)
    learned = learned_classes(counts, n_classes)
    shares = np.full((n_classes, 2), _USUAL_SHARE)
    temperature, shift = np.ones(n_classes), np.zeros(n_classes)
    if learned.any():
        fitted, of_all = _fit(counts.of_classes(learned), int(learned.sum()))
        shares[learned], temperature[learned], shift[learned] = fitted.shares, fitted.temperature, fitted.shift
        shares[~learned] = of_all
    return MultilabelNoise(learned, shares, temperature, shift)


def _fit(counts: LogitHistogram, n_classes: int) -> tuple[MultilabelNoise, Floats]:
    """Return the noise of classes that the heads have learned, and the shares of wrong labels of all of them, [2]."""
    sign = np.where(counts.given, 1.0, -1.0)

    def read(parameters: Floats) -> tuple[Floats, ...]:
        """Return log temperatures, b, the shifts b_c, and the logits of twice the shares: of classes, and of all."""
        log_temperature, shifts = parameters[:n_classes], parameters[n_classes + 1 : 2 * n_classes + 1]
        return (
            log_temperature,
            parameters[n_classes],
            shifts,
            parameters[2 * n_classes + 1 : -2].reshape(-1, 2),
            parameters[-2:],
        )

    def loss(parameters: Floats) -> tuple[float, Floats]:
        log_temperature, shift, shifts, raw, raw_of_all = read(parameters)
        temperature, halves, halves_of_all = np.exp(log_temperature), expit(raw), expit(raw_of_all)
        shares, of_all = halves / 2, halves_of_all / 2
        extra, missing = shares.T
        z = temperature[counts.label] * counts.logit + shift + shifts[counts.label]
        present, absent = expit(z), expit(-z)
        e, m = extra[counts.label], missing[counts.label]
        density = np.where(counts.given, present * (1 - m) + absent * e, absent * (1 - e) + present * m) + _TINY
        by_density = sign / density
        by_z = by_density * (1 - e - m) * present * absent
        divergence = of_all * np.log(shares / of_all) + (1 - of_all) * np.log((1 - shares) / (1 - of_all))
        value = (
            float(np.log(density) @ counts.size)
            + WEIGHT * float(divergence.sum())
            + _USUAL_WEIGHT * float(np.log(of_all).sum())
            - float(((log_temperature - _USUAL_LOG_TEMPERATURE) ** 2).sum() + shift**2) / 2
            - float((shifts**2).sum()) / (2 * _SPREAD_OF_SHIFTS**2)
        )
        of_shifts = counts.sum(by_z, n_classes)
        by_shares = np.stack(
            [counts.sum(by_density * absent, n_classes), -counts.sum(by_density * present, n_classes)], 1
        ) + WEIGHT * (of_all / shares - (1 - of_all) / (1 - shares))
        by_all = (
            WEIGHT * (np.log(shares / of_all) - np.log((1 - shares) / (1 - of_all))).sum(0) + _USUAL_WEIGHT / of_all
        )
        gradient = [
            counts.sum(by_z * counts.logit, n_classes) * temperature - (log_temperature - _USUAL_LOG_TEMPERATURE),
            np.array([of_shifts.sum() - shift]),
            of_shifts - shifts / _SPREAD_OF_SHIFTS**2,
            (by_shares * halves * (1 - halves) / 2).reshape(-1),
            by_all * halves_of_all * (1 - halves_of_all) / 2,
        ]
        return -value, -np.concatenate(gradient)

    start = np.concatenate(
        [
            np.full(n_classes, _USUAL_LOG_TEMPERATURE),
            np.zeros(n_classes + 1),
            np.full(2 * n_classes + 2, logit(2 * _USUAL_SHARE)),
        ]
    )
    # Far beyond what any data have: no step of the search may leave what can be computed.
    bounds = [(-6.0, 6.0)] * n_classes + [(-50.0, 50.0)] * (n_classes + 1) + [(-30.0, 12.0)] * (2 * n_classes + 2)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _MOST_STEPS})
    log_temperature, shift, shifts, raw, raw_of_all = read(found.x)
    shares, of_all = (np.clip(expit(values) / 2, _LEAST_SHARE, 0.5) for values in (raw, raw_of_all))
    learned = np.ones(n_classes, bool)
    return MultilabelNoise(learned, shares, np.exp(log_temperature), shift + shifts), of_all
