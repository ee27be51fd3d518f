"""Estimate how many labels of a run are wrong from the decisions on it: in all, flagged, missed, by class and by group.

Random decisions stand for their cell (`gwaudit.review.decided_samples`), all others for themselves. The estimate is of
the labels that the people who decided would call wrong, if they looked at all samples: when these people err, it
includes their errors. The audit's own probabilities have no part in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gwaudit.analysis.audit import Audit
from gwaudit.analysis.error_probability import sigmoid
from gwaudit.analysis.flagging import flag, settings_to_flag
from gwaudit.analysis.stratified_intervals import (
    Cells,
    WrongAmongUndecided,
    chance_to_decide,
    ratio_limits,
    whole_limits,
    wrong_among_undecided,
    wrong_by_domain,
)
from gwaudit.review.decided_samples import DecidedSamples, decided_samples
from gwaudit.review.review_sample import DECIDED_BEFORE, draw_sample

NEXT = 100
"""The number of samples whose wrong labels are predicted, worst first."""

LEAST_FIRST = 100
"""The least number of random decisions that are asked for where there are none: the ranking's own reading is then all
that is known, and it can be wrong by half."""

POWER, FIRST_POWER = 0.8, 0.9
"""Probability with which a number of decisions has to suffice, and that where there is no random decision yet. With
these, nine of ten numbers sufficed in simulated reviews (docs/benchmarks/learning.md)."""

_LEAST_ASKED, _SIZES_TRIED = 10, 40

MOST_UNSAMPLED = 0.01
"""The share of samples in cells without a random decision above which there are limits, but no estimate."""


Unit = Literal["samples", "labels"]


@dataclass(frozen=True)
class Estimate:
    """Hold an estimated number of wrong labels, with a 95 % interval.

    Attributes:
        estimate: The number; None where random decisions are missing.
        low: Lower limit.
        high: Upper limit.
        samples: Number of samples among which they are; of labels, one a (sample, class), in multi-label data.
    """

    estimate: float | None
    low: float
    high: float
    samples: int

    def with_whole_limits(self) -> Self:
        """Return the estimate with whole numbers between its limits as limits, as the number of labels is whole."""
        low, high = whole_limits(self.low if self.estimate is None else self.estimate, self.low, self.high)
        return replace(self, low=float(low) + 0.0, high=float(high) + 0.0)  # no negative zero

    @property
    def rate(self) -> tuple[float | None, float, float]:
        """Return the estimate and both limits as shares of the samples; None and [0, 1] of no sample."""
        if not self.samples:
            return None, 0.0, 1.0
        share = None if self.estimate is None else self.estimate / self.samples
        return share, self.low / self.samples, self.high / self.samples

    def to_dict(self) -> dict[str, Any]:
        """Return numbers and shares as JSON can hold them."""
        share, low, high = self.rate
        number = None if self.estimate is None else round(self.estimate, 1)
        return {
            "estimate": number,
            "low": round(self.low, 1),
            "high": round(self.high, 1),
            "samples": self.samples,
            "share": share,
            "share_low": low,
            "share_high": high,
        }


@dataclass(frozen=True, eq=False)
class Estimates:
    """Hold what the decisions on a run say about its labels.

    In multi-label data each (sample, class) has a label of its own, and counts as a sample does elsewhere.

    Attributes:
        total: Wrong labels in all.
        remaining: Wrong labels among the undecided samples.
        flagged: Wrong labels among the suspects; its rate is the precision. None without a cut. After a calibration,
            decided samples are in it as their place in the order before it says, not by the decision.
        missed: Wrong labels among the other samples: together with `flagged` those in all. None without a cut.
        recall: Share of the wrong labels that is flagged, and its limits; None where it cannot be estimated.
        classes: Row per given class: `class`, `samples`, `decided`, `found_wrong`, `estimate`, `low`, `high`.
        groups: The same per value of each column of groups, by the name of the column; one with the name of a number
            here is called `group_NAME` in its table.
        decided: Number of samples that were found right or wrong.
        found_wrong: Number of them that were found wrong.
        unsure: Number of samples that somebody could not decide.
        drawn: Number of samples drawn at random, 0 without a draw.
        random: Number of decisions that are a random sample.
        next_wrong: Expected number of wrong labels among the next `next_samples` undecided ones, worst first; None
            where it cannot be estimated.
        next_samples: 100, or fewer where fewer are left.
        notes: What limits the estimate, as sentences.
        target_rate: Share of wrong labels that may remain; None where it was not asked for.
        to_review: Number of samples to review, worst first, until probably no larger share remains: 0 if that is so
            already.
        unit: What is counted, "samples", or "labels" in multi-label data.
    """

    total: Estimate
    remaining: Estimate
    flagged: Estimate | None
    missed: Estimate | None
    recall: tuple[float, float, float] | None
    classes: pd.DataFrame
    groups: Mapping[str, pd.DataFrame]
    decided: int
    found_wrong: int
    unsure: int
    drawn: int
    random: int
    next_wrong: float | None
    next_samples: int
    notes: tuple[str, ...]
    target_rate: float | None = None
    to_review: int | None = None
    unit: Unit = "samples"

    def with_target(self, rate: float, to_review: int) -> Self:
        """Return the estimates with a share of wrong labels that may remain, and the number to review until then."""
        return replace(self, target_rate=rate, to_review=to_review)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        names = ("estimate", "low", "high")
        return {
            "total": self.total.to_dict(),
            "remaining": self.remaining.to_dict(),
            "flagged": None if self.flagged is None else self.flagged.to_dict(),
            "missed": None if self.missed is None else self.missed.to_dict(),
            "recall": None if self.recall is None else dict(zip(names, self.recall, strict=True)),
            "decided": self.decided,
            "found_wrong": self.found_wrong,
            "unsure": self.unsure,
            "drawn": self.drawn,
            "random": self.random,
            "next_wrong": self.next_wrong,
            "next_samples": self.next_samples,
            "classes": self.classes.to_dict("records"),
            "groups": {name: table.to_dict("records") for name, table in self.groups.items()},
            "target_rate": self.target_rate,
            "to_review": self.to_review,
            "unit": self.unit,
            "notes": list(self.notes),
        }


def estimate_wrong_labels(
    audit: Audit,
    decided: DecidedSamples,
    groups: Mapping[str, Sequence[str]] | None = None,
    *,
    by_class: bool = True,
) -> Estimates:
    """Return what the decisions on a run say about its labels.

    Args:
        audit: Audit of the run, with the ranking and cut in use.
        decided: Decisions on its samples.
        groups: Group of each label, by its id, by the name of the column of groups; empty for those without one.
        by_class: Whether the table of the classes is filled in.
    """
    is_open = ~decided.is_decided
    total = _of_domains(decided, np.zeros(audit.n_labels, np.int64))[0].with_whole_limits()
    flagged = missed = recall = None
    if audit.has_cut:
        suspect = _suspect_unless_decided(audit).astype(np.int64)
        missed, flagged = (*_of_domains(decided, suspect), Estimate(0.0, 0.0, 0.0, 0))[:2]
        recall = recall_of(flagged, missed)
        missed, flagged = missed.with_whole_limits(), flagged.with_whole_limits()
    found = int(decided.is_wrong.sum())
    remaining = Estimate(
        None if total.estimate is None else total.estimate - found, total.low - found, total.high - found,
        int(is_open.sum()),
    )  # fmt: skip
    expected = None if total.estimate is None else expected_by_rank(audit, decided)
    return Estimates(
        total=total,
        remaining=remaining,
        flagged=flagged,
        missed=missed,
        recall=recall,
        classes=_table(decided, _class_of_labels(audit), "class") if by_class else pd.DataFrame(),
        groups={name: _table(decided, np.array(values, object), name) for name, values in (groups or {}).items()},
        decided=int(decided.is_decided.sum()),
        found_wrong=found,
        unsure=int(decided.is_unsure.sum()),
        drawn=0 if decided.sample is None else decided.sample.size,
        random=int(decided.is_random.sum()),
        next_wrong=None if expected is None else float(expected[:NEXT].sum()),
        next_samples=min(NEXT, int(is_open.sum())),
        notes=(
            *_notes(decided, total, unit_of(audit)),
            *_notes_on_suspects(audit, flagged),
            *_notes_on_mistakes(audit),
        ),
        unit=unit_of(audit),
    )


def unit_of(audit: Audit) -> Unit:
    """Return what a decision is about: one of "samples", or of "labels" in multi-label data."""
    return "labels" if audit.is_multi_label else "samples"


def expected_by_rank(audit: Audit, decided: DecidedSamples) -> NDArray[np.float64]:
    """Return the expected number of wrong labels of each undecided one, in the order of the ranking.

    The sum of each cell is the estimate from its random decisions. Inside a cell the audit's probabilities divide it,
    where they can be trusted; otherwise all labels count alike.
    """
    by_cell = _among_undecided(decided).by_cell
    probability = np.ones(audit.n_labels)
    if audit.has_probabilities:
        probability = np.maximum(np.nan_to_num(audit.by_id("probability_wrong").astype(np.float64)), 1e-6)
    expected = np.where(decided.is_decided, 0.0, probability)
    sums = np.bincount(decided.cell, weights=expected, minlength=len(by_cell))
    expected *= (by_cell / np.maximum(sums, 1e-12))[decided.cell]
    ids = audit.rows
    ids = ids[~decided.is_decided[ids]]
    return np.asarray(np.minimum(expected[ids], 1.0))


def to_review_worst_first(audit: Audit, decided: DecidedSamples, most_wrong: float) -> int:
    """Return how many more samples to review, worst first, until at most this many wrong labels probably remain.

    The upper limit of the number that remains is to fall to `most_wrong`: it falls in each cell with the expected
    number of wrong labels that is left there.
    """
    total = _among_undecided(decided)
    if float(total.high) <= most_wrong:
        return 0
    if total.unsampled:  # nothing is known of some samples: all may be wrong
        return int(max(0, (~decided.is_decided).sum() - np.floor(most_wrong)))
    expected = np.maximum(expected_by_rank(audit, decided), 1e-9)
    left = expected.sum() - np.cumsum(expected)
    bound = left / expected.sum() * float(total.high)
    enough = np.flatnonzero(bound <= most_wrong)
    return int(enough[0]) + 1 if len(enough) else len(expected)


def random_decisions_needed(audit: Audit, decided: DecidedSamples, most_wrong: float) -> int:
    """Return how many more random decisions will probably show whether more labels than `most_wrong` are wrong.

    Each number is tried as it would be decided: on the samples that are drawn already, and on those that an
    enlargement draws; where no sample was drawn, on one of that size.

    Args:
        audit: Audit of the run.
        decided: Decisions on its samples.
        most_wrong: The number of wrong labels in all to compare with.
    """
    most = int((~decided.is_decided).sum())
    least = min(_LEAST_ASKED if decided.is_random.any() else LEAST_FIRST, most)
    sizes = np.unique(np.geomspace(max(least, 1), max(most, 1), _SIZES_TRIED).round().astype(int))
    before, enough = 0, len(sizes) - 1  # all samples are enough in any case
    while before < enough:
        middle = (before + enough) // 2
        if _is_enough(audit, decided, most_wrong, int(sizes[middle])):
            enough = middle
        else:
            before = middle + 1
    return int(sizes[enough])


def _is_enough(audit: Audit, decided: DecidedSamples, most_wrong: float, size: int) -> bool:
    """Return whether a number of further random decisions will probably show on which side of `most_wrong` we are."""
    if decided.sample is None:
        sample = draw_sample(audit, size, seed=0, decided=np.flatnonzero(decided.is_decided).tolist())
        decided = decided_samples(audit, decided.decisions, sample)
    assert decided.sample is not None
    open_drawn = int((decided.sample.is_drawn & ~decided.is_decided).sum())
    to_decide = decided.sample.enlarged(decided.sample.size + max(size - open_drawn, 0)).is_drawn & ~decided.is_decided
    n_cells = int(decided.cell.max(initial=-1)) + 1
    further = np.bincount(decided.cell[to_decide], minlength=n_cells)
    if size < open_drawn:
        further = further * size // open_drawn
    prior = np.full(n_cells, audit.column("suspect").mean() if audit.has_cut else 0.1)
    if audit.has_probabilities:
        probability = np.nan_to_num(audit.by_id("probability_wrong").astype(np.float64), nan=0.5)
        prior = np.bincount(decided.cell, weights=probability) / np.bincount(decided.cell)
    cells = Cells.count(decided.cell, decided.is_wrong, decided.is_right, decided.is_random)
    found = int(decided.is_wrong.sum())
    chance = chance_to_decide(cells, further, found, most_wrong, np.clip(prior, 1e-3, 1 - 1e-3))
    return chance >= (POWER if decided.is_random.any() else FIRST_POWER)


def _among_undecided(decided: DecidedSamples) -> WrongAmongUndecided:
    return wrong_among_undecided(Cells.count(decided.cell, decided.is_wrong, decided.is_right, decided.is_random))


def _of_domains(decided: DecidedSamples, domain: NDArray[np.int64]) -> list[Estimate]:
    """Return the wrong labels of each domain, those found included; the estimates add up to that in all.

    Args:
        decided: Decisions.
        domain: Number of the domain of each sample, [n], from 0.
    """
    found, n = np.bincount(domain, weights=decided.is_wrong), np.bincount(domain)
    left = wrong_by_domain(Cells.count(decided.cell, decided.is_wrong, decided.is_right, decided.is_random, domain))
    is_known = left.unsampled <= MOST_UNSAMPLED * n
    numbers = zip(found, is_known, left.estimate, left.low, left.high, n, strict=True)
    return [
        Estimate(float(k + estimate) if known else None, float(k + low), float(k + high), int(size))
        for k, known, estimate, low, high, size in numbers
    ]


def recall_of(flagged: Estimate, missed: Estimate) -> tuple[float, float, float] | None:
    """Return the share of the wrong labels that is flagged, with its limits, which both numbers' limits allow."""
    if flagged.estimate is None or missed.estimate is None or flagged.estimate + missed.estimate <= 0:
        return None
    hit, miss = (flagged.estimate, flagged.low, flagged.high), (missed.estimate, missed.low, missed.high)
    share = flagged.estimate / (flagged.estimate + missed.estimate)
    if flagged.estimate == 0:
        low, high = ratio_limits(hit, miss)
        low, high = low / (1 + low), 1.0 if high == float("inf") else high / (1 + high)
    else:
        low, high = ratio_limits(miss, hit)
        low, high = 0.0 if high == float("inf") else 1 / (1 + high), 1 / (1 + low)
    least = flagged.low / (flagged.low + missed.high) if flagged.low else 0.0
    most = flagged.high / (flagged.high + missed.low) if missed.low else 1.0
    return share, max(low, least), min(high, most)


def _suspect_unless_decided(audit: Audit) -> NDArray[np.bool_]:
    """Return whether each label is a suspect, or would be one if it were undecided, [n] by its id.

    A calibrated ranking takes samples that were found right out of the suspects. Random decisions that are picked so,
    by what they found, would not stand for the undecided suspects: all of them would be taken for wrong. So decided
    samples are cut by the unsupervised order, where the cut divides undecided suspects from others best; where hardly a
    suspect is undecided, by the unsupervised cut.
    """
    suspect = audit.by_id("suspect").astype(bool)
    if "unsupervised_log_odds" not in audit.frame:
        return suspect
    odds = audit.by_id("unsupervised_log_odds").astype(np.float64)
    by_decision = audit.by_id("decision").astype(str) != ""
    others = np.flatnonzero(~by_decision & ~np.isnan(odds))
    others = others[np.argsort(-odds[others], kind="stable")]
    gain = np.cumsum(np.where(suspect[others], 1, -1))
    if len(gain) and gain.max() > 0:
        is_above = odds >= odds[others[gain.argmax()]]
    else:
        order = np.argsort(-odds, kind="stable")  # NaN last
        settings = settings_to_flag(audit.settings, is_trusted=True)
        is_above = np.zeros(len(odds), bool)
        is_above[order] = flag(odds[order].astype(np.float32), sigmoid(odds[order]), settings)[0]
    return np.where(by_decision, is_above, suspect)


def _class_of_labels(audit: Audit) -> NDArray[np.object_]:
    """Return the given class of each label, [n] by its id; in multi-label data the class that it is about."""
    column = "class_id" if audit.is_multi_label else "given_label"
    return np.array(audit.class_names, object)[audit.by_id(column).astype(np.int64)]


def _table(decided: DecidedSamples, value: NDArray[Any], name: str) -> pd.DataFrame:
    """Return the estimates of each value of a column, [n] by the ids of the labels, most wrong ones first."""
    numbers = ("samples", "decided", "found_wrong", "estimate", "low", "high")
    name = f"group_{name}" if name in numbers else name
    codes, values = pd.factorize(value, sort=False)
    n_decided = np.bincount(codes, weights=decided.is_decided).astype(int)
    n_wrong = np.bincount(codes, weights=decided.is_wrong).astype(int)
    estimates = [estimate.with_whole_limits() for estimate in _of_domains(decided, codes)]
    rows = [
        (str(text), estimate.samples, known, wrong, estimate.estimate, estimate.low, estimate.high)
        for text, estimate, known, wrong in zip(values, estimates, n_decided, n_wrong, strict=True)
    ]
    table = pd.DataFrame(rows, columns=[name, *numbers])
    return table.sort_values(["estimate", "found_wrong"], ascending=False, kind="stable", ignore_index=True)


def _notes_on_suspects(audit: Audit, flagged: Estimate | None) -> list[str]:
    """Return what the suspects of the estimate are, where the audit's own are others."""
    n_suspects = int(audit.column("suspect").sum())
    if flagged is None or flagged.samples == n_suspects:
        return []
    return [
        f"The audit flags {n_suspects:,} labels, with what was decided about them; by the scores alone it would flag "
        f"{flagged.samples:,}. Precision and recall are of these."
    ]


def _notes_on_mistakes(audit: Audit) -> list[str]:
    """Return that the ranking takes decisions for mistakes, where it does: the estimate takes them as they are."""
    if audit.calibration is None or not audit.calibration.has_doubtful_answers:
        return []
    return [
        f"The ranking takes about {audit.expected_mistakes:,.0f} of the decisions for mistakes, and the numbers here "
        "count labels as people decided them. Let another person decide on the samples whose probability of being "
        "wrong contradicts the decision."
    ]


def _notes(decided: DecidedSamples, total: Estimate, unit: Unit) -> list[str]:
    """Return what limits the estimate."""
    notes = []
    sample, n_random = decided.sample, int(decided.is_random.sum())
    if sample is None:
        notes.append(
            f"No random sample was drawn: decisions count for the {unit} that they are about, and say nothing about "
            "the others."
        )
        return [*notes, *decided.decisions.notes]
    drawn = sample.is_drawn
    n_open = int((drawn & ~decided.is_decided & ~decided.is_unsure).sum())
    n_left_out = int(((sample.stratum == DECIDED_BEFORE) & ~decided.is_decided & ~decided.is_unsure).sum())
    if n_left_out:
        notes.append(
            f"The draw left out {n_left_out:,} {unit} that were decided before, and the files that are read hold no "
            "decision on them: give the files with these decisions too."
        )
    if n_open:
        notes.append(
            f"{n_open:,} of the {sample.size:,} {unit} drawn are not decided yet; {n_random:,} decisions are random."
        )
    if total.estimate is None:
        way_on = f"Decide the {unit} drawn in their order, without leaving any out."
        if not n_open and decided.is_unsure[drawn].any():
            way_on = f"Let another person decide on the unsure {unit}, or draw more."
        if n_left_out:
            way_on = "Without the decisions from before the draw there is none."
        notes.append(f"There is no estimate yet: parts of the data have no random decision. {way_on}")
    chosen = int((drawn & decided.is_decided & ~decided.is_random).sum())
    if chosen:
        notes.append(
            f"{chosen:,} decided {unit} that were drawn count for themselves alone: others before them in the random "
            "order are not decided. An empty cell is no answer: write keep where a label is right."
        )
    n_unsure = int(decided.is_unsure.sum())
    if n_unsure:
        notes.append(
            f"{n_unsure:,} {unit} are unsure: they count as undecided, and as often wrong as the others of their part "
            "of the ranking."
        )
    if problems := decided.decisions.problems:
        first, n_problems = problems[0], len({problem.sample_id for problem in problems})
        row = "" if first.row is None else f", row {first.row}"
        notes.append(
            f"{n_problems:,} samples have contradictory or invalid decisions, and count as undecided: correct them, as "
            f"the estimate may be too low or too high without them. The first: {first.file}{row}: {first.reason}."
        )
    notes += decided.decisions.notes
    return notes
