"""Figures as files for papers: the page's own, drawn by the same code."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from gwaudit.core.errors import GwauditError, MissingExtraError, SettingsError
from gwaudit.core.files import write_folder
from gwaudit.review.report.contents import ReportContents
from gwaudit.review.report.figures import FIGURES, draw_figures

FigureFormat = Literal["pdf", "svg", "png"]

_WIDTH = 800  # pixels of 1/96 inch; png has three times as many


def write_figures(
    contents: ReportContents,
    folder: Path | str,
    *,
    format: FigureFormat = "pdf",
    names: Sequence[str] = (),
) -> list[Path]:
    """Write figures as files `NAME.FORMAT` into a new folder.

    Args:
        contents: of the run.
        folder: it is there whole or not at all.
        format: "pdf" or "svg", of lines and text; "png", at about 300 dots an inch in a column.
        names: of `FIGURES`; by default all that the run has something for.

    Raises:
        SettingsError: an unknown format or name, or a figure that needs true labels without any.
        MissingExtraError: plotly's exporter, the extra `figures`, is not installed.
        GwauditError: it finds no Chrome or Chromium to draw with.
        StoreExistsError: the folder exists.
        StoreError: it cannot be written.
    """
    if format not in get_args(FigureFormat):
        raise SettingsError(f"figures are {', '.join(get_args(FigureFormat))}, not {format!r}")
    unknown = [name for name in names if name not in FIGURES]
    if unknown:
        raise SettingsError(f"there is no figure {unknown[0]!r}: choose from {', '.join(FIGURES)}")
    drawn = draw_figures(contents)
    missing = [name for name in names if name not in drawn]
    if missing:
        raise SettingsError(f"{contents.audit.run} has nothing for the figure {missing[0]!r}: it needs true labels")
    try:
        import kaleido
        from kaleido.errors import BrowserClosedError, BrowserFailedError, ChromeNotFoundError
    except ImportError as error:
        raise MissingExtraError(f"writing figures as {format}", "figures") from error
    chosen = {name: drawn[name] for name in names or drawn}

    def write(target: Path) -> None:
        # One browser for all of them, which is not to fetch anything.
        kaleido.write_fig_from_object_sync(
            [
                {
                    "fig": figure.update_layout(width=_WIDTH),
                    "path": str(target / f"{name}.{format}"),
                    "opts": {"format": format, "scale": 3 if format == "png" else 1},
                }
                for name, figure in chosen.items()
            ],
            kopts={"mathjax": False},
            cancel_on_error=True,
        )

    try:
        write_folder(Path(folder), write)
    except (ChromeNotFoundError, BrowserFailedError, BrowserClosedError) as error:
        raise GwauditError(
            f"no Chrome or Chromium draws the figures ({error}): install one, or name it in BROWSER_PATH"
        ) from error
    return [Path(folder) / f"{name}.{format}" for name in chosen]
