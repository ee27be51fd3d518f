"""Draw the trust benchmark: average precision beside cleanlab's, and the verdict on each cut. Needs matplotlib."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gwaudit.benchmarks.trust.rows import TrustRow
from gwaudit.benchmarks.trust.summary import BAD_OF_BEST, BAD_PRECISION, NEAR_BEST, TRUSTED, cell_frame
from gwaudit.core.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURE_FILE = "trust.png"
"""Name of the file of the figure."""

_COLOURS = {TRUSTED: "tab:green", "use the order": "tab:orange", "do not use": "tab:red"}
_MARKERS = {"uniform": "o", "class": "s", "feature": "^"}


def trust_figure(rows: Sequence[TrustRow]) -> "Figure":
    """Draw two panels with a point a cell, coloured by the verdict.

    At the left the average precision of gwaudit against that of cleanlab; at the right F1 at the cut, over the best
    possible F1, against the average precision, with the bounds of the bad cells.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("drawing figures", "notebook") from error
    frame = cell_frame(rows)
    frame = frame[frame["has_errors"]]
    figure = Figure(figsize=(11, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (kind, level), cells in frame.groupby(["errors", "level"], sort=False):
        style = {
            "color": _COLOURS.get(str(level), "0.5"),
            "marker": _MARKERS.get(str(kind), "x"),
            "s": 12,
            "alpha": 0.6,
        }
        label = f"{kind}, {level or 'not judged'} ({len(cells)})"
        left.scatter(cells["cleanlab_average_precision"], cells["gwaudit_average_precision"], label=label, **style)
        right.scatter(cells["gwaudit_average_precision"], cells["of_best"], **style)
    left.plot([0, 1], [0, 1], color="0.5", linewidth=1)
    left.set(xlabel="average precision of cleanlab", ylabel="average precision of gwaudit")
    right.axvline(BAD_PRECISION, color="0.5", linewidth=1)
    right.axhline(BAD_OF_BEST, color="0.5", linewidth=1)
    right.axhline(NEAR_BEST, color="0.5", linewidth=1, linestyle=":")
    right.set(xlabel="average precision of gwaudit", ylabel="F1 at the cut / best possible F1")
    for axes in (left, right):
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.grid(alpha=0.3)
    if len(frame):
        figure.legend(fontsize="x-small", loc="outside right upper")
    return figure


def write_figure(rows: Sequence[TrustRow], folder: Path) -> Path:
    """Write the figure into a folder, as `trust.png`.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    path = folder / FIGURE_FILE
    trust_figure(rows).savefig(path, dpi=120)
    return path
