"""What leaves an audit for people to check: the suspects, what was left out, and the noise as a whole."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from gwaudit.analysis.audit import Audit
from gwaudit.analysis.noise import class_health, transition_matrix, worst_first
from gwaudit.core.spreadsheets import write_csv

if TYPE_CHECKING:  # for its type alone: suspects can be exported without torch
    from gwaudit.data.dataset import SkippedSample

SUSPECT_COLUMNS = (
    "rank", "sample_id", "key", "given_label", "given_name", "suggested_label", "suggested_name",
    "log_odds_wrong", "probability_wrong", "mean_alignment", "share_negative", "category",
)  # fmt: skip

MULTI_LABEL_SUSPECT_COLUMNS = (*SUSPECT_COLUMNS[:3], "class_name", *SUSPECT_COLUMNS[3:])
"""Where samples have any number of classes: given and suggested are "absent" or "present" there."""


def write_suspects(
    audit: Audit, path: Path | str, *, top: int | None = None, texts: Sequence[str] | None = None
) -> Path:
    """Write the suspects, most suspicious first, as a CSV that a spreadsheet opens well.

    Args:
        audit: whose suspects.
        path: of the file; it is there whole or not at all.
        top: write so many samples from the top of the ranking instead, suspects or not.
        texts: [n] what the samples say, for a column `text` behind the key.

    Raises:
        StoreError: it cannot be written.
    """
    frame = audit.suspects if top is None else audit.frame.head(top)
    frame = frame[list(MULTI_LABEL_SUSPECT_COLUMNS if audit.is_multi_label else SUSPECT_COLUMNS)].copy()
    if texts is not None:
        frame.insert(3, "text", [texts[sample_id] for sample_id in frame["sample_id"]])
    return write_csv(frame, path)


def write_skipped(skipped: "Sequence[SkippedSample]", path: Path | str) -> Path:
    """Write the rows of a source that were left out, and why, as a CSV.

    Raises:
        StoreError: it cannot be written.
    """
    rows = [(sample.row, sample.key, sample.reason) for sample in skipped]
    return write_csv(pd.DataFrame(rows, columns=["row", "key", "reason"]), path)


def write_noise(audit: Audit, folder: Path | str) -> tuple[Path, ...]:
    """Write `transition_matrix.csv` and `class_health.csv`, as `gwaudit.analysis.noise` has them, into a folder.

    Where samples have any number of classes the second alone: the shares of wrong and of missing labels there are all
    that a matrix of absent and present would hold.

    Raises:
        StoreError: they cannot be written.
    """
    folder = Path(folder)
    health = write_csv(worst_first(class_health(audit)), folder / "class_health.csv", index=True)
    if audit.is_multi_label:
        return (health,)
    return write_csv(transition_matrix(audit), folder / "transition_matrix.csv", index=True), health
