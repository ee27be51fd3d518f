"""Build audits by hand, and decisions on their samples."""

from pathlib import Path

import numpy as np
import pandas as pd

from gwaudit.analysis.audit import Audit
from gwaudit.analysis.ranked_table import RankedTable
from gwaudit.core.settings import RankingSettings

SUSPECTS = [1, 6]
SUGGESTED = 2


def make_audit(keys, given, names, *, suggested=None, suspects=(), log_odds=None, run="run", fingerprint="f"):
    """Return an audit of samples with these keys and given labels; the next class is suggested by default."""
    given = np.asarray(given, np.int64)
    n, classes = len(given), np.array([*names, ""], object)
    suspect = np.isin(np.arange(n), list(suspects))
    suggested = (given + 1) % len(names) if suggested is None else np.asarray(suggested)
    log_odds = np.where(suspect, 0.2, -0.2).astype(np.float32) if log_odds is None else np.asarray(log_odds, float)
    frame = pd.DataFrame(
        {
            "sample_id": np.arange(n),
            "key": np.array([*keys, None], object)[:-1],
            "given_label": given,
            "given_name": classes[given],
            "suggested_label": suggested,
            "suggested_name": classes[suggested],
            "log_odds_wrong": log_odds,
            "probability_wrong": np.where(suspect, 0.9, 0.1).astype(np.float32),
            "suspect": suspect,
            "category": np.where(suspect, "suspect", "fine"),
            "mean_alignment": np.where(suspect, -0.1, 0.1).astype(np.float32),
            "share_negative": np.where(suspect, 1.0, 0.0),
            "predicted_label": given,
        }
    )
    frame = frame.sort_values("log_odds_wrong", ascending=False, kind="stable", ignore_index=True)
    frame.insert(0, "rank", np.arange(1, n + 1))
    return Audit(RankedTable(frame), tuple(names), RankingSettings(), (0, 0), 0.0, Path(run), fingerprint)


def audit_of(dataset, suspects=SUSPECTS, suggested=SUGGESTED):
    """Return an audit of a data set that suspects these samples, and suggests one class for all of them."""
    n, n_classes = len(dataset), len(dataset.class_names)
    others = np.where(np.isin(np.arange(n), suspects), suggested, (dataset.labels + 1) % n_classes)
    return make_audit(
        dataset.keys, dataset.labels, dataset.class_names, suggested=others, suspects=suspects,
        fingerprint=dataset.fingerprint,
    )  # fmt: skip


def make_decisions(audit, *rows):
    """Return the table of a decisions.csv: rows are (sample id, decision) or (sample id, decision, label)."""
    keys, given = audit.by_id("key"), audit.by_id("given_label")
    return pd.DataFrame(
        [(i, keys[i], audit.class_names[given[i]], what, *(rest or ("",))) for i, what, *rest in rows],
        columns=["sample_id", "key", "given_name", "decision", "label"],
    )
