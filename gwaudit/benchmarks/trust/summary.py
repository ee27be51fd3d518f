"""Summarise the trust benchmark: how far its criteria are met, and a table with a row a data set.

| criterion | target |
|---|---|
| average precision not below cleanlab's, less `TOLERANCE` | 90 %: cells with errors, and those that inputs explain |
| F1 at the cut at least `NEAR_BEST` of the best possible F1 | 90 % of the cells that are judged "trust it" |
| F1 at the cut at least `LEAST_OF_BEST` of the best possible F1 | all cells that are judged "trust it" |
| at most 1 % flagged on clean labels | all data sets that can be learned, where the verdict is "trust it" |
| bad cells (average precision below .5, or F1 below .6 of the best possible) are not judged "trust it" | all |
| good cells (not bad; or clean, learned, and at most 1 % flagged) are judged "trust it" | 95 % |
| order of rows, order of classes and seed change at most a tenth of the suspects | all data sets of 300 rows and more |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from gwaudit.benchmarks.trust.rows import REFUSED, TrustRow, as_frame
from gwaudit.benchmarks.trust.stability import CHANGES, StabilityRow
from gwaudit.core.files import write_text

TABLE_FILE = "trust.md"
"""Name of the file of the tables."""

TOLERANCE = 0.005
"""Difference of average precision below which two methods count as equal."""

NEAR_BEST, LEAST_OF_BEST, BAD_OF_BEST, BAD_PRECISION = 0.95, 0.8, 0.6, 0.5
LEARNABLE = 0.95
"""Share of clean labels that a simple model must predict out of sample, for data to count as learnable."""

MOST_FLAGGED, MOST_CHANGED = 0.01, 0.1
TRUSTED = "trust it"
LEVELS = (TRUSTED, "use the order", "do not use", REFUSED)
"""The levels of the verdict, and that of cells which gwaudit refuses."""

_CHANGED = {"rows": "order of the rows", "classes": "order of the classes", "seed": "seed"}


@dataclass(frozen=True)
class Criterion:
    """Hold how far a criterion is met.

    Attributes:
        text: The criterion.
        target: Share of cells that must meet it.
        met: Number of cells that meet it.
        of: Number of cells that it is about.
    """

    text: str
    target: float
    met: int
    of: int

    @property
    def share(self) -> float:
        """Return the share of cells that meet it; NaN without cells."""
        return self.met / self.of if self.of else float("nan")


def cell_frame(rows: Sequence[TrustRow]) -> pd.DataFrame:
    """Return the rows as a frame with the columns that the criteria read.

    Added to `as_frame` are `has_errors`, `trusted`, `of_best` (F1 at the cut over the best possible), `flagged` (share
    of the samples), `bad`, and `learnable`.
    """
    frame = as_frame(rows)
    frame["has_errors"] = frame["n_wrong"] > 0
    frame["trusted"] = frame["level"] == TRUSTED
    frame["of_best"] = frame["gwaudit_f1"] / frame["gwaudit_best_f1"]
    frame["flagged"] = frame["gwaudit_n_flagged"] / frame["n"]
    poor = (frame["gwaudit_average_precision"] < BAD_PRECISION) | (frame["of_best"] < BAD_OF_BEST)
    frame["bad"] = frame["has_errors"] & (poor | frame["of_best"].isna())
    frame["learnable"] = frame["accuracy"] >= LEARNABLE
    return frame


def criteria(rows: Sequence[TrustRow], stable: Sequence[StabilityRow] = ()) -> list[Criterion]:
    """Return how far each criterion of this module is met.

    Args:
        rows: Cells.
        stable: Rows of the stability.
    """
    frame = cell_frame(rows)
    wrong = frame[frame["has_errors"]]
    # A cell that gwaudit refuses has no average precision, and is not better than cleanlab's.
    ours = wrong["gwaudit_average_precision"].fillna(-1)
    peer = wrong["cleanlab_average_precision"]
    compared, explained = peer.notna(), wrong["kind"] != "noise"
    trusted = wrong[wrong["trusted"]]["of_best"]
    clean = frame[~frame["has_errors"] & frame["learnable"]]
    few = clean["flagged"] <= MOST_FLAGGED
    good = pd.concat([wrong[~wrong["bad"]], clean[few]])
    changed = pd.Series([row.share_changed for row in stable], dtype=float)
    found = [
        _criterion(f"AP ≥ cleanlab's − {TOLERANCE:g}", 0.9, (ours >= peer - TOLERANCE)[compared]),
        _criterion(
            f"AP ≥ cleanlab's − {TOLERANCE:g}, labels that inputs explain",
            0.9,
            (ours >= peer - TOLERANCE)[compared & explained],
        ),
        _criterion("AP ≥ cleanlab's", 0.9, (ours >= peer)[compared]),
        _criterion(f"trusted: F1 at the cut ≥ {NEAR_BEST:.0%} of the best", 0.9, trusted >= NEAR_BEST),
        _criterion(f"trusted: F1 at the cut ≥ {LEAST_OF_BEST:.0%} of the best", 1.0, trusted >= LEAST_OF_BEST),
        _criterion(f"clean, learnable, trusted: ≤ {MOST_FLAGGED:.0%} flagged", 1.0, few[clean["trusted"]]),
        _criterion("bad cells are not trusted", 1.0, ~wrong[wrong["bad"]]["trusted"]),
        _criterion("good cells are trusted", 0.95, good["trusted"]),
    ]
    for change in CHANGES if stable else ():
        of_change = pd.Series([row.change == change for row in stable])
        text = f"another {_CHANGED[change]}: ≤ {MOST_CHANGED:.0%} of the suspects change"
        found.append(_criterion(text, 1.0, (changed <= MOST_CHANGED)[of_change]))
    return found


def _criterion(text: str, target: float, met: "pd.Series[bool]") -> Criterion:
    return Criterion(text, target, int(met.sum()), len(met))


def markdown(rows: Sequence[TrustRow], stable: Sequence[StabilityRow] = ()) -> str:
    """Return the criteria by role, the medians by kind of errors, and a table with a row a data set."""
    if not rows:
        return "No cell was measured.\n"
    return "\n".join([_criteria_table(rows, stable), "", _errors_table(rows), "", _sets_table(rows, stable), ""])


def _criteria_table(rows: Sequence[TrustRow], stable: Sequence[StabilityRow]) -> str:
    columns = {}
    for title, roles in (("all sets", ("chosen", "test")), ("chosen on", ("chosen",)), ("test only", ("test",))):
        if of_roles := [row for row in rows if row.role in roles]:
            columns[title] = criteria(of_roles, [row for row in stable if row.role in roles])
    lines = [f"| criterion | target | {' | '.join(columns)} |", "|---" * (2 + len(columns)) + "|"]
    for each in columns["all sets"]:
        same = [[other for other in column if other.text == each.text] for column in columns.values()]
        lines.append(f"| {each.text} | {each.target:.0%} | {' | '.join(_share(*found[:1]) for found in same)} |")
    return "\n".join(lines)


def _share(criterion: Criterion | None = None) -> str:
    return f"{criterion.share:.1%} of {criterion.of:,}" if criterion is not None and criterion.of else "–"


def _errors_table(rows: Sequence[TrustRow]) -> str:
    frame = cell_frame(rows)
    wrong = frame[frame["has_errors"]]
    lines = [
        "| errors | rate | cells | AP: gwaudit | AP: cleanlab | AP: AUM | F1 at the cut: gwaudit | cleanlab "
        "| best possible F1 | of the best, trusted | expected / wrong, trusted | trust it | use the order "
        "| do not use | refused |",
        "|---" * 15 + "|",
    ]
    for (kind, rate), group in wrong.groupby(["errors", "rate"], sort=False):
        lines.append(f"| {kind} | {rate:.0%} | {len(group)} | {_medians(group)} |")
    if len(wrong):
        lines.append(f"| all | | {len(wrong)} | {_medians(wrong)} |")
    return "\n".join(lines)


def _medians(group: pd.DataFrame) -> str:
    trusted = group[group["trusted"]]
    numbers = [
        *(group[f"{method}_average_precision"].median() for method in ("gwaudit", "cleanlab", "aum")),
        *(group[column].median() for column in ("gwaudit_f1", "cleanlab_f1", "gwaudit_best_f1")),
        trusted["of_best"].median(),
        (trusted["expected_wrong"] / trusted["n_wrong"]).median(),
    ]
    levels = [str(int((group["level"] == level).sum())) for level in LEVELS]
    return " | ".join([*(_number(value) for value in numbers), *levels])


def _sets_table(rows: Sequence[TrustRow], stable: Sequence[StabilityRow]) -> str:
    frame = cell_frame(rows)
    lines = [
        "| data set | role | n | features | classes | accuracy | AP: gwaudit | AP: cleanlab | AP: AUM "
        "| F1 at the cut: gwaudit | cleanlab | best possible F1 | of the best, trusted | expected / wrong, trusted "
        "| trust it | use the order | do not use | refused | flagged on clean | suspects that change |",
        "|---" * 20 + "|",
    ]
    for name, group in frame.groupby("name", sort=False):
        first, clean, wrong = group.iloc[0], group[~group["has_errors"]], group[group["has_errors"]]
        changed = max((row.share_changed for row in stable if row.name == name), default=float("nan"))
        lines.append(
            f"| {name} | {first['role']} | {first['n']:,} | {first['n_features']:,} | {first['n_classes']} "
            f"| {_number(first['accuracy'])} | {_medians(wrong)} | {_percent(clean['flagged'].mean())} "
            f"| {_percent(changed)} |"
        )
    return "\n".join(lines)


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}".removeprefix("0")


def _percent(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.1%}"


def write_table(rows: Sequence[TrustRow], stable: Sequence[StabilityRow], folder: Path) -> None:
    """Write what `markdown` returns into `trust.md` of a folder.

    Raises:
        StoreError: The file cannot be written.
    """
    write_text(folder / TABLE_FILE, markdown(rows, stable))
