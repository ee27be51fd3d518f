"""Estimate how many labels of a run are wrong from decisions on a random sample: `sample`, `status` and `check`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from gwaudit.analysis.audit import Audit
from gwaudit.core.errors import DataError, SettingsError
from gwaudit.core.outputs import require_file
from gwaudit.core.spreadsheets import write_csv
from gwaudit.pipeline.run_data import samples_of_run
from gwaudit.pipeline.stages import StageProgress, Warnings
from gwaudit.review.decided_samples import DecidedSamples, read_decided
from gwaudit.review.decision_files import fingerprint_cell
from gwaudit.review.estimates import (
    Estimates,
    estimate_wrong_labels,
    random_decisions_needed,
    to_review_worst_first,
)
from gwaudit.review.group_files import read_groups
from gwaudit.review.review_sample import ReviewSample, sample_to_review
from gwaudit.store.store import TrajectoryStore

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
        samples: Number of samples in the run.
        decided: Number of decided samples.
        more_decisions: Number of further random decisions that will probably suffice; 0 if none is needed.
        open_samples: Number of samples that were drawn and are not decided yet.
        sample_size: Size of a sample with that number of further decisions.
        notes: What limits the estimate, as sentences.
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


def estimate(
    run: Path | str,
    decisions: Sequence[Path | str] = (),
    *,
    groups: Path | str | None = None,
    target_rate: float | None = None,
) -> Estimates:
    """Estimate how many labels of a run are wrong from the decisions on it, with 95 % intervals.

    Random decisions, on samples that `gwaudit sample` or `gwaudit review --estimate` drew, stand for the others; all
    other decisions count for the samples that they are about.

    Args:
        run: Folder of a ranked run. The decisions of its reviews (`decisions.csv`) are read.
        decisions: Further files with decisions.
        groups: CSV file with a column `key` or `sample_id` and one or more columns of groups, such as the annotator.
        target_rate: Share of wrong labels that may remain: the result says how many more samples to review.

    Raises:
        SettingsError: `target_rate` is no share.
        DataError: A file cannot be read, or is about other data; or the run is multi-label.
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
    decided = read_decided(audit, decisions)
    result = estimate_wrong_labels(audit, decided, None if groups is None else read_groups(groups, audit))
    if target_rate is None:
        return result
    return result.with_target(target_rate, to_review_worst_first(audit, decided, target_rate * audit.n_samples))


def check(
    run: Path | str, max_wrong: float, decisions: Sequence[Path | str] = (), *, corrected: bool = False
) -> Check:
    """Check whether at most a share of the labels of a run is wrong, from the decisions on it.

    Args:
        run: Folder of a ranked run. The decisions of its reviews (`decisions.csv`) are read.
        max_wrong: The largest share of wrong labels that is accepted, in [0, 1).
        decisions: Further files with decisions.
        corrected: Count wrong labels that were found as corrected, as after `apply`.

    Raises:
        SettingsError: `max_wrong` is no share.
        DataError: A file cannot be read, or is about other data; or the run is multi-label.
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
    decided = read_decided(audit, decisions)
    result = estimate_wrong_labels(audit, decided)
    n, wrong = audit.n_samples, result.remaining if corrected else result.total
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
    )


def draw_for_review(
    run: Path | str, size: int, *, seed: int | None = None, redraw: bool = False
) -> tuple[Audit, ReviewSample, DecidedSamples]:
    """Draw a random sample of a run, or enlarge the one that it has, and return it with the audit and the decisions.

    Args:
        run: Folder of a ranked run.
        size: Number of samples in all: a sample of this run that is as large is used again.
        seed: Seed of a new draw, by default a random one.
        redraw: Draw anew from what is undecided, by the ranking in use.

    Raises:
        SettingsError: `size` is not positive.
        DataError: The run is multi-label, or its sample was drawn from other data.
        StoreError: The sample cannot be read or written.
    """
    audit = Audit.load(run)
    decided = read_decided(audit, with_sample=not redraw)
    known = np.flatnonzero(decided.is_decided).tolist()
    sample = sample_to_review(audit, size, seed=seed, redraw=redraw, decided=known)
    return audit, sample, decided


def write_sample(
    run: Path | str,
    output: Path | str,
    size: int,
    *,
    seed: int | None = None,
    redraw: bool = False,
    root: Path | str | None = None,
    progress: StageProgress | None = None,
) -> int:
    """Draw a random sample of a run and write what is undecided of it as a CSV file to fill in.

    The rows are in random order, and without scores, suggestions or ranks, so that people decide by the sample alone.
    The columns `decision` and `label` are empty; `apply`, `status` and `check` read the filled file.

    Args:
        run: Folder of a ranked run.
        output: The file.
        size: Number of samples in all: a sample of this run that is as large is used again.
        seed: Seed of a new draw, by default a random one.
        redraw: Draw anew from what is undecided, by the ranking in use.
        root: Place of the data now, if they were moved. They are read for the texts alone.
        progress: Receives the stages, and notes on the data; by default these are warnings.

    Returns:
        The number of rows.

    Raises:
        SettingsError: `size` is not positive.
        DataError: The run is multi-label, its sample was drawn from other data, or all of the sample is decided.
        StoreError: The sample cannot be read or written, or the file cannot be written.
    """
    output = require_file(output)
    progress = progress or Warnings()
    audit, sample, decided = draw_for_review(run, size, seed=seed, redraw=redraw)
    ids = sample.ids()
    ids = ids[~decided.is_decided[ids]]
    if not len(ids):
        raise DataError(
            f"all {sample.size:,} samples drawn of {audit.n_samples:,} are decided: draw more with a larger `size`"
        )
    names = np.array(audit.class_names, object)
    table = pd.DataFrame(
        {
            "sample_id": ids,
            "key": audit.by_id("key")[ids],
            "given_name": names[audit.by_id("given_label")[ids].astype(np.int64)],
            "decision": "",
            "label": "",
            "data_fingerprint": fingerprint_cell(audit.fingerprint),
        }
    )
    with TrajectoryStore.open(audit.run) as store:
        if store.settings.get("has_texts"):
            dataset = samples_of_run(store, progress, root)
            if dataset is not None and dataset.texts is not None:
                table.insert(2, "text", [dataset.texts[i] for i in ids])
    write_csv(table, output)
    return len(table)


def _require_share(name: str, value: Any) -> None:
    if not 0 <= value < 1:
        raise SettingsError(f"`{name}` is a share of the labels, from 0 to below 1 (2 % is 0.02), not {value}")
