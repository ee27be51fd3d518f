"""Compare two ranked runs: the changes of a round of corrections, or the agreement of two seeds (`compare`).

Samples are matched by their keys, as ids shift where samples were dropped. Known true labels are used for the share of
right labels and the average precision alone.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from gwaudit.analysis.audit import Audit
from gwaudit.analysis.monitor import selected_epoch
from gwaudit.core.errors import DataError, StoreDamagedError
from gwaudit.core.json import read_json
from gwaudit.core.settings import Alignment, ResolvedTrainingSettings
from gwaudit.pipeline.accuracy import TEST_FILE
from gwaudit.pipeline.results import EVALUATION_FILE
from gwaudit.store.store import TrajectoryStore


@dataclass(frozen=True)
class RunFacts:
    """Hold the numbers of a ranked run; None where a number is not known.

    Attributes:
        run: the folder of the run.
        samples: the number of samples.
        verdict: the verdict on the run.
        suspects: the number of suspects; None without a cut to trust.
        expected_wrong: the expected number of wrong labels; None where the verdict does not trust it.
        epoch: the selected epoch, counted from 1.
        alignment: the parameters that the alignments were computed with (`TrainingSettings.alignment`).
        directional_alignment: E at the selected epoch.
        dispersion: K at the selected epoch.
        gwa: GWA at the selected epoch; None where the alignments are bimodal.
        accuracy_on_given: the share of the given labels that the last epoch predicted while it trained.
        test_accuracy: the accuracy on test data under the weights of the selected epoch, where it was measured.
        label_accuracy: the share of the given labels that are right, where the truth is known.
        average_precision: the average precision of the ranking, where the truth is known and some labels are wrong.
    """

    run: str
    samples: int
    verdict: str
    suspects: int | None
    expected_wrong: float | None
    epoch: int
    alignment: Alignment
    directional_alignment: float | None
    dispersion: float | None
    gwa: float | None
    accuracy_on_given: float | None
    test_accuracy: float | None
    label_accuracy: float | None
    average_precision: float | None


@dataclass(frozen=True, eq=False)
class Comparison:
    """Hold the comparison of two ranked runs.

    Attributes:
        before, after: the numbers of each run.
        common: the number of samples in both runs.
        gone: the number of samples in the first run alone.
        new: the number of samples in the second run alone.
        labels_changed: the number of common samples with another label; in multi-label data, of which a suspect is a
            pair of sample and class, the number of such pairs.
        suspects_corrected: suspects of the first run that have another label and are no suspects of the second. This
            and the next five numbers are None where a run that they need has no cut to trust.
        suspects_dropped: suspects of the first run whose sample is gone.
        suspects_cleared: suspects of the first run that have the same label and are no suspects of the second.
        suspects_stayed: suspects of both runs.
        suspects_new: suspects of the second run alone, among the common samples.
        suspects_added: suspects of the second run among its new samples.
        jaccard: the Jaccard index of the suspects among the common samples; NaN without suspects, or without a cut.
        rank_correlation: Spearman's correlation of the log odds of the common samples; NaN if one run has equal odds.
        frame: a row per common sample: `key`, `before` and `after` (given class), `log_odds_before`, `log_odds_after`,
            `suspect_before`, `suspect_after`; in multi-label data a row per pair, with `class_name` after `key`.
    """

    before: RunFacts
    after: RunFacts
    common: int
    gone: int
    new: int
    labels_changed: int
    suspects_corrected: int | None
    suspects_dropped: int | None
    suspects_cleared: int | None
    suspects_stayed: int | None
    suspects_new: int | None
    suspects_added: int | None
    jaccard: float
    rank_correlation: float
    frame: pd.DataFrame

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as a dict, with the keys of the new suspects in place of the frame."""
        facts = {name: value for name, value in vars(self).items() if name != "frame"}
        return {**facts, "before": asdict(self.before), "after": asdict(self.after), "new_suspects": self.new_suspects}

    @property
    def new_suspects(self) -> list[str]:
        """Return the keys of the common samples that are suspects of the second run alone, most suspicious first.

        In multi-label data a key is followed by ": " and the name of the class.
        """
        if self.suspects_new is None:
            return []
        new = self.frame[self.frame["suspect_after"] & ~self.frame["suspect_before"]]
        new = new.sort_values("log_odds_after", ascending=False, kind="stable")
        keys: list[str] = new["key"].tolist()
        if "class_name" in new:
            return [f"{key}: {name}" for key, name in zip(keys, new["class_name"], strict=True)]
        return keys


def compare(before: Path | str, after: Path | str) -> Comparison:
    """Compare two ranked runs of the same data, or of data before and after corrections.

    Args:
        before: Folder of the run before the corrections.
        after: Folder of the run after them, or of the other seed.

    Raises:
        StoreNotFoundError: a run is not ranked.
        DataError: the runs have no sample in common, or their keys are row numbers that have shifted, or one run alone
            is multi-label.

    Example:
        >>> import gwaudit
        >>> with gwaudit.TrajectoryStore.open("runs/worse") as store:
        ...     gwaudit.rank(store).save("runs/worse")
        >>> gwaudit.compare("runs/worse", "runs/worse").labels_changed
        0
    """
    audits = Audit.load(before), Audit.load(after)
    if audits[0].is_multi_label != audits[1].is_multi_label:
        multi = audits[0 if audits[0].is_multi_label else 1].run
        raise DataError(f"{multi} is multi-label and the other run is not: their labels cannot be compared")
    _require_own_keys(audits)
    rows = [_rows(audit) for audit in audits]
    matched = [column for column in ("key", "class_name", "copy") if column in rows[0]]
    both = rows[0].merge(rows[1], on=matched, suffixes=("_before", "_after"))
    if both.empty:
        raise DataError(f"{before} and {after} have no sample in common: their keys are all different")
    changed = both["given_before"] != both["given_after"]
    changes = _changes(both, changed, audits, *(int(each["suspect"].sum()) for each in rows))
    log_odds = both[["log_odds_before", "log_odds_after"]].dropna()
    varied, common = bool((log_odds.nunique() > 1).all()), _n_samples(both)
    return Comparison(
        before=_facts(audits[0]),
        after=_facts(audits[1]),
        common=common,
        gone=audits[0].n_samples - common,
        new=audits[1].n_samples - common,
        labels_changed=int(changed.sum()),
        **changes,
        jaccard=_jaccard(both) if all(audit.has_cut for audit in audits) else float("nan"),
        rank_correlation=float(spearmanr(log_odds).statistic) if varied else float("nan"),
        frame=both.rename(columns={"given_before": "before", "given_after": "after"}).drop(columns="copy"),
    )


def _changes(
    both: pd.DataFrame, changed: "pd.Series[bool]", audits: tuple[Audit, Audit], n_before: int, n_after: int
) -> dict[str, int | None]:
    """Return the numbers of suspects by what became of them; None where a run that the number needs has no cut."""
    before, after = both["suspect_before"], both["suspect_after"]
    has_before, has_after = (audit.has_cut for audit in audits)
    has_both = has_before and has_after
    return {
        "suspects_corrected": int((before & ~after & changed).sum()) if has_before else None,
        "suspects_dropped": n_before - int(before.sum()) if has_before else None,
        "suspects_cleared": int((before & ~after & ~changed).sum()) if has_both else None,
        "suspects_stayed": int((before & after).sum()) if has_both else None,
        "suspects_new": int((~before & after).sum()) if has_both else None,
        "suspects_added": n_after - int(after.sum()) if has_after else None,
    }


def _jaccard(both: pd.DataFrame) -> float:
    """Return the Jaccard index of the suspects among the common samples; NaN without suspects."""
    before, after = both["suspect_before"], both["suspect_after"]
    either = int((before | after).sum())
    return float((before & after).sum() / either) if either else float("nan")


def _rows(audit: Audit) -> pd.DataFrame:
    """Return the rows of an audit in the order of the samples, and which occurrence of its key each one is."""
    named = ["key", "class_name"] if audit.is_multi_label else ["key"]
    frame = audit.frame[[*named, "given_name", "log_odds_wrong", "suspect"]]
    frame = frame.rename(columns={"given_name": "given", "log_odds_wrong": "log_odds"})
    frame = frame.assign(suspect=frame["suspect"].astype(bool))
    frame = frame.iloc[np.argsort(audit.rows)].reset_index(drop=True)
    return frame.assign(copy=frame.groupby(named).cumcount())  # keys of one's own loop may repeat


def _n_samples(rows: pd.DataFrame) -> int:
    return len(rows[["key", "copy"]].drop_duplicates())


def _require_own_keys(audits: tuple[Audit, Audit]) -> None:
    """Raise DataError if the keys are row numbers of two sources of unequal length, which cannot be matched."""
    sources = [_source(audit.run) for audit in audits]
    if sources[0] is not None and sources[0] == sources[1]:
        return
    frames = [a.frame[a.frame["class_id"] == 0] if a.is_multi_label else a.frame for a in audits]
    numbers = [frame["key"].astype(str).str.extract(r"^(?:\w+/)?(\d+)$")[0] for frame in frames]
    if len(numbers[0]) == len(numbers[1]) or any(column.isna().any() for column in numbers):
        return
    if all((np.sort(column.astype(np.int64)) == np.arange(len(column))).all() for column in numbers):
        raise DataError(
            f"{audits[0].run} has {len(numbers[0]):,} samples, {audits[1].run} {len(numbers[1]):,}, and their keys are "
            "row numbers, which shift when rows are dropped: give the table a column of ids (`id_column`), or audit "
            "the source with the labels.csv of gwaudit apply (`labels`)"
        )


def _source(run: Path) -> str | None:
    with TrajectoryStore.open(run) as store:
        source: str | None = (store.settings.get("data") or {}).get("source")
        return source


def _facts(audit: Audit) -> RunFacts:
    with TrajectoryStore.open(audit.run) as store:
        last = store.commit(store.training_epochs[-1]).metrics
        settings = ResolvedTrainingSettings.from_dict(store.settings.get("training") or {})
        selected = selected_epoch(store, settings.select, total_epochs=settings.epochs)
        moments = store.commit(selected.epoch).metrics
    evaluation, test = _read(audit.run / EVALUATION_FILE), _read(audit.run / TEST_FILE)
    return RunFacts(
        run=str(audit.run),
        samples=audit.n_samples,
        verdict=audit.verdict.level,
        suspects=len(audit.suspects) if audit.has_cut else None,
        expected_wrong=float(audit.expected_wrong()[-1]) if audit.has_probabilities else None,
        epoch=selected.epoch + 1,
        alignment=store.alignment,
        directional_alignment=_known(moments["directional_alignment"]),
        dispersion=_known(moments["dispersion"]),
        gwa=_known(moments["gwa"]),
        accuracy_on_given=_known(last.get("accuracy_on_given", math.nan)),
        test_accuracy=test.get("accuracy"),
        label_accuracy=1 - evaluation["n_wrong"] / evaluation["n"] if evaluation else None,
        average_precision=evaluation.get("average_precision"),
    )


def _read(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file of a run; empty without the file."""
    try:
        return read_json(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise StoreDamagedError(f"{path} is broken ({error}): delete it, and rank the run again") from error


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
