"""What becomes of the labels when decisions are applied: pure, from an audit and decisions to labels and their changes.

Nothing is looked up by place alone: the data may have changed since the run, so decisions find their samples by key.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gwaudit.analysis.audit import Audit
from gwaudit.core.errors import DataError, SettingsError
from gwaudit.core.spreadsheets import write_csv
from gwaudit.export.cleaned_data import CleanedData
from gwaudit.review.decision_files import Problem
from gwaudit.review.decisions import Decisions

if TYPE_CHECKING:  # for its type alone: a run's own record can be corrected without torch
    from gwaudit.data.dataset import LabeledDataset

Undecided = Literal["keep", "drop", "relabel"]
"""What becomes of suspects that nobody decided about."""

DROPPED = -1
"""Stands for the new label of a sample that is left out."""

CHANGE_COLUMNS = ("sample_id", "key", "old", "new", "reason")


@dataclass(frozen=True, eq=False)
class Corrections:
    """A data set's labels before and after.

    Attributes:
        keys: [n] of the data as they are now.
        old: [n] int64, the labels before.
        new: [n] int64, after; `DROPPED` for samples that are left out.
        true_labels: [n] int64 where the truth is known.
        class_names: C names.
        fingerprint: of the data under the old labels.
        changes: a row a change, with the columns of `CHANGE_COLUMNS`: names of classes, `new` empty for a dropped one.
        counts: kept, relabelled, dropped, unsure (as decided), undecided (suspects), corrected (decided but already so
            in the data).
        problems: what stands in the way, of the data.
        notes: what is to be told, but stands in nobody's way.
    """

    keys: NDArray[np.object_]
    old: NDArray[np.int64]
    new: NDArray[np.int64]
    true_labels: NDArray[np.int64] | None
    class_names: tuple[str, ...]
    fingerprint: str
    changes: pd.DataFrame
    counts: dict[str, int]
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def split(self) -> CleanedData:
        """The samples that stay, under their new labels."""
        ids = np.flatnonzero(self.new != DROPPED)
        return CleanedData(ids, self.new[ids], self.keys[ids], self.class_names, self.fingerprint)


def correct(
    audit: Audit, decisions: Decisions, *, undecided: Undecided = "keep", dataset: "LabeledDataset | None" = None
) -> Corrections:
    """Apply decisions.

    Args:
        audit: what was decided about.
        decisions: of `read_decisions`. Samples with problems stay as they are.
        undecided: what becomes of the other suspects: "keep", "drop", or "relabel" as the audit suggests.
        dataset: the data as they are now; by default as the run recorded them.

    Raises:
        SettingsError: an unknown word for the undecided.
        DataError: the data have other classes than the run, or fewer than two classes would be left.
    """
    if undecided not in get_args(Undecided):
        raise SettingsError(f"undecided suspects: {' or '.join(get_args(Undecided))}, not {undecided!r}")
    now = _Now.of(audit, dataset)
    problems: list[Problem] = []
    reasons: dict[int, str] = {}
    new, counts = now.labels.copy(), Counter[str](decisions.counts())
    given, keys = audit.by_id("given_label").astype(np.int64), audit.by_id("key")
    for row in decisions.frame.to_dict("records"):
        sample, label = int(row["sample_id"]), DROPPED if row["decision"] == "drop" else int(row["label"])
        place, where = now.places[sample], (row["file"], row["row"])
        if place is None and label == DROPPED:
            counts["corrected"] += 1
        elif place is None:
            reason = f"sample {sample} ({str(keys[sample])[:80]!r}) is no longer in the data"
            problems.append(Problem(*where, reason, sample))
        elif now.labels[place] == label and label != given[sample]:
            counts["corrected"] += 1
        elif now.labels[place] != given[sample]:
            was, is_ = (repr(audit.class_names[of][:80]) for of in (given[sample], now.labels[place]))
            reason = f"the label of sample {sample} changed since the run: it was {was} and is {is_}"
            problems.append(Problem(*where, reason, sample))
        elif label != given[sample]:
            new[place] = label
            reasons[place] = f"{'dropped' if label == DROPPED else 'relabelled'} in {where[0]}, row {where[1]}"
    counts["undecided"] = _settle(audit, decisions, undecided, now, new, reasons)
    if len(np.unique(new[new != DROPPED])) < 2:
        raise DataError("fewer than two classes would be left: an audit, and a training, need two")
    order = sorted(reasons)
    names = np.array([*audit.class_names, ""], object)  # the last is what -1, dropped, shows as
    changes = pd.DataFrame(
        {
            "sample_id": order,
            "key": now.keys[order],
            "old": names[now.labels[order]],
            "new": names[new[order]],
            "reason": [reasons[place] for place in order],
        },
        columns=list(CHANGE_COLUMNS),
    )
    return Corrections(
        now.keys, now.labels, new, now.true_labels, audit.class_names, now.fingerprint, changes, dict(counts),
        tuple(problems), now.notes,
    )  # fmt: skip


def write_label_file(corrections: Corrections, path: Path | str) -> Path:
    """Write the labels by key, as `gwaudit audit SOURCE --labels` takes them: empty for dropped samples.

    Raises:
        StoreError: it cannot be written.
    """
    names = np.array([*corrections.class_names, ""], object)
    columns: dict[str, Any] = {"key": corrections.keys, "label": names[corrections.new]}
    if corrections.true_labels is not None:
        columns["clean_label"] = names[corrections.true_labels]
    return write_csv(pd.DataFrame(columns), path)


def _settle(
    audit: Audit,
    decisions: Decisions,
    undecided: Undecided,
    now: "_Now",
    new: NDArray[np.int64],
    reasons: dict[int, str],
) -> int:
    """Settle what nobody decided: changes `new` and `reasons`, and gives the number of these suspects."""
    decided = {*decisions.frame["sample_id"].tolist(), *(problem.sample_id for problem in decisions.problems)}
    suspects = audit.suspects[["sample_id", "given_label", "suggested_label"]]
    open_ = suspects[~suspects["sample_id"].isin(list(decided))]
    for sample, given, suggested in open_.to_numpy(np.int64).tolist() if undecided != "keep" else ():
        place = now.places[sample]
        if place is None or now.labels[place] != given or (undecided == "relabel" and suggested < 0):
            continue
        new[place] = DROPPED if undecided == "drop" else suggested
        reasons[place] = f"undecided suspect, {'dropped' if undecided == 'drop' else 'relabelled as suggested'}"
    return len(open_)


@dataclass(frozen=True, eq=False)
class _Now:
    """The data as they are now, and where the samples of the run are in them: [n of the run], None where gone."""

    keys: NDArray[np.object_]
    labels: NDArray[np.int64]
    true_labels: NDArray[np.int64] | None
    fingerprint: str
    places: list[int | None]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, audit: Audit, dataset: "LabeledDataset | None") -> "_Now":
        keys, given = audit.by_id("key"), audit.by_id("given_label").astype(np.int64)
        if dataset is None:
            return cls(keys, given, None, audit.fingerprint, list(range(len(keys))), ())
        if dataset.class_names != audit.class_names:
            raise DataError(
                f"{dataset.name} has the classes {', '.join(dataset.class_names)[:200]}, the run had "
                f"{', '.join(audit.class_names)[:200]}: give both the same with --classes, and audit again"
            )
        now = np.array(list(dataset.keys), object)
        fingerprint = dataset.fingerprint
        place_of = {key: place for place, key in enumerate(now.tolist())}
        same = len(now) == len(keys) and bool((now == keys).all())
        places: list[int | None] = [*range(len(keys))] if same else [place_of.get(key) for key in keys.tolist()]
        notes: tuple[str, ...] = ()
        if fingerprint != audit.fingerprint:
            there = [(sample, place) for sample, place in enumerate(places) if place is not None]
            changed = sum(int(given[sample] != dataset.labels[place]) for sample, place in there)
            gone, added = len(keys) - len(there), len(now) - len(there)
            told = f"{changed:,} labels, {gone:,} samples gone, {added:,} added"
            notes = (f"The data changed since the run: {told if changed + gone + added else 'inputs'}.",)
        return cls(now, dataset.labels, dataset.true_labels, fingerprint, places, notes)
