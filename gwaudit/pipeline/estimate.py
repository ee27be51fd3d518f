"""Estimate how many labels of a run are wrong from decisions on a random sample: `status` and `check`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gwaudit.analysis.audit import Audit
from gwaudit.core.errors import SettingsError
from gwaudit.pipeline.groups import groups_of_run
from gwaudit.pipeline.stages import StageProgress
from gwaudit.review.decided_samples import DecidedSamples, read_decided, require_usable
from gwaudit.review.estimates import (
    Estimates,
    Unit,
    estimate_wrong_labels,
    random_decisions_needed,
    to_review_worst_first,
)

Outcome = Literal["passed", "failed", "undecided"]


@dataclass(frozen=True)
class Check:
    """Hold the result of a check of a run against a largest share of wrong labels.

    Attributes:
        outcome: "passed" if the whole interval is at most `max_wrong`, "failed" if it lies above, "undecided" if the
            decisions do not suffice.
        max_wrong: The largest share of wrong labels that is accepted.
        share: The estimated share; None where there is no estimate.
        low: Lower limit of the 95 % interval of the share.
        high: Upper limit.
        samples: Number of samples in the run; of labels, one a (sample, class), in a multi-label run, and so on below.
        decided: Number of decided samples.
        more_decisions: Number of further random decisions that will probably suffice; 0 if none is needed.
        open_samples: Number of samples that were drawn and are not decided yet.
        sample_size: Size of a sample with that number of further decisions.
        notes: What limits the estimate, as sentences.
        unit: What is counted, "samples", or "labels" in a multi-label run.
    """

    outcome: Outcome
    max_wrong: float
    share: float | None
    low: float
    high: float
    samples: int
    decided: int
    more_decisions: int
    open_samples: int
    sample_size: int
    notes: tuple[str, ...]
    unit: Unit = "samples"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return asdict(self)


def estimate(
    run: Path | str,
    decisions: Sequence[Path | str] = (),
    *,
    groups: Path | str | None = None,
    target_rate: float | None = None,
    progress: StageProgress | None = None,
) -> Estimates:
    """Estimate how many labels of a run are wrong from the decisions on it, with 95 % intervals.

    Random decisions, on samples that `gwaudit sample` or `gwaudit review --estimate` drew, stand for the others; all
    other decisions count for the samples that they are about.

    Args:
        run: Folder of a ranked run. The decisions of its reviews (`decisions.csv`) are read.
        decisions: Further files with decisions.
        groups: CSV file with a column `key` or `sample_id` and one or more columns of groups, such as the annotator;
            or the name of a column of the source of the run.
        target_rate: Share of wrong labels that may remain: the result says how many more samples to review.
        progress: Receives the stage, and notes on the data, where the source is read for its groups; by default these
            are warnings.

    Raises:
        SettingsError: `target_rate` is no share.
        DataError: A file cannot be read, or is about other data.
        UnresolvedDecisionsError: Decisions contradict each other, or are invalid, as `relabel` without a class.
        StoreNotFoundError: The run is not ranked.

    Example:
        >>> import gwaudit
        >>> with gwaudit.TrajectoryStore.open("runs/worse") as store:
        ...     gwaudit.rank(store).save("runs/worse")
        >>> result = gwaudit.estimate("runs/worse")
        >>> result.decided, result.total.estimate is None
        (0, True)
    """
    if target_rate is not None:
        _require_share("target_rate", target_rate)
    audit = Audit.load(run)
    decided = _read_valid(audit, decisions)
    of_labels = None
    if groups is not None:
        each = audit.n_labels // audit.n_samples  # labels of a sample: its group is theirs
        of_samples = groups_of_run(audit.run, groups, progress)
        of_labels = {name: np.repeat(values, each).tolist() for name, values in of_samples.items()}
    result = estimate_wrong_labels(audit, decided, of_labels)
    if target_rate is None:
        return result
    return result.with_target(target_rate, to_review_worst_first(audit, decided, target_rate * audit.n_labels))


def check(run: Path | str, max_wrong: float, decisions: Sequence[Path | str] = (), *, corrected: bool = False) -> Check:
    """Check whether at most a share of the labels of a run is wrong, from the decisions on it.

    Args:
        run: Folder of a ranked run. The decisions of its reviews (`decisions.csv`) are read.
        max_wrong: The largest share of wrong labels that is accepted, in [0, 1).
        decisions: Further files with decisions.
        corrected: Count wrong labels that were found as corrected, as after `apply`.

    Raises:
        SettingsError: `max_wrong` is no share.
        DataError: A file cannot be read, or is about other data.
        UnresolvedDecisionsError: Decisions contradict each other, or are invalid, as `relabel` without a class.
        StoreNotFoundError: The run is not ranked.

    Example:
        >>> import gwaudit
        >>> with gwaudit.TrajectoryStore.open("runs/worse") as store:
        ...     gwaudit.rank(store).save("runs/worse")
        >>> gwaudit.check("runs/worse", 0.02).outcome
        'undecided'
    """
    _require_share("max_wrong", max_wrong)
    audit = Audit.load(run)
    return check_decided(audit, _read_valid(audit, decisions), max_wrong, corrected=corrected)


def check_decided(audit: Audit, decided: DecidedSamples, max_wrong: float, *, corrected: bool = False) -> Check:
    """Check whether at most a share of the labels is wrong, from decisions that were read.

    Args:
        audit: Audit of the run.
        decided: Decisions on its samples, none of them contradictory.
        max_wrong: The largest share of wrong labels that is accepted, in [0, 1).
        corrected: Count wrong labels that were found as corrected.
    """
    result = estimate_wrong_labels(audit, decided, by_class=False)
    n, wrong = audit.n_labels, result.remaining if corrected else result.total
    outcome: Outcome = "undecided"
    if wrong.high <= max_wrong * n:
        outcome = "passed"
    elif wrong.low > max_wrong * n:
        outcome = "failed"
    more = size = 0
    n_open = 0 if decided.sample is None else int((decided.sample.is_drawn & ~decided.is_decided).sum())
    if outcome == "undecided":
        found = result.found_wrong if corrected else 0
        more = random_decisions_needed(audit, decided, max_wrong * n + found)
        size = result.drawn + max(more - n_open, 0)
    return Check(
        outcome=outcome,
        max_wrong=max_wrong,
        share=None if wrong.estimate is None else wrong.estimate / n,
        low=wrong.low / n,
        high=wrong.high / n,
        samples=n,
        decided=result.decided,
        more_decisions=more,
        open_samples=n_open,
        sample_size=size,
        notes=result.notes,
        unit=result.unit,
    )


def _require_share(name: str, value: Any) -> None:
    if not isinstance(value, Real) or not 0 <= float(value) < 1:
        raise SettingsError(f"`{name}` is a share of the labels, from 0 to below 1 (2 % is 0.02), not {value!r}")


def _read_valid(audit: Audit, files: Sequence[Path | str]) -> DecidedSamples:
    """Return the decisions; raise UnresolvedDecisionsError where some cannot be used, which would bias the estimate."""
    decided = read_decided(audit, files)
    require_usable(decided.decisions, "there is no estimate")
    return decided
