"""Apply decisions to labels: from an audit and decisions to the labels before and after, without reading files.

The data may have changed since the run, so decisions find their samples by key.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from gwaudit.analysis.audit import Audit
from gwaudit.core.errors import DataError, SettingsError
from gwaudit.core.spreadsheets import write_csv
from gwaudit.export.cleaned_data import CleanedData
from gwaudit.review.decision_files import Problem
from gwaudit.review.decisions import Decisions
from gwaudit.review.guideline_answers import Guideline, samples_of

if TYPE_CHECKING:  # for its type alone: the labels of a run can be corrected without torch
    from gwaudit.data.dataset import LabeledDataset

Undecided = Literal["keep", "drop", "relabel"]
"""What happens to suspects without a decision."""

DROPPED = -1
"""New label of a sample that is left out."""

CHANGE_COLUMNS = ("sample_id", "key", "old", "new", "reason")


@dataclass(frozen=True, eq=False)
class Corrections:
    """Hold the labels of a data set before and after.

    Attributes:
        keys: [n] keys of the samples that the data set holds now.
        old: [n] int64, labels before.
        new: [n] int64, labels after; `DROPPED` for samples that are left out.
        true_labels: [n] int64, None where they are not known.
        class_names: C names.
        fingerprint: Fingerprint of the data under the old labels.
        changes: One row per change with the columns `CHANGE_COLUMNS`; `old` and `new` are names of classes, `new` is
            empty for a dropped sample.
        counts: Numbers of samples by decision (keep, relabel, drop, unsure); `by_guideline`, samples that guidelines
            decided, where there are any; `undecided`, suspects without a decision;
            `corrected`, decisions that the data already agree with.
        problems: Decisions that the data do not allow to apply.
        notes: Remarks for the user that stop nothing.
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
    def cleaned_data(self) -> CleanedData:
        """Return the samples that stay, under their new labels."""
        ids = np.flatnonzero(self.new != DROPPED)
        return CleanedData(
            ids, self.new[ids], pa.array(self.keys[ids], pa.large_string()), self.class_names, self.fingerprint
        )


def correct(
    audit: Audit,
    decisions: Decisions,
    *,
    guidelines: Sequence[Guideline] = (),
    undecided: Undecided = "keep",
    dataset: "LabeledDataset | None" = None,
) -> Corrections:
    """Return the labels after all decisions are applied, and what could not be applied.

    Args:
        audit: Audit that the decisions are about.
        decisions: Decisions from `read_decisions`. Samples with problems keep their labels.
        guidelines: Decisions about all samples of a pair of classes that have no decision of their own.
        undecided: What happens to the other suspects: "keep", "drop", or "relabel" as the audit suggests.
        dataset: The data as they are now; by default as the run recorded them.

    Raises:
        SettingsError: `undecided` has another value.
        VerdictError: `undecided` is not "keep", and the verdict on the run does not allow it.
        DataError: the classes of the data are not those of the run, or fewer than two classes would be left.
    """
    if undecided not in get_args(Undecided):
        raise SettingsError(f"undecided is {' or '.join(get_args(Undecided))}, not {undecided!r}")
    if undecided != "keep":
        audit.require_cleanable()
    current = _CurrentLabels(audit, dataset)
    new, counts = current.labels.copy(), Counter[str](decisions.counts())
    given = audit.by_id("given_label").astype(np.int64)
    problems: list[Problem] = []
    reasons: dict[int, str] = {}
    for row in decisions.frame.to_dict("records"):
        sample, label = int(row["sample_id"]), DROPPED if row["decision"] == "drop" else int(row["label"])
        if current.agree(sample, label):
            counts["corrected"] += 1
        elif current.positions[sample] is None and label == given[sample]:
            continue  # kept, and gone
        elif reason := current.objection(sample):
            problems.append(Problem(row["file"], row["row"], reason, sample))
        elif label != given[sample]:
            position = current.positions[sample]
            assert position is not None  # a missing sample is an objection
            new[position] = label
            action = "dropped" if label == DROPPED else "relabelled"
            reasons[position] = f"{action} in {row['file']}, row {row['row']}"
    decided = {*decisions.frame["sample_id"].tolist(), *(problem.sample_id for problem in decisions.problems)}
    if guidelines:
        settled = _settle_pairs(audit, guidelines, decided, current, new, reasons)
        counts["by_guideline"] = len(settled)
        decided |= settled
    counts["undecided"] = _settle_undecided(audit, decided, undecided, current, new, reasons)
    if len(np.unique(new[new != DROPPED])) < 2:
        raise DataError("fewer than two classes would be left: an audit, and a training, need two")
    changes = _changes_table(current, new, reasons, audit.class_names)
    return Corrections(
        current.keys, current.labels, new, current.true_labels, audit.class_names, current.fingerprint, changes,
        dict(counts), tuple(problems), current.notes,
    )  # fmt: skip


def write_label_file(corrections: Corrections, path: Path | str) -> Path:
    """Write the labels by key, as the setting `labels` of an audit reads them; those of dropped samples are empty.

    Raises:
        StoreError: the file cannot be written.
    """
    names = np.array([*corrections.class_names, ""], object)  # the last is the name of DROPPED, which is -1
    columns: dict[str, Any] = {"key": corrections.keys, "label": names[corrections.new]}
    if corrections.true_labels is not None:
        columns["clean_label"] = names[corrections.true_labels]
    return write_csv(pd.DataFrame(columns), path)


def _settle_pairs(
    audit: Audit,
    guidelines: Sequence[Guideline],
    decided: set[int | None],
    current: "_CurrentLabels",
    new: NDArray[np.int64],
    reasons: dict[int, str],
) -> set[int]:
    """Change `new` and `reasons` by guidelines, and return the samples that they decide."""
    settled: set[int] = set()
    for guideline in guidelines:
        for sample in set(samples_of(guideline, audit).tolist()) - decided:
            position = current.positions[sample]
            if position is None or current.labels[position] != guideline.given:
                continue
            settled.add(sample)
            if guideline.answer != "keep":
                new[position] = DROPPED if guideline.answer == "drop" else guideline.other
                action = "dropped" if guideline.answer == "drop" else "relabelled"
                reasons[position] = f"{action} by the guideline in {guideline.file}, row {guideline.row}"
    return settled


def _settle_undecided(
    audit: Audit,
    decided: set[int | None],
    undecided: Undecided,
    current: "_CurrentLabels",
    new: NDArray[np.int64],
    reasons: dict[int, str],
) -> int:
    """Change `new` and `reasons` for suspects without a decision, and return the number of these suspects."""
    suspects = audit.suspects[["sample_id", "given_label", "suggested_label"]]
    remaining = suspects[~suspects["sample_id"].isin(list(decided))]
    for sample, given, suggested in remaining.to_numpy(np.int64).tolist() if undecided != "keep" else ():
        position = current.positions[sample]
        if position is None or current.labels[position] != given or (undecided == "relabel" and suggested < 0):
            continue
        new[position] = DROPPED if undecided == "drop" else suggested
        reasons[position] = f"undecided suspect, {'dropped' if undecided == 'drop' else 'relabelled as suggested'}"
    return len(remaining)


def _changes_table(
    current: "_CurrentLabels", new: NDArray[np.int64], reasons: dict[int, str], class_names: tuple[str, ...]
) -> pd.DataFrame:
    positions = sorted(reasons)
    names = np.array([*class_names, ""], object)  # the last is the name of DROPPED, which is -1
    return pd.DataFrame(
        {
            "sample_id": positions,
            "key": current.keys[positions],
            "old": names[current.labels[positions]],
            "new": names[new[positions]],
            "reason": [reasons[position] for position in positions],
        },
        columns=list(CHANGE_COLUMNS),
    )


class _CurrentLabels:
    """Hold the data as they are now; `positions[i]` is where sample i of the run is in them, None where it is gone."""

    def __init__(self, audit: Audit, dataset: "LabeledDataset | None") -> None:
        """Find the samples of a run in a data set, by default in the run's own record."""
        self._class_names = audit.class_names
        self._run_keys, self._given = audit.by_id("key"), audit.by_id("given_label").astype(np.int64)
        n = len(self._run_keys)
        self.positions: list[int | None] = list(range(n))
        self.notes: tuple[str, ...] = ()
        self.true_labels: NDArray[np.int64] | None = None
        self.keys, self.labels, self.fingerprint = self._run_keys, self._given, audit.fingerprint
        if dataset is None:
            return
        if dataset.class_names != audit.class_names:
            raise DataError(
                f"{dataset.name} has the classes {', '.join(dataset.class_names)[:200]}, the run had "
                f"{', '.join(audit.class_names)[:200]}: set `classes` to the same names for both, and audit again"
            )
        self.keys, self.labels = np.array(list(dataset.keys), object), dataset.labels
        self.true_labels, self.fingerprint = dataset.true_labels, dataset.fingerprint
        if len(self.keys) != n or not (self.keys == self._run_keys).all():
            position_of = {key: position for position, key in enumerate(self.keys.tolist())}
            self.positions = [position_of.get(key) for key in self._run_keys.tolist()]
        if self.fingerprint != audit.fingerprint and (note := self._note_of_changes(dataset.modality)):
            self.notes = (note,)

    def agree(self, sample: int, label: int) -> bool:
        """Return whether the data already have the label, other than the run, that was decided for a sample."""
        position = self.positions[sample]
        if position is None:
            return label == DROPPED
        return bool(self.labels[position] == label != self._given[sample])

    def objection(self, sample: int) -> str:
        """Return why no decision on a sample of the run can be applied; empty where one can."""
        position, given = self.positions[sample], self._given[sample]
        if position is None:
            return f"sample {sample} ({str(self._run_keys[sample])[:80]!r}) is no longer in the data"
        if self.labels[position] == given:
            return ""
        before, now = (repr(self._class_names[label][:80]) for label in (given, self.labels[position]))
        return f"the label of sample {sample} changed since the run: it was {before} and is {now}"

    def _note_of_changes(self, modality: str) -> str:
        found = [(sample, position) for sample, position in enumerate(self.positions) if position is not None]
        changed = sum(int(self._given[sample] != self.labels[position]) for sample, position in found)
        gone, added = len(self._run_keys) - len(found), len(self.keys) - len(found)
        if not changed + gone + added:
            # The fingerprint of texts is that of their embedding, which is not computed to correct labels.
            return "" if modality == "texts" else "The data changed since the run: inputs."
        return f"The data changed since the run: {changed:,} labels, {gone:,} samples gone, {added:,} added."
