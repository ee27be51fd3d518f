"""Draw the detection benchmark: precision against recall, and quality against cost. Needs matplotlib."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gwaudit.benchmarks.detection.benchmark import DetectionRow, as_frame
from gwaudit.core.errors import MissingExtraError
from gwaudit.core.presets import PRESETS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = (
    "gwaudit_combined", "gwaudit_fast_2", "aum", "mean_loss", "cartography_confidence", "cleanlab_self_confidence",
)  # fmt: skip
"""The methods whose curves are drawn; the table has all methods."""

_SHOWN_DOWN_TO = 0.8  # of the best in a panel


def precision_recall_figure(rows: Sequence[DetectionRow], methods: Sequence[str] = SHOWN) -> "Figure":
    """Draw one panel a label variant with the curve of each method, the mean over the seeds."""
    variants = list(dict.fromkeys(row.label_variant for row in rows if row.curve))
    figure, colours = _figure(len(variants)), _colours(methods)
    for axes, name in zip(figure.axes, variants, strict=True):
        for method in methods:
            curves = [row.curve for row in rows if row.label_variant == name and row.method == method and row.curve]
            if curves:
                recall = np.linspace(0, 1, len(curves[0]))
                axes.plot(recall, np.mean(curves, axis=0), color=colours[method], label=method.replace("_", " "))
        axes.set(title=name, xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
        axes.grid(alpha=0.3)
    _legend(figure)
    return figure


def cost_quality_figure(rows: Sequence[DetectionRow]) -> "Figure":
    """Draw average precision, and below it F1 at the method's own cut, against relative training operations.

    The cheapest method has 1. There is one column for each label variant whose methods differ in cost (or for each
    variant, if none differ). A line joins the rounds of a preset. Of gwaudit's scores only the default is drawn, and
    methods far below the best are left out. The table has all.
    """
    frame = as_frame(rows).dropna(subset=["average_precision"])
    own = frame["method"].str.startswith("gwaudit") & (frame["training"] == "plain")
    frame = frame[~own | (frame["method"] == "gwaudit_combined")].astype({"f1": float})
    frame["cost"] = frame["training_flops"] / frame.groupby("label_variant")["training_flops"].transform("min")
    dearest = frame.groupby("label_variant", sort=False)["cost"].max()
    variants = list(dearest.index[dearest > 1]) or list(dearest.index)
    panels = [(name, column) for column in ("average_precision", "f1") for name in variants]
    figure, colours = _figure(len(panels), columns=len(variants)), _colours(sorted(set(frame["method"])))
    for axes, (name, column) in zip(figure.axes, panels, strict=True):
        _cost_panel(axes, frame[frame["label_variant"] == name].dropna(subset=[column]), column, colours)
        label = "average precision" if column == "average_precision" else "F1 at the own cut"
        axes.set(title=name, xlabel="training operations, least = 1", ylabel=label)
        axes.grid(alpha=0.3)
    _legend(figure)
    return figure


def _cost_panel(axes: "Axes", frame: pd.DataFrame, column: str, colours: Mapping[str, tuple[float, ...]]) -> None:
    for _, rounds in frame[frame["training"].isin(PRESETS)].groupby("training"):
        means = rounds.groupby("method")[["cost", column]].mean().sort_values("cost")
        axes.plot(means["cost"], means[column], color="grey", linewidth=1, zorder=1)
    for method, (cost, value) in frame.groupby("method")[["cost", column]].mean().iterrows():
        marker = "o" if str(method).startswith("gwaudit") else "x"
        axes.plot(cost, value, marker, color=colours[str(method)], label=str(method).replace("_", " "))
    if len(frame):
        best = frame[column].max()
        # Methods that cost more are shown, even if they find little.
        dearer = frame.loc[frame["cost"] > frame["cost"].min(), column]
        least = min([_SHOWN_DOWN_TO * best, *(dearer - 0.01)])
        axes.set_ylim(least, best + 0.05 * (1 - _SHOWN_DOWN_TO))


def write_figures(rows: Sequence[DetectionRow], folder: Path) -> list[Path]:
    """Write both figures into a folder: `precision-recall.png` and `cost-quality.png`.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    paths = [folder / "precision-recall.png", folder / "cost-quality.png"]
    for path, figure in zip(paths, (precision_recall_figure(rows), cost_quality_figure(rows)), strict=True):
        figure.savefig(path, dpi=120)
    return paths


def _colours(methods: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Return a colour for each method, the same in every panel."""
    from matplotlib import colormaps

    return {method: colormaps["tab20"](number % 20) for number, method in enumerate(methods)}


def _legend(figure: "Figure") -> None:
    """Draw one legend for all panels, with every method that any of them has."""
    shown = {
        label: handle for axes in figure.axes for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    if shown:
        figure.legend([*shown.values()], [*shown], fontsize="x-small", loc="outside right upper")


def _figure(panels: int, columns: int = 4) -> "Figure":
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("drawing figures", "notebook") from error
    columns = max(1, min(columns, panels))
    lines = -(-max(1, panels) // columns)
    figure = Figure(figsize=(3.4 * columns + 1, 3.0 * lines), layout="constrained")
    for panel in range(panels):
        figure.add_subplot(lines, columns, panel + 1)
    return figure
