"""Show the state of a run, and the trajectory of one of its samples."""

import math
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from gwaudit.cli.show.console import number, out
from gwaudit.cli.show.data import print_data
from gwaudit.core.settings import ALIGNMENTS

if TYPE_CHECKING:  # for their types alone
    import pandas as pd

    from gwaudit.store.store import TrajectoryStore

_SHOWN_METRICS = ("mean_loss", "accuracy_on_given", "gwa", "directional_alignment", "dispersion")
_GIVEN, _ALTERNATIVE, _ZERO = "●", "○", "│"


def print_run(store: "TrajectoryStore") -> None:
    """Print what a run was trained on, and a row per epoch."""
    planned, several = store.settings.get("training", {}).get("epochs"), store.is_multi_label
    out.print(
        f"[bold]{escape(str(store.path))}[/bold]: {store.n_samples:,} samples, "
        f"{len(store.class_names)} classes{' (multi-label)' * several}, "
        f"{len(store.training_epochs)} of {planned or '?'} epochs, model {_model(store)}, "
        f"data {store.fingerprint}, alignment with {ALIGNMENTS[store.alignment]}",
        highlight=False,
    )
    if reading := store.settings.get("reading"):  # runs of earlier versions have none
        from gwaudit.data.summary import DataSummary

        print_data(DataSummary.from_dict(reading), out)
    table = Table("epoch", "loss", "accuracy on given", "GWA", "E", "K", "missing", "repeated")
    for epoch in store.epochs:
        commit = store.commit(epoch)
        table.add_row(
            str(epoch + 1) if epoch in store.training_epochs else "evaluation",
            *(number(commit.metrics.get(name)) for name in _SHOWN_METRICS),
            str(commit.missing),
            str(commit.repeated),
        )
    out.print(table)


def print_trajectories(store: "TrajectoryStore", sample_id: int, key: str) -> None:
    """Print a row per class of a multi-label sample, the class that the training opposed most first."""
    frame = store.trajectories(sample_id)
    table = Table(title=f"sample {sample_id} ({escape(key)})")
    for name in ("class", "given", "mean γ", "γ < 0", "mean margin", "last P(given)"):
        table.add_column(name, justify="left" if name in ("class", "given") else "right", overflow="fold")
    rows = []
    for label, trajectory in frame.groupby(level="class", sort=False):
        alignment, probability = trajectory["alignment"].dropna(), trajectory["given_probability"].dropna()
        given = store.layout.answers[int(trajectory["given_label"].iloc[0])]
        margin = float(trajectory["margin"].mean())
        negative = f"{(alignment < 0).mean():.0%}" if len(alignment) else "-"
        last = number(float(probability.iloc[-1]) if len(probability) else None)
        rows.append((margin, (escape(str(label)), given, number(alignment.mean()), negative, number(margin), last)))
    for _, cells in sorted(rows, key=lambda row: row[0]):
        table.add_row(*cells)
    out.print(table)
    out.print("One class over the epochs: --class NAME", highlight=False)


def print_trajectory(store: "TrajectoryStore", sample_id: int, key: str, given: int, label: str | None = None) -> None:
    """Print a row per epoch of a sample: its alignment as numbers and drawn around zero.

    Args:
        store: the run.
        sample_id: the sample.
        key: its key.
        given: its given label.
        label: the class, of multi-label data.
    """
    trajectory = store.trajectory(sample_id, label)
    of_class = "" if label is None else f"{label} "
    table = Table(
        title=f"sample {sample_id} ({escape(key)}), given {escape(of_class)}{_class(store, given)}",
        caption=f"{_GIVEN} γ of the given label, {_ALTERNATIVE} γ of the alternative label, {_ZERO} zero",
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for name in ("epoch", "γ", "alternative", "its γ", "margin", "loss", "predicted"):
        is_class = name in ("alternative", "predicted")
        table.add_column(name, justify="left" if is_class else "right", overflow="fold", min_width=len(name))
    table.add_column("γ by epoch", no_wrap=True)
    drawn = draw_trajectory(trajectory, width=max(8, min(60, out.width - 72)))  # the numbers take the rest
    for epoch, row, line in zip(trajectory.index, trajectory.to_dict("records"), drawn, strict=True):
        table.add_row(
            str(epoch + 1),
            number(row["alignment"]),
            _class(store, row["alternative_label"]),
            number(row["alternative_alignment"]),
            number(row["margin"]),
            number(row["loss"]),
            _class(store, row["predicted_label"]),
            line,
        )
    out.print(table)


def draw_trajectory(trajectory: "pd.DataFrame", *, width: int) -> list[str]:
    """Return a line of `width` characters per epoch, with marks at both alignments and at zero.

    Args:
        trajectory: the columns `alignment` and `alternative_alignment`, a row per epoch; NaN is not drawn.
        width: characters per line, at least 2; all lines have one scale, which includes zero.
    """
    columns = ((_ALTERNATIVE, "alternative_alignment"), (_GIVEN, "alignment"))
    values = [float(value) for _, name in columns for value in trajectory[name] if not math.isnan(value)]
    low, high = min([*values, 0.0]), max([*values, 0.0])
    scale = (width - 1) / (high - low) if high > low else 0.0
    lines = []
    for row in trajectory.to_dict("records"):
        line = [" "] * width
        line[round(-low * scale)] = _ZERO
        for mark, name in columns:
            if not math.isnan(row[name]):
                line[round((row[name] - low) * scale)] = mark
        lines.append("".join(line))
    return lines


def _model(store: "TrajectoryStore") -> str:
    settings = store.settings.get("training", {})
    if store.settings.get("modality") == "features":
        return (
            "a linear head on log odds of trees"
            if settings["head"] == "trees"
            else f"a {settings['head']} head on features"
        )
    model = str(settings.get("model", "own"))
    return f"a {settings['head']} head on frozen {model}" if settings.get("backbone") == "frozen" else model


def _class(store: "TrajectoryStore", label: Any) -> str:
    return "-" if label < 0 or math.isnan(label) else escape(store.layout.answers[int(label)])
