"""Write the figures of the report as files, for papers and slides."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import plotly.graph_objects as go

from gwaudit.core.errors import GwauditError, MissingExtraError, SettingsError
from gwaudit.core.files import write_folder
from gwaudit.review.report.contents import ReportData
from gwaudit.review.report.figures import FIGURES, draw_figures

FigureFormat = Literal["pdf", "svg", "png"]

_WIDTH = 800  # pixels of 1/96 inch; three times as many in png


def write_figures(
    data: ReportData,
    folder: Path | str,
    *,
    format: FigureFormat = "pdf",
    names: Sequence[str] = (),
) -> list[Path]:
    """Write figures as files `NAME.FORMAT` into a new folder.

    Args:
        data: Data of the report.
        folder: The new folder; it is complete or does not exist.
        format: "pdf" or "svg", which keep lines and text; "png", with about 300 dots per inch in a column of a paper.
        names: Names of the figures, keys of `FIGURES`; by default all that the run has data for.

    Returns:
        The files.

    Raises:
        SettingsError: a format or name is unknown, or a figure needs true labels and there are none.
        MissingExtraError: plotly's exporter, the extra `figures`, is not installed.
        GwauditError: there is no Chrome or Chromium to draw with.
        StoreExistsError: the folder exists.
        StoreError: the files cannot be written.
    """
    if format not in get_args(FigureFormat):
        raise SettingsError(f"unknown format of figures {format!r}: choose from {', '.join(get_args(FigureFormat))}")
    unknown = [name for name in names if name not in FIGURES]
    if unknown:
        raise SettingsError(f"there is no figure {unknown[0]!r}: choose from {', '.join(FIGURES)}")
    available = draw_figures(data)
    missing = [name for name in names if name not in available]
    if missing:
        raise SettingsError(
            f"{data.audit.run} has no data for the figure {missing[0]!r}: precision-recall, calibration and "
            "true-trajectories need true labels (`truth`), noise-matrix needs one label per sample"
        )
    figures = {name: available[name] for name in names or available}
    write_folder(Path(folder), lambda target: _draw_files(figures, target, format))
    return [Path(folder) / f"{name}.{format}" for name in figures]


def _draw_files(figures: Mapping[str, go.Figure], folder: Path, format: FigureFormat) -> None:
    try:
        import kaleido
        from kaleido.errors import BrowserClosedError, BrowserFailedError, ChromeNotFoundError
    except ImportError as error:
        raise MissingExtraError(f"writing figures as {format}", "figures") from error
    drawings = [
        {
            "fig": figure.update_layout(width=_WIDTH),
            "path": str(folder / f"{name}.{format}"),
            "opts": {"format": format, "scale": 3 if format == "png" else 1},
        }
        for name, figure in figures.items()
    ]
    try:
        # One browser draws all figures; without MathJax it fetches nothing from the network.
        kaleido.write_fig_from_object_sync(drawings, kopts={"mathjax": False}, cancel_on_error=True)
    except (ChromeNotFoundError, BrowserFailedError, BrowserClosedError) as error:
        raise GwauditError(
            f"there is no Chrome or Chromium to draw the figures with ({error}): install one, or set BROWSER_PATH to it"
        ) from error
