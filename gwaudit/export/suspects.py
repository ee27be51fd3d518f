"""Write tables that people check: the suspects, the samples that were left out, and the estimated label noise."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gwaudit.analysis.audit import Audit
from gwaudit.analysis.noise import class_health, transition_matrix, worst_first
from gwaudit.core.spreadsheets import write_csv
from gwaudit.export.findings import Findings

if TYPE_CHECKING:  # for its type alone: suspects can be exported without torch
    from gwaudit.data.dataset import SkippedSample
    from gwaudit.data.reading_notes import Contradiction
    from gwaudit.store.split_copies import SplitCopies

SUSPECT_COLUMNS = (
    "rank", "sample_id", "key", "given_label", "given_name", "suggested_label", "suggested_name",
    "log_odds_wrong", "probability_wrong", "mean_alignment", "share_negative", "category", "verdict",
)  # fmt: skip

MULTI_LABEL_SUSPECT_COLUMNS = (*SUSPECT_COLUMNS[:3], "class_name", *SUSPECT_COLUMNS[3:])
"""The columns in a multi-label audit: given and suggested are "absent" or "present" there."""


def write(findings: Findings, path: Path) -> Path:
    """Write the samples of the findings as a CSV file and return its path.

    Raises:
        StoreError: the file cannot be written.
    """
    dataset = findings.original.dataset
    return _write_samples(findings.audit, [findings.samples], path, None if dataset is None else dataset.texts)


def write_suspects(
    audit: Audit, path: Path | str, *, top: int | None = None, texts: Sequence[str] | None = None
) -> Path:
    """Write the suspects, most suspicious first, as a CSV file that spreadsheets open well, and return its path.

    The column `verdict` holds the verdict on the run. Without a cut to trust, the file holds the first of the ranking
    (`Audit.to_review`); without probabilities to trust, their column is empty.

    Args:
        audit: The audit.
        path: The file; it is complete or does not exist.
        top: Number of samples from the top of the ranking to write, instead of the suspects.
        texts: [n] texts of the samples, for a column `text` behind the key.

    Raises:
        StoreError: the file cannot be written.
    """
    chosen = audit.is_to_review() if top is None else audit.is_undecided & (np.cumsum(audit.is_undecided) <= top)
    return _write_samples(audit, audit.table.frames(chosen=chosen), path, texts)


def write_skipped(skipped: "Sequence[SkippedSample]", path: Path | str) -> Path:
    """Write the rows of a source that were left out, with the reasons, as a CSV file and return its path.

    Raises:
        StoreError: the file cannot be written.
    """
    rows = [(sample.row, sample.key, sample.reason) for sample in skipped]
    return write_csv(pd.DataFrame(rows, columns=["row", "key", "reason"]), path)


def write_contradictions(contradictions: "Sequence[Contradiction]", path: Path | str) -> Path:
    """Write the samples with one input, or nearly equal images, and different labels as a CSV file; return its path.

    Samples of one contradiction have one number in the column `contradiction`; `inputs` is "equal" or "nearly equal".

    Raises:
        StoreError: the file cannot be written.
    """
    rows = [
        (number, key, label, "nearly equal" if samples.nearly else "equal")
        for number, samples in enumerate(contradictions, start=1)
        for key, label in zip(samples.keys, samples.labels, strict=True)
    ]
    return write_csv(pd.DataFrame(rows, columns=["contradiction", "key", "given_name", "inputs"]), path)


def write_split_copies(copies: "Sequence[SplitCopies]", path: Path | str) -> Path:
    """Write the samples that have copies in another split, and these copies, as a CSV file; return its path.

    Samples of one group have one number in the column `group`; `inputs` is "equal" or "nearly equal", and `labels` is
    "equal" or "different".

    Raises:
        StoreError: the file cannot be written.
    """
    rows = [
        (
            number,
            split,
            key,
            label,
            "nearly equal" if group.nearly else "equal",
            "different" if group.is_contradictory else "equal",
        )
        for number, group in enumerate(copies, start=1)
        for split, key, label in zip(group.splits, group.keys, group.labels, strict=True)
    ]
    return write_csv(pd.DataFrame(rows, columns=["group", "split", "key", "given_name", "inputs", "labels"]), path)


def write_noise(audit: Audit, folder: Path | str) -> tuple[Path, ...]:
    """Write `transition_matrix.csv` and `class_health.csv`, tables of `gwaudit.analysis.noise`, into a folder.

    In a multi-label audit only the second is written: it has the shares of wrong and of missing labels, and a matrix of
    absent and present would hold nothing else.

    Returns:
        The files.

    Raises:
        StoreError: the files cannot be written.
    """
    folder = Path(folder)
    health = write_csv(worst_first(class_health(audit)), folder / "class_health.csv", index=True)
    if audit.is_multi_label:
        return (health,)
    return write_csv(transition_matrix(audit), folder / "transition_matrix.csv", index=True), health


def _write_samples(
    audit: Audit, samples: Iterable[pd.DataFrame], path: Path | str, texts: Sequence[str] | None
) -> Path:
    return write_csv((_table(audit, part, texts) for part in samples), path)


def _table(audit: Audit, samples: pd.DataFrame, texts: Sequence[str] | None) -> pd.DataFrame:
    """Return rows of an audit as they are written."""
    columns = MULTI_LABEL_SUSPECT_COLUMNS if audit.is_multi_label else SUSPECT_COLUMNS
    table = samples.assign(verdict=audit.verdict.short_reason)[list(columns)]
    if not audit.has_probabilities:
        table["probability_wrong"] = np.nan
    if texts is not None:
        table.insert(3, "text", [texts[sample_id] for sample_id in table["sample_id"]])
    return table
