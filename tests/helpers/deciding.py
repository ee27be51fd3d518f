"""Ranked runs without a training, for what is decided about them."""

from pathlib import Path

import numpy as np
import pandas as pd

from gwaudit.analysis.audit import Audit
from gwaudit.core.settings import RankingSettings, TrainingSettings
from gwaudit.pipeline.audit import load_data
from gwaudit.store.store import SIGNALS, TrajectoryStore


def audit_of(keys, given, names, *, suggested=None, suspects=(), score=None, run="run", fingerprint="f"):
    """An audit of samples with these keys and given labels; the next class is suggested."""
    given = np.asarray(given, np.int64)
    n, classes = len(given), np.array([*names, ""], object)
    suspect = np.isin(np.arange(n), list(suspects))
    suggested = (given + 1) % len(names) if suggested is None else np.asarray(suggested)
    frame = pd.DataFrame(
        {
            "sample_id": np.arange(n),
            "key": np.array([*keys, None], object)[:-1],
            "given_label": given,
            "given_name": classes[given],
            "suggested_label": suggested,
            "suggested_name": classes[suggested],
            "log_odds_wrong": np.where(suspect, 1.0, -1.0) if score is None else np.asarray(score, float),
            "probability_wrong": np.where(suspect, 0.9, 0.1),
            "suspect": suspect,
            "category": np.where(suspect, "suspect", "fine"),
            "mean_alignment": np.where(suspect, -0.1, 0.1),
            "share_negative": np.where(suspect, 1.0, 0.0),
        }
    )
    frame = frame.sort_values("log_odds_wrong", ascending=False, kind="stable", ignore_index=True)
    frame.insert(0, "rank", np.arange(1, n + 1))
    return Audit(frame, tuple(names), RankingSettings(), (0, 0), 0.0, Path(run), fingerprint)


def ranked_run(folder, data=None, *, dataset=None, training=None, gwa=0.1, **ranking):
    """A run of one made-up epoch over data, or over a data set of one's own, and its saved audit."""
    dataset = load_data(data) if dataset is None else dataset
    settings = {"training": (training or TrainingSettings()).to_dict(), "data": data.to_dict()} if data else {}
    n = len(dataset)
    with TrajectoryStore.create(
        folder,
        given_labels=dataset.labels,
        class_names=dataset.class_names,
        keys=dataset.keys,
        settings=settings,
        fingerprint=dataset.fingerprint,
    ) as store:
        metrics = {"directional_alignment": 0.1, "dispersion": 0.5, "gwa": gwa, "accuracy_on_given": 0.75}
        store.append_epoch(0, np.arange(n), {k: np.zeros(n, v) for k, v in SIGNALS.items()}, metrics=metrics)
    audit = audit_of(
        dataset.keys, dataset.labels, dataset.class_names, run=folder, fingerprint=dataset.fingerprint, **ranking
    )
    audit.save(folder)
    return audit


def decide(audit, *rows):
    """The frame of a decisions.csv: rows of (sample id, decision) or (sample id, decision, label)."""
    keys, given = audit.by_id("key"), audit.by_id("given_label")
    return pd.DataFrame(
        [(i, keys[i], audit.class_names[given[i]], what, *(rest or ("",))) for i, what, *rest in rows],
        columns=["sample_id", "key", "given_name", "decision", "label"],
    )
