"""Draw the figures of a run, for the page and for papers."""

import html
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from gwaudit.review.report.contents import CATEGORIES, RIGHT, WRONG, ReportData

COLOURS = {
    "suspect": "#d55e00",
    "late-aligned": "#e69f00",
    "hard": "#cc79a7",
    "fine": "#0072b2",
    "too-few": "#009e73",
    "unlearned": "#56b4e9",
    WRONG: "#d55e00",
    RIGHT: "#0072b2",
    "early": "#56b4e9",
    "middle": "#e69f00",
    "late": "#d55e00",
    "line": "#0072b2",
}
"""Colours of lines: the palette of Okabe and Ito, which is safe for colour-blind people."""

DASHES = {
    "late-aligned": "dash",
    "hard": "dot",
    "fine": "dashdot",
    "too-few": "longdash",
    "unlearned": "longdashdot",
    RIGHT: "dashdot",
    "early": "dot",
    "middle": "dash",
}
"""Dashes of lines, so that lines in one figure differ without colour too; a line that is not named is solid."""

_MATRIX_CLASSES = 40
_TRAJECTORY_CLASSES = 30
_NAME_LENGTH = 24


def draw_figures(data: ReportData) -> dict[str, go.Figure]:
    """Return by name the figures of `FIGURES` that the run has data for."""
    drawn = {name: draw(data) for name, draw in FIGURES.items()}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def noise_matrix(data: ReportData) -> go.Figure | None:
    """Draw the transition matrix: the estimated share of each given label that truly is of each class.

    The diagonal is left out, as its values are far larger than all others. Of many classes, those with the most wrong
    labels are drawn.
    """
    if data.audit.is_multi_label or not data.audit.has_probabilities:
        return None  # a matrix of absent and present would repeat the table of the classes
    names = list(data.transition_matrix.index)
    values = data.transition_matrix.to_numpy(copy=True) * 100
    given = data.class_health["given"].reindex(names).to_numpy()
    chosen = np.arange(len(names))
    if len(names) > _MATRIX_CLASSES:
        off = values.copy()
        np.fill_diagonal(off, 0)
        weight = np.nansum(off * given[:, None], 1) + np.nansum(off * given[:, None], 0)
        chosen = np.sort(np.argsort(-weight, kind="stable")[:_MATRIX_CLASSES])
    values = values[np.ix_(chosen, chosen)]
    np.fill_diagonal(values, np.nan)
    labels = [_text(names[i]) for i in chosen]
    positions = list(range(len(chosen)))
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=positions,
            y=positions,
            customdata=[
                [[int(g), int(t), labels[i], labels[k]] for k, t in enumerate(chosen)] for i, g in enumerate(chosen)
            ],
            hovertemplate="given %{customdata[2]}, truly %{customdata[3]}: %{z:.1f} %<extra></extra>",
            colorscale="OrRd",
            colorbar={"title": "% of the given label"},
        )
    )
    ticks = {"tickvals": positions, "ticktext": labels, "automargin": True, "showgrid": False, "zeroline": False}
    figure.update_xaxes(title="true label, as estimated", **ticks)
    figure.update_yaxes(title="given label", autorange="reversed", **ticks)
    return _styled(figure, 520 if len(chosen) <= 15 else 780)


def expected_wrong(data: ReportData) -> go.Figure | None:
    """Draw the expected share of wrong labels among the first k of the ranking, and the true one where it is known."""
    audit = data.audit
    if not audit.has_probabilities:
        return None
    expected, suspects = audit.expected_wrong(), len(audit.suspects)
    most = min(len(expected) - 1, max(2 * suspects, 50))
    k = np.unique(np.linspace(1, most, min(most, 300)).round().astype(int))
    figure = go.Figure(go.Scatter(x=k, y=expected[k] / k, name="expected", line={"color": COLOURS["line"]}))
    if data.wrong_among_first is not None:
        share = data.wrong_among_first[k] / k
        figure.add_scatter(x=k, y=share, name="by the true labels", line={"color": COLOURS[WRONG], "dash": "dot"})
    if suspects:
        figure.add_vline(x=suspects, line_dash="dash", line_color="#666", annotation_text=f"cut: {suspects:,}")
    figure.update_xaxes(title="first k of the ranking")
    figure.update_yaxes(title="share wrong", tickformat=".0%", range=[0, 1.02])
    return _styled(figure)


def epoch_moments(data: ReportData) -> go.Figure | None:
    """Draw E, K and GWA over the epochs, and the epoch that the stopping rule selects."""
    parts = [("directional_alignment", "E"), ("dispersion", "K"), ("gwa", "GWA"), ("accuracy_on_given", "accuracy")]
    parts = [(column, name) for column, name in parts if data.epochs[column].notna().any()]
    if not parts:
        return None
    epochs = data.epochs.index + 1
    figure = make_subplots(rows=len(parts), cols=1, shared_xaxes=True, vertical_spacing=0.05)
    for row, (column, name) in enumerate(parts, 1):
        line = {"color": COLOURS["line"]}
        figure.add_scatter(
            x=epochs,
            y=data.epochs[column],
            name=name,
            row=row,
            col=1,
            mode="lines+markers",
            marker={"size": 4},
            line=line,
        )
        figure.update_yaxes(title=name, row=row, col=1)
    if data.selected_epoch is not None:
        figure.add_vline(x=data.selected_epoch.epoch + 1, line_dash="dash", line_color="#666")
    figure.update_xaxes(title="epoch", dtick=_epoch_step(len(epochs)), row=len(parts), col=1)
    figure.update_layout(showlegend=False)
    return _styled(figure, 150 * len(parts) + 60)


def alignment_phases(data: ReportData) -> go.Figure | None:
    """Draw the distribution of alignment early, midway and late, and its quantiles against those of a normal one."""
    if not data.trajectories.phases:
        return None
    figure = make_subplots(rows=1, cols=2, column_widths=[0.6, 0.4])
    for phase in data.trajectories.phases:
        name, line = f"{phase.name} (epoch {phase.epoch + 1})", _line(phase.name)
        middles = (phase.edges[1:] + phase.edges[:-1]) / 2
        figure.add_scatter(
            x=middles, y=phase.density, name=name, legendgroup=name, line={**line, "shape": "hvh"}, row=1, col=1
        )
        normal = [NormalDist().inv_cdf(level) for level in phase.levels]
        figure.add_scatter(
            x=normal, y=phase.quantiles, name=name, legendgroup=name, showlegend=False, line=line, row=1, col=2
        )
    figure.add_scatter(x=[-3, 3], y=[-3, 3], line={"color": "#999", "dash": "dot"}, showlegend=False, row=1, col=2)
    figure.update_xaxes(title="alignment γ", row=1, col=1)
    figure.update_yaxes(title="density", row=1, col=1)
    figure.update_xaxes(title="quantile of a normal distribution", row=1, col=2)
    figure.update_yaxes(title="quantile of γ, standardised", row=1, col=2)
    return _styled(figure)


def mean_trajectories(data: ReportData) -> go.Figure | None:
    """Draw the mean alignment of each category over the epochs, with the quartiles as a band."""
    return _trajectories(data.trajectories.by_group, CATEGORIES)


def class_alignment(data: ReportData) -> go.Figure | None:
    """Draw E of each given class over the epochs, the class that is least aligned at the end first."""
    means = data.trajectories.by_class
    names = data.audit.class_names
    recorded = np.flatnonzero(np.isfinite(means).any(axis=1))
    if not len(recorded):
        return None
    late = np.nanmean(means[recorded, -max(1, means.shape[1] // 3) :], axis=1)
    chosen = recorded[np.argsort(late, kind="stable")[:_TRAJECTORY_CLASSES]]
    furthest = float(np.nanmax(np.abs(means[chosen]))) or 1.0
    labels, positions = [_text(names[i]) for i in chosen], list(range(len(chosen)))
    figure = go.Figure(
        go.Heatmap(
            z=means[chosen],
            x=list(range(1, means.shape[1] + 1)),
            y=positions,
            customdata=[[label] * means.shape[1] for label in labels],
            hovertemplate="%{customdata}, epoch %{x}: E %{z:+.4f}<extra></extra>",
            colorscale="RdBu",
            zmin=-furthest,
            zmax=furthest,
            colorbar={"title": "E"},
        )
    )
    figure.update_xaxes(title="epoch", dtick=_epoch_step(means.shape[1]))
    figure.update_yaxes(
        tickvals=positions, ticktext=labels, autorange="reversed", automargin=True, showgrid=False, title="given label"
    )
    return _styled(figure, 130 + 24 * len(chosen))


def true_trajectories(data: ReportData) -> go.Figure | None:
    """Draw the mean alignment of truly wrong and truly right labels, with the quartiles as a band."""
    return _trajectories(data.trajectories.by_group, (WRONG, RIGHT))


def precision_recall(data: ReportData) -> go.Figure | None:
    """Draw precision and recall at every cut, where the true labels are known."""
    if data.precision_recall is None or data.evaluation is None:
        return None
    e = data.evaluation
    figure = go.Figure(
        go.Scatter(
            x=data.precision_recall["recall"],
            y=data.precision_recall["precision"],
            name=f"average precision {e.average_precision:.3f}",
            line={"color": COLOURS["line"]},
        )
    )
    if not np.isnan(e.f1):
        figure.add_scatter(
            x=[e.recall],
            y=[e.precision],
            mode="markers",
            marker={"size": 11, "color": COLOURS[WRONG]},
            name=f"the cut, F1 {e.f1:.3f}",
        )
    figure.update_xaxes(title="recall", range=[0, 1.02])
    figure.update_yaxes(title="precision", range=[0, 1.02])
    return _styled(figure)


def calibration(data: ReportData) -> go.Figure | None:
    """Draw the share of wrong labels against the predicted probability, where the true labels are known."""
    if data.calibration is None:
        return None
    table = data.calibration
    figure = go.Figure(go.Scatter(x=[0, 1], y=[0, 1], line={"color": "#999", "dash": "dot"}, name="perfect"))
    figure.add_scatter(
        x=table["probability"],
        y=table["wrong"],
        mode="lines+markers",
        name="this run",
        line={"color": COLOURS["line"]},
        customdata=table["samples"],
        hovertemplate="probability %{x:.2f}: %{y:.2f} of %{customdata:,} are wrong<extra></extra>",
    )
    figure.update_xaxes(title="probability of being wrong", range=[0, 1.02])
    figure.update_yaxes(title="share that is wrong", range=[0, 1.02])
    return _styled(figure)


FIGURES: dict[str, Callable[[ReportData], go.Figure | None]] = {
    "expected-wrong": expected_wrong,
    "noise-matrix": noise_matrix,
    "mean-trajectories": mean_trajectories,
    "true-trajectories": true_trajectories,
    "class-alignment": class_alignment,
    "alignment-phases": alignment_phases,
    "epoch-moments": epoch_moments,
    "precision-recall": precision_recall,
    "calibration": calibration,
}
"""All figures by name: functions that return None where the run has no data for the figure."""


def _trajectories(table: pd.DataFrame, groups: Sequence[str]) -> go.Figure | None:
    figure = go.Figure()
    for group in groups:
        rows = table[table["group"] == group]
        if rows.empty:
            continue
        epochs, colour = rows["epoch"] + 1, COLOURS[group]
        band = {"mode": "lines", "line": {"width": 0}, "legendgroup": group, "showlegend": False, "hoverinfo": "skip"}
        figure.add_scatter(x=epochs, y=rows["lower"], **band)
        figure.add_scatter(x=epochs, y=rows["upper"], fill="tonexty", fillcolor=_faint(colour), **band)
        name = f"{group} ({rows['samples'].max():,})"
        figure.add_scatter(x=epochs, y=rows["mean"], name=name, legendgroup=group, line=_line(group))
    if not figure.data:
        return None
    figure.add_hline(y=0, line_color="#999", line_width=1)
    figure.update_xaxes(title="epoch", dtick=_epoch_step(int(table["epoch"].max()) + 1))
    figure.update_yaxes(title="mean alignment γ")
    return _styled(figure)


def _epoch_step(n_epochs: int) -> int | None:
    """Return the step between ticks of epochs: 1 for a few epochs, where plotly would show halves, else its own."""
    return 1 if n_epochs <= 10 else None


def _line(name: str) -> dict[str, str]:
    return {"color": COLOURS[name], "dash": DASHES.get(name, "solid")}


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.12)"


def _text(name: object) -> str:
    """Return a name that plotly prints as it is: plotly interprets tags in texts."""
    line = " ".join(str(name).split())
    return html.escape(line if len(line) <= _NAME_LENGTH else f"{line[: _NAME_LENGTH - 1]}…", quote=False)


def _styled(figure: go.Figure, height: int = 420) -> go.Figure:
    figure.update_layout(
        template="plotly_white",
        height=height,
        margin={"l": 60, "r": 20, "t": 30, "b": 50},
        font={"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 13, "color": "#1c1c1c"},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "xanchor": "left", "x": 0},
        hovermode="closest",
    )
    return figure
