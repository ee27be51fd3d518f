"""Measure how well any rule could read the verdict from its signals: learned rules beside those of gwaudit.

    python docs/measure_verdict_limits.py docs/benchmarks/results/trust/seed-0

Each learned rule is fitted to cells of the trust benchmark, from all signals of a run, and trusts as many of the cells
to test on as gwaudit does: those that it is surest of. It learns from the cells that thresholds may be chosen on, or
from those of all other data sets, also to test on. The last column is what it would take to trust 95 % of the good
ones. Cells without wrong labels, and those that are not held out, are left out.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gwaudit.benchmarks.trust.rows import read_rows
from gwaudit.benchmarks.trust.summary import LEAST_OF_BEST, NEAR_BEST, cell_frame

RULES: dict[str, ClassifierMixin] = {
    "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000)),
    "boosted trees": HistGradientBoostingClassifier(
        max_depth=3, max_iter=100, min_samples_leaf=10, learning_rate=0.05, random_state=0
    ),
}


def signals_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the signals of cells, a row each, and what the checks of the verdict compute of them."""
    table = pd.DataFrame(list(rows["signals"])).astype(float)
    table["n_flagged"] = table["flagged"] * table["rows"]
    table["unexplained"] = 1 - table["accuracy"] - table["flagged"]
    table["skill"] = (table["accuracy"] - table["largest_class"]) / (1 - table["largest_class"])
    table["rows"] = np.log(table["rows"])
    table = table.loc[:, table.nunique() > 1]
    return table.fillna(table.min() - 1)


def row(name: str, cells: pd.DataFrame, trusted: NDArray[np.bool_], *sure: str) -> str:
    """Return a row of the table: what a rule trusts of the cells, and how good it is."""
    of_best, good = cells["of_best"].fillna(0).to_numpy(), ~cells["bad"].to_numpy(bool)
    shares = (good & trusted).sum() / good.sum(), *((of_best[trusted] >= s).mean() for s in (NEAR_BEST, LEAST_OF_BEST))
    values = (
        name,
        str(trusted.sum()),
        f"{shares[0]:.1%}",
        str((~good & trusted).sum()),
        *map("{:.1%}".format, shares[1:]),
    )
    return f"| {' | '.join([*values, *sure])} |"


def main() -> None:
    """Print a table of rules."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with trust.json")
    cells = read_rows(parser.parse_args().folder)
    rows = cell_frame(cells).assign(signals=[cell.signals for cell in cells])
    is_held_out = np.array([signals is not None and signals["held_out"] for signals in rows["signals"]])
    rows = rows[rows["has_errors"] & is_held_out].reset_index(drop=True)
    signals, good, test = signals_of(rows), ~rows["bad"].to_numpy(bool), (rows["role"] == "test").to_numpy()
    tested, good_tested = rows[test], good[test]
    count = int(tested["trusted"].sum())
    of_best = (f"F1 ≥ {share:.0%} of the best" for share in (NEAR_BEST, LEAST_OF_BEST))
    header = ("rule", "trusted", "of the good cells", "bad ones", *of_best, "AUC", "bad ones with 95 % of the good")
    print(f"| {' | '.join(header)} |\n{'|---' * len(header)}|")
    print(row("gwaudit", tested, tested["trusted"].to_numpy(bool), "–", "–"))
    for name, rule in RULES.items():
        of_chosen = clone(rule).fit(signals[~test], good[~test]).predict_proba(signals[test])[:, 1]
        of_others = cross_val_predict(
            rule, signals, good, groups=rows["name"], cv=LeaveOneGroupOut(), method="predict_proba"
        )[test, 1]
        for learned_from, sure in (("chosen on", of_chosen), ("all others", of_others)):
            surest_first = np.argsort(-sure, kind="stable")
            surest = np.zeros(len(sure), bool)
            surest[surest_first[:count]] = True
            n_good = np.cumsum(good_tested[surest_first])
            n_bad = int((~good_tested[surest_first]).cumsum()[np.searchsorted(n_good, 0.95 * good_tested.sum())])
            print(row(f"{name}, {learned_from}", tested, surest, f"{roc_auc_score(good_tested, sure):.3f}", str(n_bad)))


if __name__ == "__main__":
    main()
