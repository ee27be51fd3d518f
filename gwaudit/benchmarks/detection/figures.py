"""Draw the detection benchmark: precision against recall, quality against cost, and F1 against published numbers.

Needs matplotlib.
"""

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

PROMIX_OPERATIONS = 5.4e17
"""Floating-point operations of ProMix, by its settings: two ResNet-18, several views of each sample, 420 epochs."""

PUBLISHED: Mapping[str, Mapping[str, float]] = {
    "worse_label": {"ProMix": 0.961, "three people": 0.915},
    "random_label1": {"ProMix": 0.939, "three people": 0.778},
    "aggre_label": {"ProMix": 0.899},
}
"""F1 on CIFAR-10-N: of ProMix, the winner of the label noise detection of the IJCAI-ECAI 2022 challenge, mean of five
seeds; and of three people, whose majority differs from the given label."""

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


def published_figure(rows: Sequence[DetectionRow]) -> "Figure":
    """Draw F1 at the method's own cut against the training's operations, with `PUBLISHED` numbers.

    There is one panel for each label variant that has published numbers. A line joins the rounds of a preset. Lines
    across a panel are published numbers; the star is ProMix at its operations.
    """
    frame = as_frame(rows).astype({"f1": float, "training_flops": float}).dropna(subset=["f1"])
    own = frame["method"].str.startswith("gwaudit") & ~frame["training"].isin(PRESETS)
    has_cut = (frame["training_flops"] > 0) & (frame["f1"] > 0)  # a cut that the verdict withholds has F1 0
    frame = frame[has_cut & (~own | (frame["method"] == "gwaudit_combined"))]
    names = [name for name in PUBLISHED if (frame["label_variant"] == name).any()]
    figure, colours = _figure(len(names), columns=3), _colours(sorted(set(frame["method"])))
    for axes, name in zip(figure.axes, names, strict=False):
        of_variant = frame[frame["label_variant"] == name].rename(columns={"training_flops": "cost"})
        _points(axes, of_variant, "f1", colours)
        for reference, value in PUBLISHED[name].items():
            axes.axhline(value, color="grey", linewidth=0.8, linestyle=":")
            text = axes.text(0.9, value, f"{reference} {value:.3f}", transform=axes.get_yaxis_transform())
            text.set(ha="right", va="bottom", fontsize="small")
        axes.plot(PROMIX_OPERATIONS, PUBLISHED[name]["ProMix"], "k*", label="ProMix")
        axes.set(
            xscale="log", title=name, xlabel="floating-point operations", ylabel="F1 at the own cut", ylim=(None, 1)
        )
        axes.grid(alpha=0.3)
    _legend(figure)
    return figure


def _cost_panel(axes: "Axes", frame: pd.DataFrame, column: str, colours: Mapping[str, tuple[float, ...]]) -> None:
    _points(axes, frame, column, colours)
    if len(frame):
        best = frame[column].max()
        # Methods that cost more are shown, even if they find little.
        dearer = frame.loc[frame["cost"] > frame["cost"].min(), column]
        least = min([_SHOWN_DOWN_TO * best, *(dearer - 0.01)])
        axes.set_ylim(least, best + 0.05 * (1 - _SHOWN_DOWN_TO))


def _points(axes: "Axes", frame: pd.DataFrame, column: str, colours: Mapping[str, tuple[float, ...]]) -> None:
    """Draw a point for each method, its mean over the seeds, and join the rounds of each preset."""
    for _, rounds in frame[frame["training"].isin(PRESETS)].groupby("training"):
        means = rounds.groupby("method")[["cost", column]].mean().sort_values("cost")
        if len(means) > 1:
            axes.plot(means["cost"], means[column], color="grey", linewidth=1, zorder=1)
    for method, (cost, value) in frame.groupby("method")[["cost", column]].mean().iterrows():
        marker = "o" if str(method).startswith("gwaudit") else "x"
        axes.plot(cost, value, marker, color=colours[str(method)], label=str(method).replace("_", " "))


def write_figures(rows: Sequence[DetectionRow], folder: Path) -> list[Path]:
    """Write the figures into a folder: `precision-recall.png`, `cost-quality.png` and, for CIFAR-10-N, `published.png`.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figures = {"precision-recall.png": precision_recall_figure(rows), "cost-quality.png": cost_quality_figure(rows)}
    if any(row.label_variant in PUBLISHED for row in rows):
        figures["published.png"] = published_figure(rows)
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=120)
    return [folder / name for name in figures]


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
