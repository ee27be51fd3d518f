"""Hold the findings of an audit, sample by sample, for the formats of other tools."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gwaudit.analysis.audit import Audit
from gwaudit.core.errors import DataError
from gwaudit.core.json import without_nan
from gwaudit.data.image_files import ImageFile
from gwaudit.export.original_data import OriginalData

if TYPE_CHECKING:  # for its type alone: what needs no data set is exported without torch
    from gwaudit.data.dataset import LabeledDataset

_BATCH = 4096


@dataclass(frozen=True)
class Finding:
    """Hold the findings about one sample.

    Attributes:
        rank: Place in the ranking, 1 for the most suspicious sample.
        sample_id: Id of the sample.
        key: Key of the sample.
        given: Index of the given label.
        suggested: Index of the suggested label; None where the run recorded nothing of the sample.
        proposed: Label that a tool proposes: the suggested one of a suspect, the given one of any other sample.
        probability: Probability that the given label is wrong; None where nothing was recorded, or the verdict on
            the run does not trust it.
        log_odds_wrong: Log of these odds; None where nothing was recorded.
        alignment: Mean γ over the window; None where nothing was recorded.
        category: "suspect", "late-aligned", "hard", "fine", "too-few", "unlearned" or "unrecorded".
        suspect: Whether the sample is a suspect.
    """

    rank: int
    sample_id: int
    key: str
    given: int
    suggested: int | None
    proposed: int
    probability: float | None
    log_odds_wrong: float | None
    alignment: float | None
    category: str
    suspect: bool


@dataclass(frozen=True, eq=False)
class Findings:
    """Hold the samples of an audit that are exported, with the data set that they belong to.

    Attributes:
        audit: The audit.
        samples: Rows of its frame, in the order in which people look at them.
        original: The data set, where the format needs it.
    """

    audit: Audit
    samples: pd.DataFrame
    original: OriginalData

    @property
    def dataset(self) -> "LabeledDataset":
        """Return the data set.

        Raises:
            DataError: it is missing, or not the one that was audited.
        """
        return self.original.require(self.audit.fingerprint)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the C names of the classes."""
        return self.audit.class_names

    def __iter__(self) -> Iterator[Finding]:
        """Yield the findings, sample by sample.

        Raises:
            DataError: there are none.
        """
        if self.samples.empty:
            raise DataError(
                "there is nothing to export: the audit has no suspects; set `top` to take the first samples of its "
                "ranking"
            )
        columns = (
            "rank", "sample_id", "key", "given_label", "suggested_label", "probability_wrong", "log_odds_wrong",
            "mean_alignment", "category", "suspect",
        )  # fmt: skip
        for start in range(0, len(self.samples), _BATCH):  # Python objects of a few rows at a time
            rows = self.samples.iloc[start : start + _BATCH]
            for values in zip(*(rows[column].tolist() for column in columns), strict=True):
                yield _finding(*values, has_probability=self.audit.has_probabilities)

    def image_file(self, sample_id: int) -> ImageFile:
        """Return the image file of a sample.

        Raises:
            DataError: it can no longer be read.
        """
        return self.original.image_file(self.dataset, sample_id)


def _finding(
    rank: int, sample_id: int, key: str, given: int, suggested: int, probability: float,
    log_odds_wrong: float, alignment: float, category: str, suspect: bool, *, has_probability: bool,
) -> Finding:  # fmt: skip
    suggestion = suggested if suggested >= 0 else None
    return Finding(
        rank=rank,
        sample_id=sample_id,
        key=key,
        given=given,
        suggested=suggestion,
        proposed=suggestion if suspect and suggestion is not None else given,
        probability=_shortest_decimal(probability) if has_probability else None,
        log_odds_wrong=_shortest_decimal(log_odds_wrong),
        alignment=_shortest_decimal(alignment),
        category=category,
        suspect=suspect,
    )


def _shortest_decimal(value: Any) -> float | None:
    """Return the shortest decimal number that is this one in float32 (0.1, not 0.10000000149); None for NaN."""
    shortest: float | None = without_nan(float(str(np.float32(value))))
    return shortest
