"""Draw the stopping benchmark: distributions by phase, E and K beside accuracy, trajectories. Needs matplotlib."""

from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from gwaudit.benchmarks.stopping.analysis import curve, numbers_of, stopping_rows
from gwaudit.benchmarks.stopping.benchmark import FULL, StoppingMeasurement
from gwaudit.core.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {
    "all": "0.4", "rest": "tab:blue", "mislabelled": "tab:red", "not memorised": "tab:blue", "memorised": "tab:purple",
}  # fmt: skip
_MARKED = {
    "gwa-scratch": "tab:green",
    "floored-gwa": "tab:olive",
    "labelwave": "tab:orange",
    "validation-10": "tab:pink",
}


def distribution_figure(measurements: Sequence[StoppingMeasurement]) -> "Figure":
    """Draw one row a label variant: the alignments early, at the best epoch and in the last one, mislabelled or not."""
    figure, grid = _grid(measurements, 3)
    for measured, row in zip(measurements, grid, strict=True):
        for axes, (phase, parts) in zip(row, measured.phases.items(), strict=True):
            for part in ("rest", "mislabelled"):
                if part in parts:
                    _density(axes, np.array(parts[part]), part)
            axes.set(
                title=f"{measured.label_variant}: {phase}, epoch {parts['epoch'] + 1}", xlabel="alignment", yticks=[]
            )
    _legend(grid)
    return figure


def quantile_figure(measurements: Sequence[StoppingMeasurement]) -> "Figure":
    """Draw quantiles of the same alignments against those of a normal distribution of their mean and spread (Q-Q)."""
    figure, grid = _grid(measurements, 3)
    for measured, row in zip(measurements, grid, strict=True):
        for axes, (phase, parts) in zip(row, measured.phases.items(), strict=True):
            values = np.array(parts["all"])[1:-1]
            shares = np.linspace(0, 1, len(values) + 2)[1:-1]
            standard = np.array([NormalDist().inv_cdf(float(share)) for share in shares])
            fitted = values.mean() + values.std() / standard.std() * standard
            axes.plot(standard, values, ".", markersize=3, color=_COLOURS["all"])
            axes.plot(standard, fitted, linewidth=1, color="tab:red")
            axes.set(title=f"{measured.label_variant}: {phase}, epoch {parts['epoch'] + 1}", xlabel="normal quantile")
            axes.grid(alpha=0.3)
    for row in grid:
        row[0].set_ylabel("alignment")
    return figure


def moments_figure(measurements: Sequence[StoppingMeasurement]) -> "Figure":
    """Draw one row a label variant: test accuracy and the selected epochs; E and K; GWA and similar aggregates.

    These aggregates (floored, bounded, quantile) do not have the singularity of GWA.
    """
    figure, grid = _grid(measurements, 3)
    for measured, (accuracy, moments, aggregates) in zip(measurements, grid, strict=True):
        epochs = np.arange(1, measured.epochs + 1)
        accuracy.plot(epochs, curve(measured, FULL, "test_accuracy"), color="black", label="test")
        if "corrupted_accuracy" in measured.runs[FULL]:
            accuracy.plot(epochs, curve(measured, FULL, "corrupted_accuracy"), color="0.6", label="corrupted test")
        accuracy.plot(epochs, curve(measured, FULL, "accuracy_on_given"), ":", color="tab:blue", label="train")
        for row in stopping_rows(measured):
            if row.rule in _MARKED:
                accuracy.axvline(row.epoch, linewidth=1, color=_MARKED[row.rule], label=row.rule)
        accuracy.set(title=_title(measured), xlabel="epoch", ylabel="accuracy")
        moments.plot(epochs, curve(measured, FULL, "directional_alignment"), color="tab:blue")
        moments.set(title="E (blue) and K (red)", xlabel="epoch", ylabel="E")
        twin = moments.twinx()
        twin.plot(epochs, curve(measured, FULL, "dispersion"), color="tab:red")
        twin.axhline(-1.2, linewidth=0.7, linestyle="--", color="tab:red")
        twin.set_ylabel("K; GWA's singularity is dashed")
        aggregates.plot(epochs, curve(measured, FULL, "gwa"), color="tab:green")
        aggregates.set(title="GWA (green), without its singularity", xlabel="epoch", ylabel="GWA")
        twin = aggregates.twinx()
        for name, colour in (("floored", "tab:olive"), ("bounded", "tab:cyan"), ("quantile", "tab:brown")):
            twin.plot(epochs, curve(measured, FULL, f"{name}_gwa"), color=colour, label=name)
        twin.legend(fontsize="xx-small")
        for axes in (accuracy, moments, aggregates):
            axes.grid(alpha=0.3)
    if grid:
        grid[0][0].legend(fontsize="xx-small")
    return figure


def mislabelled_figure(measurements: Sequence[StoppingMeasurement]) -> "Figure":
    """Draw mean and quartiles of the alignment of the mislabelled samples and of the rest, epoch by epoch."""
    return _trajectories([measured for measured in measurements if "mislabelled" in measured.trajectories],
                         ("rest", "mislabelled"))  # fmt: skip


def memorised_figure(measurements: Sequence[StoppingMeasurement]) -> "Figure":
    """Draw the same for the samples with the highest memorisation scores and for the others, if they were measured."""
    return _trajectories([measured for measured in measurements if "memorised" in measured.trajectories],
                         ("not memorised", "memorised"))  # fmt: skip


FIGURES = {
    "distributions.png": distribution_figure,
    "quantiles.png": quantile_figure,
    "moments.png": moments_figure,
    "mislabelled.png": mislabelled_figure,
    "memorised.png": memorised_figure,
}
"""The figures, by file name."""


def write_figures(measurements: Sequence[StoppingMeasurement], folder: Path) -> list[Path]:
    """Write the figures into a folder, except those without data, and return their paths.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    paths = []
    for name, draw in FIGURES.items():
        figure = draw(measurements)
        if figure.axes:
            figure.savefig(folder / name, dpi=100)
            paths.append(folder / name)
    return paths


def _trajectories(measurements: Sequence[StoppingMeasurement], groups: Sequence[str]) -> "Figure":
    figure, grid = _grid([measurements] if measurements else [], len(measurements))
    for measured, axes in zip(measurements, grid[0] if grid else [], strict=True):
        epochs = np.arange(1, measured.epochs + 1)
        for group in groups:
            band = {name: numbers_of(values) for name, values in measured.trajectories[group].items()}
            axes.plot(epochs, band["mean"], color=_COLOURS[group], label=group)
            axes.fill_between(epochs, band["low"], band["high"], color=_COLOURS[group], alpha=0.2, linewidth=0)
        axes.axhline(0, linewidth=0.7, color="black")
        axes.set(title=_title(measured), xlabel="epoch", ylabel="alignment: mean and quartiles")
        axes.grid(alpha=0.3)
    _legend(grid)
    return figure


def _density(axes: "Axes", quantiles: "np.ndarray[tuple[int], np.dtype[np.float64]]", part: str) -> None:
    """Draw a histogram from even quantiles: there are equally many samples between each two."""
    edges = np.unique(quantiles)
    if len(edges) < 2:
        return
    middles = np.interp((bins := np.linspace(edges[0], edges[-1], 41)), quantiles, np.linspace(0, 1, len(quantiles)))
    axes.stairs(np.diff(middles) / np.diff(bins), bins, fill=True, alpha=0.4, color=_COLOURS[part], label=part)


def _title(measured: StoppingMeasurement) -> str:
    return f"{measured.label_variant}, {measured.model}"


def _legend(grid: "Sequence[Sequence[Axes]]") -> None:
    if grid:
        grid[-1][0].legend(fontsize="x-small")


def _grid(rows: Sequence[object], columns: int) -> "tuple[Figure, list[list[Axes]]]":
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("drawing figures", "notebook") from error
    figure = Figure(figsize=(3.8 * max(1, columns), 2.9 * max(1, len(rows))), layout="constrained")
    return figure, [
        [figure.add_subplot(len(rows), columns, row * columns + column + 1) for column in range(columns)]
        for row in range(len(rows))
    ]
