"""Check a source before an audit: decode every image, and list all rows that cannot be used (`check-data`)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from gwaudit.core.errors import BrokenRowsError, SettingsError
from gwaudit.core.settings import DataSettings
from gwaudit.core.urls import redacted
from gwaudit.data.dataset import SkippedSample
from gwaudit.data.loading import read_source
from gwaudit.data.summary import DataSummary, summarise
from gwaudit.pipeline.stages import ImageStage, StageProgress
from gwaudit.pipeline.unused_settings import require_used


@dataclass(frozen=True)
class DataCheck:
    """Hold what a check of a source found.

    Attributes:
        source: The source.
        broken: Rows that cannot be used; rows without a label are none of these.
        summary: Summary of the data; None where rows are broken.
    """

    source: str
    broken: Sequence[SkippedSample]
    summary: DataSummary | None

    def to_dict(self) -> dict[str, Any]:
        """Return the check as JSON can hold it."""
        return {
            "source": self.source,
            "is_usable": not self.broken,
            "broken": [asdict(sample) for sample in self.broken],
            "data": None if self.summary is None else self.summary.to_dict(),
        }


def check_data(data: DataSettings, progress: StageProgress | None = None) -> DataCheck:
    """Read a source as an audit does, and decode all of its images anew, without the cache.

    Args:
        data: the data set.
        progress: receives the number of images decoded.

    Raises:
        DataError: the source cannot be used at all.
        SettingsError: `also_split` is set, or a setting that does nothing for these data.
    """
    if data.also_split is not None:
        raise SettingsError("`also_split` does nothing in a check of one split: check the other one with `split`")
    strict = replace(data, on_error="stop", cache_limit=0.0)
    try:
        dataset = read_source(strict, progress=None if progress is None else ImageStage(progress))
    except BrokenRowsError as error:
        return DataCheck(redacted(data.source), error.rows, None)
    require_used(data, dataset)
    return DataCheck(redacted(data.source), (), summarise(dataset, data.source))
