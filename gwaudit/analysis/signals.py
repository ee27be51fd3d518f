"""Hold the signals of a run, by which it is judged without true labels.

`gwaudit.analysis.run_signals` measures them, `gwaudit.analysis.verdict_checks` judges by them.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self


@dataclass(frozen=True)
class Signals:
    """Hold what is measured of a run to judge it; NaN where it was not measured, which no check finds wrong.

    Shares are of the judged rows, in [0, 1].

    Attributes:
        rows: number of judged rows: of samples, or of pairs of sample and class in a multi-label run.
        classes: number of classes that rows have.
        epochs: number of training epochs.
        steps: number of optimizer steps of the training; NaN for a training loop of one's own.
        scratch_photos: number of photos that a network learned from random weights; NaN for other trainings.
        own_head: number of samples that are judged by the head on features that learned them; NaN for other trainings.
        self_confirmed: by what share heads on features contradict more labels if what they contradict counts less,
            where such heads predict given labels worse; 0 where they do not, NaN if not tried.
        held_out: whether each row was recorded with a head that did not learn it.
        multi_label: whether a row is a pair of sample and class, in a multi-label run.
        kappa: Cohen's kappa of the given labels and of those that most epochs of the window predict.
        accuracy: share of the rows whose given label most epochs of the window predict.
        last_accuracy: share of the given labels that the last epoch predicted.
        largest_class: share of the most frequent given label.
        unlearned: share of the rows whose class was not learned. They are not judged, unless no class was learned.
        first_loss: mean cross entropy of the given labels in the first epoch, in nats.
        last_loss: that of the last epoch.
        prior_loss: cross entropy of the shares of the classes, the loss of a model that ignores its inputs, in nats.
        flagged: share of the rows above the fitted cut.
        flagged_class: the highest share of a class above the fitted cut.
        alike_flagged: share of the flagged rows whose given and suggested classes' names differ in case or white space.
        expected_wrong: expected share of wrong labels.
        expected_f1: expected F1 of the fitted cut; NaN if it flags nothing.
        depth: mean evidence against the flagged labels, in units of the mean evidence for all others. Wrong labels of
            classes that were learned lie nearly as far above zero as right ones below.
        halves_overlap: Jaccard index of the most suspicious rows, as many as are flagged, by each half of the window.
        opposed: share of the rows with γ < 0 in nine of ten epochs.
        early_flagged: share of the rows that a cut flags by the first third of the epochs, where right and wrong labels
            are two groups then; NaN unless most given labels were learned in the end.
        late_aligned: share of the rows with a negative mean γ in the first third of the run and a positive one in the
            last.
    """

    rows: int
    classes: int
    epochs: int
    steps: float = math.nan
    scratch_photos: float = math.nan
    own_head: float = math.nan
    self_confirmed: float = math.nan
    held_out: bool = False
    multi_label: bool = False
    kappa: float = math.nan
    accuracy: float = math.nan
    last_accuracy: float = math.nan
    largest_class: float = math.nan
    unlearned: float = math.nan
    first_loss: float = math.nan
    last_loss: float = math.nan
    prior_loss: float = math.nan
    flagged: float = math.nan
    flagged_class: float = math.nan
    alike_flagged: float = math.nan
    expected_wrong: float = math.nan
    expected_f1: float = math.nan
    depth: float = math.nan
    halves_overlap: float = math.nan
    opposed: float = math.nan
    early_flagged: float = math.nan
    late_aligned: float = math.nan

    def to_dict(self) -> dict[str, Any]:
        """Return the signals as JSON can hold them: None in place of NaN."""
        return {name: None if math.isnan(value) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the signals that `to_dict` gave; those of other versions are left out."""
        names = {field.name for field in fields(cls)}
        known: dict[str, Any] = {n: math.nan if value is None else value for n, value in values.items() if n in names}
        return cls(**known)
