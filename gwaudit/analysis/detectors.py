"""Score samples by how suspicious their given labels are: every detector that gwaudit has, in one registry.

A detector is a function of a recorded run that returns a score for each sample, higher for more suspicious ones. To add
one, write the function and one line of `DETECTORS`: `gwaudit.rank`, the command line and the detection benchmark then
take it by its name.

The first five entries are gwaudit's own and read means over a window of the epochs. They were chosen on synthetic
errors; docs/benchmarks/defaults.md says how. The others are from the literature. They read whole trajectories,
[epochs, n] in memory, or the latents that the run keeps. Confident learning, AUM's threshold samples and second-split
forgetting need trainings of their own and are in `gwaudit.benchmarks`.

An independent benchmark of detectors (Pickler, Kamassury and Silva, arXiv 2510.16211) finds the margin of the logits,
averaged over the epochs of the training itself, to be the best score of labels in most settings: `aum` and `margin`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from gwaudit.analysis import latent_scores
from gwaudit.core.errors import SettingsError
from gwaudit.store.latents import read_latents

# For their types alone: the command line reads the names of the detectors, and should not wait for pandas.
if TYPE_CHECKING:
    from gwaudit.core.column_files import ColumnFiles
    from gwaudit.store.store import TrajectoryStore

_ROWS = 2**17  # that a score computes at once
EL2N_SHARE = 1 / 3
"""The share of the epochs, from the first on, that EL2N is averaged over: it is meant for early training."""


_NO_LATENTS = (
    "keeps no latents, which this detector needs: train with `latents='keep'`, at most 100,000 samples, or choose "
    "another detector"
)


@dataclass(frozen=True, eq=False)
class Detection:
    """Hold the scores of n samples.

    Attributes:
        score: [n] floats, higher is more suspicious; NaN where nothing was recorded.
        flagged: [n] whether the detector's own cut flags the sample; None where its authors name no cut.
    """

    score: NDArray[np.floating]
    flagged: NDArray[np.bool_] | None = None


class RecordedRun:
    """Read what a run recorded, when a detector asks for it.

    Args:
        store: a run with at least one epoch.
        statistics: the statistics of a window of the run, as `gwaudit.analysis.sample_statistics.statistics_files`
            returns them; by default those of the last half of the epochs.

    Attributes:
        n_classes: number of classes.
    """

    def __init__(self, store: "TrajectoryStore", statistics: "ColumnFiles | None" = None) -> None:
        self._store = store
        self._statistics = statistics
        self.n_classes = len(store.class_names)

    @cached_property
    def given(self) -> NDArray[np.int64]:
        """Return the given labels, [n]."""
        return self._store.given_labels().astype(np.int64)

    @cached_property
    def statistics(self) -> "ColumnFiles":
        """Return the statistics of the window, a row a sample."""
        if self._statistics is not None:
            return self._statistics
        from gwaudit.analysis.sample_statistics import default_window, statistics_files

        return statistics_files(self._store, default_window(self._store))

    @cached_property
    def latents(self) -> NDArray[np.float32]:
        """Return the latents that the run keeps, [n, D] of length 1.

        Raises:
            SettingsError: The run keeps none.
        """
        kept = read_latents(self._store.path)
        if kept is None:
            raise SettingsError(f"{self._store.path} {_NO_LATENTS}")
        return kept[0]

    @cached_property
    def neighbours(self) -> NDArray[np.int64]:
        """Return the ids of the nearest neighbours of each sample, [n, 10], the nearest first."""
        return latent_scores.nearest_neighbours(self.latents)

    def __getitem__(self, signal: str) -> NDArray[Any]:
        """Return a signal of every training epoch, [epochs, n]; NaN where an epoch did not record the sample."""
        columns = [self._store.read_epoch(epoch, [signal])[signal].to_numpy() for epoch in self._store.training_epochs]
        return np.stack(columns)


@dataclass(frozen=True)
class Detector:
    """Describe a detector, as it stands in the registry.

    Attributes:
        detect: scores the samples of a run; its docstring gives the formula and the source.
        needs: what it reads: `statistics` of the window; these and the `final_passes` of the run; `trajectories` over
            all epochs; or the `latents` that the run keeps.
        signed: whether the sign of the score says which label fits better: 0 where the given label and its best
            alternative fit equally well, above 0 where the alternative fits better. The odds of being wrong can be
            fitted to such scores alone. From any other detector `gwaudit.rank` takes the order of the samples, and
            gives the k-th of them the odds of the k-th by `combined`.
        bounded: whether the scores are differences of probabilities, in [-1, 1]. Bounds distort the distributions that
            are fitted, so `gwaudit.rank` takes the share of wrong labels from `combined`, and fits each pair of given
            and suggested label.
    """

    detect: Callable[[RecordedRun], Detection]
    needs: Literal["statistics", "final_passes", "trajectories", "latents"] = "trajectories"
    signed: bool = False
    bounded: bool = False


def combined(run: RecordedRun) -> Detection:
    """Score by alignment gap and margin: the negative mean of both, each divided by its root mean square.

    The alignment gap γ_y - γ_c, c being the best label other than the given one y, does not depend on the scale of the
    logits; the margin does. gwaudit's default.
    """
    return Detection(_evidence(run, mean_gap=1, mean_margin=1))


def alignment_gap(run: RecordedRun) -> Detection:
    """Score by -(γ_y - γ_c), the negative mean alignment gap over the window, c being the best other label."""
    return Detection(_evidence(run, mean_gap=1))


def alignment(run: RecordedRun) -> Detection:
    """Score by -γ_y, the negative mean alignment of the given label over the window (arXiv 2510.25480)."""
    return Detection(_evidence(run, mean_alignment=1))


def margin(run: RecordedRun) -> Detection:
    """Score by the negative mean margin of the logits over the window (AUM's quantity; Pleiss et al., NeurIPS 2020)."""
    return Detection(_evidence(run, mean_margin=1))


def probability(run: RecordedRun) -> Detection:
    """Score by the margin of the probabilities, over the window and, with twice the weight, in the final passes.

    The margin is p_y less the highest p of another label: samples that the network is unsure of count less than with
    logits. Each of the two means is divided by its root mean square; the score is the negative of their weighted mean.
    gwaudit's default for runs with final evaluation passes.
    """
    return Detection(_evidence(run, mean_probability_margin=1, final_probability_margin=2))


def aum(run: RecordedRun) -> Detection:
    """Score by the negative area under the margin, all epochs (Pleiss et al., NeurIPS 2020).

    The authors' cut needs threshold samples, which `gwaudit.benchmarks.detection.threshold_samples` trains on.
    """
    return Detection(-_mean(run["margin"]))


def mean_loss(run: RecordedRun) -> Detection:
    """Score by the cross entropy of the given label, mean over all epochs (O2U-Net; Huang et al., ICCV 2019)."""
    return Detection(_mean(run["loss"]))


def el2n(run: RecordedRun) -> Detection:
    """Score by the norm of the error vector, ||p - onehot(y)||, early in training (Paul et al., NeurIPS 2021).

    The authors average over ten trainings; here the epochs of the run's first third are averaged.
    """
    values = run["el2n"]
    return Detection(_mean(values[: max(1, round(len(values) * EL2N_SHARE))]))


def forgetting(run: RecordedRun) -> Detection:
    """Count forgetting events: turns from a right prediction to a wrong one (Toneva et al., ICLR 2019).

    A sample that is never predicted right gets the number of epochs, more than any other sample can have.
    """
    predicted = run["predicted_label"]
    right = _filled_forward(predicted) == run.given
    forgotten = (right[:-1] & ~right[1:]).sum(0)
    never = ~right.any(0)
    return Detection(_where_recorded(predicted, np.where(never, len(right), forgotten)))


def wrong_predictions(run: RecordedRun) -> Detection:
    """Score by the share of the epochs that predict another label than the given one."""
    predicted = run["predicted_label"]
    return Detection(_mean(np.where(np.isnan(predicted), np.nan, predicted != run.given)))


def cartography_confidence(run: RecordedRun) -> Detection:
    """Score by -p_y, the negative mean probability of the given label (Swayamdipta et al., EMNLP 2020)."""
    return Detection(-_mean(run["given_probability"]))


def cartography_variability(run: RecordedRun) -> Detection:
    """Score by the standard deviation of p_y over the epochs, high for ambiguous samples (the same paper)."""
    given = run["given_probability"]
    return Detection(np.sqrt(_mean((given - _mean(given)) ** 2)))


def ctrl(run: RecordedRun) -> Detection:
    """Cluster the loss curves of each class (CTRL; Yue and Jha, 2022), here into two by k-means with a fixed seed.

    The cluster of the higher mean loss is flagged; the score is how much nearer a curve lies to it than to the other.
    Epochs that did not record the sample count as its mean loss.
    """
    from sklearn.cluster import KMeans

    losses = run["loss"].T.astype(np.float64)
    recorded = ~np.isnan(losses).all(1)
    losses = np.where(np.isnan(losses), _mean(losses.T)[:, None], losses)
    score, flagged = np.where(recorded, 0.0, np.nan), np.zeros(len(losses), bool)
    for label in np.unique(run.given):
        members = np.flatnonzero((run.given == label) & recorded)
        if len(members) < 2:
            continue
        clusters = KMeans(2, n_init=4, random_state=0).fit(losses[members])
        noisy = int(np.argmax(clusters.cluster_centers_.mean(1)))
        distance = clusters.transform(losses[members])
        score[members] = distance[:, 1 - noisy] - distance[:, noisy]
        flagged[members] = clusters.labels_ == noisy
    return Detection(score, flagged)


def signed_entropy(run: RecordedRun) -> Detection:
    """Score by the negative mean of ±H(p) over all epochs: plus where the given label is predicted, minus elsewhere.

    The signed entropy integral (SEI; Li et al., ICML 2026, arXiv 2605.31090), divided by the number of epochs. The
    authors' cut needs a class of threshold samples.

    A run does not record the entropy H of the class probabilities p. It records p_y; the margin, thus the largest other
    probability; and ‖p - e_y‖, thus Σ p². H is computed as if the other classes shared what remains equally, with as
    many of them as Σ p² implies: exact for at most three classes or equal shares, and at most the true H otherwise.
    """
    sign = np.where(run["predicted_label"] == run.given, 1.0, -1.0)
    entropy = _entropy(run["given_probability"], run["margin"], run["el2n"], run.n_classes)
    return Detection(-_mean(sign * entropy))


def simifeat_vote(run: RecordedRun) -> Detection:
    """Score by the votes of the 10 nearest neighbours, for the best other label less those for the given one.

    SimiFeat-V (Zhu, Dong and Liu, ICML 2022, arXiv 2110.06283): a label with fewer votes than another one is flagged.
    The authors repeat this on augmented images and flag by the majority; here the latents of the run vote once.
    """
    return Detection(*latent_scores.vote(run.given, run.neighbours, run.n_classes))


def simifeat_rank(run: RecordedRun) -> Detection:
    """Score by the negative cosine of the given label and the mean label of the 10 nearest neighbours.

    SimiFeat-R (the same paper): of each class as many samples are flagged as are wrong by the transition matrix that
    the labels of neighbours imply (HOC, `gwaudit.analysis.noise_transition`), those with the highest scores. There is
    no cut for more than 100 classes.
    """
    return Detection(*latent_scores.neighbour_ranking(run.given, run.neighbours, run.n_classes))


def class_densities(run: RecordedRun) -> Detection:
    """Score by the log likelihood ratio of the best other class to the given one, each a Gaussian in latent space.

    After ALED (Chaudhry et al., arXiv 2601.10084): latents of fewer dimensions, a Gaussian for each class, and a
    likelihood ratio test. The authors' way to denoise the latents is not reproduced: up to 64 principal components,
    shrunk covariances, refits without the samples flagged, and the cut at a ratio of 1 are gwaudit's
    (`gwaudit.analysis.latent_scores.class_likelihood_ratio`).
    """
    return Detection(*latent_scores.class_likelihood_ratio(run.latents, run.given, run.n_classes))


def self_influence(run: RecordedRun) -> Detection:
    """Score by how much the error of a ridge head on the latents grows for a sample that it does not learn.

    The influence of a sample on its own prediction (Koh and Liang, ICML 2017; Pruthi et al., NeurIPS 2020, rank wrong
    labels by it), not approximated by gradients: for this head leaving a sample out has a closed form
    (`gwaudit.analysis.latent_scores.self_influence`).
    """
    return Detection(latent_scores.self_influence(run.latents, run.given, run.n_classes))


def argmax_disagreement(run: RecordedRun) -> Detection:
    """Flag samples whose last prediction is not the given label; the score is the negative margin of that epoch."""
    last = _filled_forward(run["predicted_label"])[-1]
    last_margin = _filled_forward(run["margin"])[-1].astype(np.float64)
    return Detection(-last_margin, (last != run.given) & ~np.isnan(last_margin))


DETECTORS: dict[str, Detector] = {
    "combined": Detector(combined, "statistics", signed=True),
    "alignment_gap": Detector(alignment_gap, "statistics", signed=True),
    "alignment": Detector(alignment, "statistics", signed=True),
    "margin": Detector(margin, "statistics", signed=True),
    "probability": Detector(probability, "final_passes", signed=True, bounded=True),
    "aum": Detector(aum, signed=True),
    "mean_loss": Detector(mean_loss),
    "el2n": Detector(el2n),
    "forgetting": Detector(forgetting),
    "wrong_predictions": Detector(wrong_predictions),
    "cartography_confidence": Detector(cartography_confidence),
    "cartography_variability": Detector(cartography_variability),
    "ctrl": Detector(ctrl),
    "argmax_disagreement": Detector(argmax_disagreement, signed=True),
    "signed_entropy": Detector(signed_entropy),
    "simifeat_vote": Detector(simifeat_vote, "latents"),
    "simifeat_rank": Detector(simifeat_rank, "latents"),
    "class_densities": Detector(class_densities, "latents"),
    "self_influence": Detector(self_influence, "latents"),
}
"""Every detector, by name."""


def select_detector(
    name: str,
    *,
    final_passes: int,
    multi_label: bool,
    held_out: bool = False,
    keeps_latents: bool = True,
    run: object = "the run",
) -> str:
    """Return the name of the detector that ranks a run: the default for "auto", otherwise `name`.

    Args:
        name: a name of `DETECTORS`, or "auto": `probability` for a run with final passes, `margin` for one whose
            samples were held out, `combined` for others, and other multi-label runs. Most labels are absent there and
            nearly certain, and `probability` finds less. Of samples that no head learned, the margin is not distorted
            by memorisation, which the alignment gap corrects.
        final_passes: number of final evaluation passes of the run, or of the last round of its refinement.
        multi_label: whether the rows of the run are pairs of sample and class.
        held_out: whether each sample was recorded with a head that did not learn it.
        keeps_latents: whether the run keeps latents.
        run: its folder, for messages.

    Raises:
        SettingsError: There is no such detector, or the run lacks what it needs.
    """
    if name == "auto":
        if final_passes and not multi_label and not held_out:
            return "probability"
        return "margin" if held_out else "combined"
    if name not in DETECTORS:
        raise SettingsError(f"unknown detector {name!r}: choose from auto, {', '.join(DETECTORS)}")
    detector = DETECTORS[name]
    if detector.needs == "final_passes" and not final_passes:
        raise SettingsError(
            f"{run} has no final evaluation passes, which the detector {name!r} needs: train with `final_passes=1` or 2"
        )
    if multi_label and not detector.signed:
        possible = ", ".join(name for name, detector in DETECTORS.items() if detector.signed)
        raise SettingsError(
            f"the detector {name!r} cannot rank {run}, a multi-label run: its score does not say which of absent and "
            f"present fits better; choose from {possible}"
        )
    if detector.needs == "latents" and not keeps_latents:
        raise SettingsError(f"{run} {_NO_LATENTS}")
    return name


def _evidence(run: RecordedRun, **weights: int) -> NDArray[np.float32]:
    """Return the negative weighted mean of statistics, [n]; of several, each in units of its root mean square."""
    columns = [run.statistics[name] for name in weights]
    units = [_root_mean_square(values) for values in columns] if len(columns) > 1 else [1.0]
    evidence = np.empty(len(columns[0]), np.float32)
    for start in range(0, len(evidence), _ROWS):  # each number of double precision takes twice the memory
        rows = slice(start, start + _ROWS)
        weighted = [
            np.multiply(values[rows] / unit, weight, dtype=np.float64)
            for values, unit, weight in zip(columns, units, weights.values(), strict=True)
        ]
        evidence[rows] = -(sum(weighted[1:], weighted[0]) / sum(weights.values()))
    return evidence


def _root_mean_square(values: NDArray[np.float32]) -> float:
    recorded = values[~np.isnan(values)].astype(np.float64)
    return float(np.sqrt(np.mean(np.square(recorded, out=recorded)))) or 1.0 if len(recorded) else 1.0


def _mean(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean over the epochs that recorded the sample, [n]; NaN where none did."""
    count = (~np.isnan(values)).sum(0)
    total = np.nansum(values, axis=0, dtype=np.float64)
    return np.asarray(np.divide(total, count, out=np.full(values.shape[1], np.nan), where=count > 0))


def _entropy(given: NDArray[Any], margin: NDArray[Any], el2n: NDArray[Any], n_classes: int) -> NDArray[np.float64]:
    """Return the entropy of class probabilities in nats, as far as their recorded signals determine it.

    Args:
        given: Probability p_y of the given label, of any shape; the others have the same.
        margin: Logit of the given label less the largest other one.
        el2n: ‖p - e_y‖.
        n_classes: Number of classes C.
    """
    own = given.astype(np.float64)
    best = np.minimum(own * np.exp(np.minimum(-margin.astype(np.float64), 700)), 1 - own)
    rest = np.maximum(1 - own - best, 0.0)
    squares = el2n.astype(np.float64) ** 2 - (1 - own) ** 2 - best**2  # Σ p² of the classes that remain
    most = max(n_classes - 2, 1)
    # As many equal shares as imply these squares, as `rest`² / `squares`; the digits of tiny rests cancel.
    classes = np.divide(rest**2, squares, out=np.full(rest.shape, float(most)), where=squares > 0)
    classes = np.clip(np.where(rest < 1e-5, most, classes), 1.0, most)
    return np.asarray(rest * np.log(classes) - _p_log_p(own) - _p_log_p(best) - _p_log_p(rest))


def _p_log_p(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(probability * np.log(np.maximum(probability, 1e-300)))


def _filled_forward(values: NDArray[Any]) -> NDArray[Any]:
    """Return the values with each NaN replaced by the last number before it in the column, if there is one."""
    epochs = np.where(np.isnan(values), 0, np.arange(len(values))[:, None])
    return np.take_along_axis(values, np.maximum.accumulate(epochs, axis=0), axis=0)


def _where_recorded(values: NDArray[Any], score: NDArray[Any]) -> NDArray[np.float64]:
    return np.where(np.isnan(values).all(0), np.nan, score)
